//! The generator against a small host of its own.
#![allow(clippy::unwrap_used)]

use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Takes requests; refuses every `refuse`th with a problem; delivers what it took `copies` times. Its
/// threads end with the test's process.
fn small_host(refuse: usize, copies: usize, to: Option<SocketAddr>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    exec::thread("small-host", move || {
        while let Ok((stream, _)) = listener.accept() {
            exec::thread("small-host", move || serve(stream, refuse, copies, to)).unwrap();
        }
    })
    .unwrap();
    url
}

/// Bytes of the head, and of head and body, when all of them are there.
fn whole(received: &[u8]) -> Option<(usize, usize)> {
    let text = String::from_utf8_lossy(received);
    let head = text.find("\r\n\r\n")? + 4;
    let length: usize =
        text[..head].to_lowercase().split_once("content-length: ")?.1.split("\r\n").next()?.parse().ok()?;
    (received.len() >= head + length).then_some((head, head + length))
}

fn serve(mut stream: TcpStream, refuse: usize, copies: usize, to: Option<SocketAddr>) {
    let (mut received, mut number, mut room) = (Vec::new(), 0, [0; 4_096]);
    let mut out = None;
    while let Ok(count) = stream.read(&mut room) {
        if count == 0 {
            return;
        }
        received.extend_from_slice(&room[..count]);
        while let Some((head, end)) = whole(&received) {
            let body = received[head..end].to_vec();
            received.drain(..end);
            number += 1;
            let refused = refuse > 0 && number % refuse == 0;
            let text = if refused { "{\"code\":\"overloaded\"}" } else { "{}" };
            let status = if refused { "503 Service Unavailable" } else { "202 Accepted" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            for _ in 0..if refused || to.is_none() { 0 } else { copies } {
                let out = out.get_or_insert_with(|| TcpStream::connect(to.unwrap()).unwrap());
                let head = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
                out.write_all(&[head.as_bytes(), &body].concat()).unwrap();
                let mut taken = [0; 256];
                assert!(out.read(&mut taken).unwrap() > 0);
            }
        }
    }
}

fn arguments(rate: Option<u64>, batch: usize, receive: Option<SocketAddr>) -> BenchArguments {
    BenchArguments {
        namespace: "a".into(),
        rate,
        size: Size(256),
        duration: Wait(200),
        connections: 4,
        batch,
        receive,
        drain: Wait(5_000),
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn an_open_loop_sends_what_was_asked_and_every_delivery_is_matched() {
    let receive = free();
    let url = small_host(0, 1, Some(receive));
    let report = run(&arguments(Some(1_000), 10, Some(receive)), &url, None).await.unwrap();
    let json = report.json();
    assert_eq!((json["acknowledged"].as_u64(), json["delivered"].as_u64()), (Some(200), Some(200)), "{json}");
    assert_eq!((report.lost(), json["duplicated"].as_u64()), (0, Some(0)));
    assert!(json["acknowledgement"]["p50_us"].as_u64().unwrap() <= json["delivery"]["max_us"].as_u64().unwrap());
}

#[tokio::test]
async fn refusals_are_counted_by_code_and_copies_are_seen() {
    let receive = free();
    let url = small_host(2, 2, Some(receive));
    let report = run(&arguments(Some(200), 1, Some(receive)), &url, None).await.unwrap();
    let json = report.json();
    let (acknowledged, refused) =
        (json["acknowledged"].as_u64().unwrap(), json["errors"]["overloaded"].as_u64().unwrap());
    assert_eq!(acknowledged + refused, 40, "{json}");
    assert_eq!(json["duplicated"].as_u64(), Some(acknowledged));
    assert!(report.table().contains("overloaded"));
}

#[tokio::test]
async fn what_is_never_delivered_is_lost() {
    let receive = free();
    let url = small_host(0, 0, Some(receive));
    let mut asked = arguments(Some(100), 1, Some(receive));
    asked.drain = Wait(50);
    let report = run(&asked, &url, Some("token")).await.unwrap();
    assert_eq!(report.lost(), 20);
}

#[tokio::test]
async fn a_closed_loop_goes_as_fast_as_the_host_and_ends_in_time() {
    let url = small_host(0, 0, None);
    let report = run(&arguments(None, 1, None), &url, None).await.unwrap();
    assert!(report.records_per_second() > 100.0 && report.lost() == 0);
    assert!(report.json()["delivery"].is_null());
}

#[tokio::test]
async fn a_host_that_is_not_there_is_said_so_and_bad_numbers_are_refused() {
    let url = format!("http://{}", free());
    assert!(run(&arguments(None, 1, None), &url, None).await.unwrap_err().to_string().contains("no host answers"));
    for bad in [BenchArguments { connections: 0, ..arguments(None, 1, None) }, arguments(None, 0, None)] {
        assert!(run(&bad, &url, None).await.is_err());
    }
    assert_eq!((rate("20000/s"), rate("5"), rate("0").is_err()), (Ok(20_000), Ok(5), true));
}
