//! The HTTP client of the commands: plain HTTP/1.1 to one host.
//!
//! In: method, path, body. Out: JSON; a problem becomes a failure with its detail and code, and a host that
//! does not answer one with exit code 69.

use super::failure::Failure;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tokio::sync::OnceCell;

/// Until a connection stands: longer than a lost packet takes to be sent again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until an answer is complete: a plugin's compilation may take its two minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);
/// Largest answer, in bytes: a page of whole records.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Where an answer comes from.
#[derive(Clone, Copy)]
pub enum Door {
    /// The admin listener.
    Admin,
    /// The ingest listener.
    Ingest,
}

/// One request.
pub struct Ask<'a> {
    door: Door,
    method: Method,
    path: String,
    headers: Vec<(&'a str, String)>,
    body: Bytes,
}

impl<'a> Ask<'a> {
    /// Without a body.
    pub fn new(door: Door, method: Method, path: impl Into<String>) -> Ask<'a> {
        Ask { door, method, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &'a str, value: impl Into<String>) -> Ask<'a> {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Ask<'a> {
        self.body = body.into();
        self.header(CONTENT_TYPE.as_str(), content_type)
    }
}

/// Talks to one host.
pub struct Client {
    admin: String,
    ingest: OnceCell<String>,
    token: Option<String>,
    pool: Pool<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// Connects to nothing so far. A token file that cannot be read is a failure.
    pub fn new(admin: &str, ingest: Option<&str>, token_file: Option<&Path>) -> Result<Client, Failure> {
        let token = token_file
            .map(|path| {
                std::fs::read_to_string(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
            })
            .transpose()?
            .map(|text| text.trim().to_owned());
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let ingest = ingest.map(base).transpose()?;
        Ok(Client { admin: base(admin)?, ingest: OnceCell::new_with(ingest), token, pool })
    }

    /// The bearer token, when there is one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The ingest listener, as given or as the admin listener says.
    pub async fn ingest_url(&self) -> Result<String, Failure> {
        let ask = || async {
            let info = self.send(&self.admin, &Ask::new(Door::Admin, Method::GET, "/admin/v1/info")).await?;
            let url = info.1.get("ingest_url").and_then(Value::as_str);
            url.map(base).unwrap_or_else(|| {
                Err(Failure::failed("the host does not say where its ingest listener is; give --ingest-url"))
            })
        };
        self.ingest.get_or_try_init(ask).await.cloned()
    }

    /// The answer's JSON; null when it has none.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<Value, Failure> {
        Ok(self.ask_with_headers(ask).await?.1)
    }

    /// `GET` at the admin listener.
    pub async fn get(&self, path: impl Into<String>) -> Result<Value, Failure> {
        self.ask(Ask::new(Door::Admin, Method::GET, path)).await
    }

    /// `POST` of JSON at the admin listener.
    pub async fn post(&self, path: impl Into<String>, body: &Value) -> Result<Value, Failure> {
        self.ask(Ask::new(Door::Admin, Method::POST, path).body("application/json", body.to_string())).await
    }

    /// All pages of a list, up to so many rows, as one list.
    pub async fn pages(&self, path: &str, query: &str, cursor: &str, limit: usize) -> Result<Value, Failure> {
        let mut rows: Vec<Value> = Vec::new();
        let mut next: Option<String> = None;
        while rows.len() < limit {
            let page = (limit - rows.len()).min(walhost_core::limits::PAGE_MAX);
            let mut whole = format!("{path}?limit={page}{query}");
            if let Some(next) = &next {
                whole.push_str(&format!("&{cursor}={}", escape(next)));
            }
            let mut answer = self.get(whole).await?;
            if let Some(Value::Array(page)) = answer.get_mut("items").map(Value::take) {
                rows.extend(page);
            }
            next = answer.get("next").and_then(Value::as_str).map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        Ok(serde_json::json!({ "items": rows, "next": next }))
    }

    /// Headers and JSON of the answer.
    pub async fn ask_with_headers(&self, ask: Ask<'_>) -> Result<(HeaderMap, Value), Failure> {
        let base = match ask.door {
            Door::Admin => self.admin.clone(),
            Door::Ingest => self.ingest_url().await?,
        };
        self.send(&base, &ask).await
    }

    async fn send(&self, base: &str, ask: &Ask<'_>) -> Result<(HeaderMap, Value), Failure> {
        let url = format!("{base}{}", ask.path);
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = url.parse::<Uri>().map_err(|error| Failure::usage(format!("{url}: {error}")))?;
        for (name, value) in &ask.headers {
            let name = HeaderName::try_from(*name)
                .map_err(|_| Failure::usage(format!("`{name}` is not the name of a header")))?;
            let value = HeaderValue::try_from(value)
                .map_err(|_| Failure::usage(format!("the value of {name} cannot stand in a header")))?;
            request.headers_mut().append(name, value);
        }
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|_| Failure::failed("the token file holds no token"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let exchange = async {
            let answer = self.pool.request(request).await.map_err(|error| unreachable(base, &error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Failure::failed(format!("the answer of {base} broke off: {error}")))?;
            Ok::<_, Failure>((head, body.to_bytes()))
        };
        let (head, body) = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| {
            Failure::unreachable(format!("{base} does not answer within {} s", ANSWER_TIMEOUT.as_secs()))
        })??;
        if !head.status.is_success() {
            return Err(Failure::problem(head.status.as_u16(), &body));
        }
        let json = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&body) };
        let json =
            json.map_err(|_| Failure::failed(format!("{url} answers something that is not JSON: is it a walhost?")))?;
        Ok((head.headers, json))
    }
}

/// Scheme, host and port, without a slash at the end.
fn base(url: &str) -> Result<String, Failure> {
    let uri: Uri = url.parse().map_err(|error| Failure::usage(format!("`{url}` is not a URL: {error}")))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) => Ok(format!("http://{authority}")),
        (Some("https"), _) => Err(Failure::usage(format!(
            "`{url}`: the commands speak plain HTTP; reach the host through its loopback listener"
        ))),
        _ => Err(Failure::usage(format!("`{url}` is not a URL: write it as in http://127.0.0.1:7071"))),
    }
}

fn unreachable(base: &str, error: &hyper_util::client::legacy::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Failure::unreachable(format!("no host answers at {base}: {cause}"))
}

/// Escapes what may not stand in a part of a path or in a query.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
