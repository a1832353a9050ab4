//! Exchanges with local servers in every mood.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::tls::TlsSettings;
use async_trait::async_trait;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use walhost_core::time::SystemClock;

mod ssrf;
mod tls;

/// Every name is this machine: what is dialled is for the filter to say.
pub(super) struct Loopback;

#[async_trait]
impl Resolver for Loopback {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec!["127.0.0.1".parse().unwrap()])
    }
}

pub(super) fn client_with(tls: TlsSettings) -> Client {
    let policy = ClientPolicy { tls, connect_timeout: Duration::from_millis(500), ..ClientPolicy::default() };
    Client::with_resolver(policy, Arc::new(SystemClock::default()), Arc::new(Loopback)).unwrap()
}

pub(super) fn get(url: &str) -> Request {
    Request { method: Method::GET, url: Url::parse(url).unwrap(), headers: HeaderMap::new(), value: Bytes::new() }
}

/// A server that reads one request's head and then does what the test says; counts its connections.
async fn server<F, Fut>(behave: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    walhost_core::exec::task(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            walhost_core::exec::task(behave(stream));
        }
    });
    (address, connections)
}

/// Reads a head (and a small body with it); false at the end.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut head = Vec::new();
    let mut bytes = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return false,
            Ok(read) => head.extend_from_slice(&bytes[..read]),
        }
    }
    true
}

pub(super) async fn answer_each(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) {
    while read_head(&mut stream).await {
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

async fn outcome(answer: &'static [u8], timeout_ms: u64, bytes_max: usize) -> Result<Response, Fault> {
    let (address, _) = server(move |mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let timeout = Duration::from_millis(timeout_ms);
    client_with(TlsSettings::default())
        .send(get(&format!("http://{address}/")), &Allow::any(), timeout, bytes_max)
        .await
}

#[tokio::test]
async fn answers_come_whole_and_redirects_are_not_followed() {
    let response = outcome(b"HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 2\r\n\r\nok", 5_000, 2).await.unwrap();
    assert_eq!((response.status.as_u16(), &response.value[..], response.cut), (200, &b"ok"[..], false));
    assert_eq!(response.headers["x"], "y");
    let moved = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(outcome(moved, 5_000, 10).await.unwrap().status.as_u16(), 302);
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
    assert_eq!(&outcome(chunked, 5_000, 3).await.unwrap().value[..], b"abc");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_or_cut() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
    ] {
        assert!(matches!(outcome(answer, 5_000, 3).await, Err(Fault::TooLarge(_))));
    }
    let (address, _) = server(|mut stream| async move {
        read_head(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let client = client_with(TlsSettings::default());
    let url = format!("http://{address}/");
    let timeout = Duration::from_secs(5);
    let cut = client.send_cut(get(&url), &Allow::any(), timeout, 100).await.unwrap();
    assert_eq!((cut.value.len(), cut.cut), (100, true));
    let huge_head: &'static [u8] = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 100_000]].concat().leak();
    assert!(matches!(outcome(huge_head, 5_000, 10).await, Err(Fault::TooLarge(_))));
}

#[tokio::test]
async fn torn_and_senseless_answers_are_broken() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ] {
        let fault = outcome(answer, 5_000, 100).await.unwrap_err();
        assert!(matches!(fault, Fault::Broken(_)), "{fault}");
        assert!(!fault.text().contains(char::is_control));
    }
}

#[tokio::test]
async fn a_black_hole_and_a_slow_drip_end_in_time() {
    let (hole, _) = server(|stream| async move {
        let _kept = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let (drip, _) = server(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let client = client_with(TlsSettings::default());
    for address in [hole, drip] {
        let request = get(&format!("http://{address}/"));
        let fault = client.send(request, &Allow::any(), Duration::from_millis(100), 10_000).await.unwrap_err();
        assert!(matches!(fault, Fault::Timeout(_)), "{fault}");
    }
}

#[tokio::test]
async fn a_tls_black_hole_is_a_connect_timeout_and_a_closed_port_a_refusal() {
    let (hole, _) = server(|stream| async move {
        let _kept = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let client = client_with(TlsSettings::default());
    let timeout = Duration::from_millis(100);
    let fault = client.send(get(&format!("https://{hole}/")), &Allow::any(), timeout, 1).await.unwrap_err();
    assert!(matches!(fault, Fault::ConnectTimeout(_)), "{fault}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fault = client.send(get(&format!("http://{closed}/")), &Allow::any(), timeout, 1).await.unwrap_err();
    assert!(matches!(fault, Fault::Connect(_)), "{fault}");
}

#[tokio::test]
async fn i41_a_connection_made_under_a_wide_grant_is_not_used_under_a_narrow_one() {
    let (address, connections) =
        server(|stream| async move { answer_each(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await })
            .await;
    let client = client_with(TlsSettings::default());
    let url = format!("http://name:{}/", address.port());
    let timeout = Duration::from_secs(5);
    for _ in 0..3 {
        client.send(get(&url), &Allow::any(), timeout, 1).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1, "it is pooled");
    let fault = client.send(get(&url), &Allow::public(), timeout, 1).await.unwrap_err();
    assert!(matches!(fault, Fault::Denied(_)), "{fault}");
    let granted = Allow::parse(["127.0.0.0/8"]).unwrap();
    client.send(get(&url), &granted, timeout, 1).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn framing_headers_and_connect_are_denied() {
    let client = client_with(TlsSettings::default());
    for name in
        ["host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "proxy-authorization"]
    {
        let mut request = get("http://127.0.0.1:1/");
        request.headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        let fault = client.send(request, &Allow::any(), Duration::from_secs(1), 1).await.unwrap_err();
        assert!(matches!(&fault, Fault::Denied(text) if text.contains(name)), "{fault}");
    }
    let mut request = get("http://127.0.0.1:1/");
    request.method = Method::CONNECT;
    assert!(matches!(client.send(request, &Allow::any(), Duration::from_secs(1), 1).await, Err(Fault::Denied(_))));
}
