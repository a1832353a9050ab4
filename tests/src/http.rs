//! The little HTTP that tests and automation need: requests to the host, and receivers that stand for targets.
//!
//! In: a URL and bytes, or a handler. Out: status, headers and bytes, or a listening server.

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A pooled client with a time limit.
#[derive(Clone)]
pub struct Client(Pool<HttpConnector, Full<Bytes>>);

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP's status code.
    pub status: u16,
    /// The headers.
    pub headers: hyper::HeaderMap,
    /// The content.
    pub text: Bytes,
}

impl Answer {
    /// The answer's JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.text)
            .with_context(|| format!("{} without JSON: {}", self.status, String::from_utf8_lossy(&self.text)))
    }

    /// The JSON of an answer that must be 2xx.
    pub fn success(self) -> anyhow::Result<Value> {
        anyhow::ensure!(
            (200..300).contains(&self.status),
            "the host answered {}: {}",
            self.status,
            String::from_utf8_lossy(&self.text)
        );
        if self.text.is_empty() { Ok(Value::Null) } else { self.json() }
    }
}

impl Client {
    /// One pool for all requests.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Client(Pool::builder(TokioExecutor::new()).build(connector))
    }

    /// Sends one request; at most 30 s.
    pub async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        value: Bytes,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes())?).uri(url);
        for (name, text) in headers {
            request = request.header(*name, *text);
        }
        let request = request.body(Full::new(value))?;
        let exchange = async {
            let response = self.0.request(request).await?;
            let (head, content) = response.into_parts();
            let text = content.collect().await?.to_bytes();
            anyhow::Ok(Answer { status: head.status.as_u16(), headers: head.headers, text })
        };
        tokio::time::timeout(Duration::from_secs(30), exchange)
            .await
            .with_context(|| format!("{method} {url}: no answer"))?
    }

    /// A GET.
    pub async fn get(&self, url: &str) -> anyhow::Result<Answer> {
        self.send("GET", url, &[], Bytes::new()).await
    }

    /// A request with JSON whose answer must be 2xx with JSON.
    pub async fn json(&self, method: &str, url: &str, value: &Value) -> anyhow::Result<Value> {
        let value = Bytes::from(value.to_string());
        self.send(method, url, &[("content-type", "application/json")], value).await?.success()
    }
}

/// What a receiver is asked.
pub struct Received {
    /// Method of the request.
    pub method: String,
    /// Path of the URL.
    pub path: String,
    /// The headers.
    pub headers: hyper::HeaderMap,
    /// The content.
    pub value: Bytes,
}

/// What a receiver answers, and when.
pub struct Reply {
    /// HTTP's status code.
    pub status: u16,
    /// The content, JSON.
    pub text: Bytes,
    /// How long it thinks before it answers.
    pub delay: Duration,
    /// Headers beside the content type.
    pub headers: Vec<(&'static str, String)>,
}

impl Reply {
    /// At once, without further headers.
    pub fn new(status: u16, text: impl Into<Bytes>) -> Reply {
        Reply { status, text: text.into(), delay: Duration::ZERO, headers: Vec::new() }
    }
}

/// Serves on a free loopback port until the runtime ends.
pub async fn serve(handler: impl Fn(Received) -> Reply + Send + Sync + 'static) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let handler = Arc::new(handler);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream.set_nodelay(true));
            let handler = Arc::clone(&handler);
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let handler = Arc::clone(&handler);
                    async move {
                        let (head, stream) = request.into_parts();
                        let value = stream.collect().await?.to_bytes();
                        let received = Received {
                            method: head.method.to_string(),
                            path: head.uri.path().to_owned(),
                            headers: head.headers,
                            value,
                        };
                        let reply = handler(received);
                        if !reply.delay.is_zero() {
                            tokio::time::sleep(reply.delay).await;
                        }
                        let mut response =
                            Response::builder().status(reply.status).header("content-type", "application/json");
                        for (name, text) in reply.headers {
                            response = response.header(name, text);
                        }
                        let response = response.body(Full::new(reply.text)).expect("a status and plain headers");
                        Ok::<_, hyper::Error>(response)
                    }
                });
                // A host that is killed tears its connections: that is the point of the demo.
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    Ok(address)
}

/// A loopback port that nobody listens on at the moment.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
