//! The engine and the receiver against small servers of their own.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::http::{Http, HttpSpeaker};
use crate::receiver::{Behaviour, Receiver};
use crate::value::Values;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

const SIZE: usize = 256;

fn values() -> Arc<Values> {
    Arc::new(Values::new(1, SIZE).unwrap())
}

fn load(address: SocketAddr, rate: Option<u64>, duration_ms: u64) -> Load {
    let (duration, patience) = (Duration::from_millis(duration_ms), Duration::from_millis(100));
    Load { address, connections: 4, batch: 1, rate, duration, patience, first: 0 }
}

fn posts(values: &Arc<Values>) -> impl FnMut(usize) -> HttpSpeaker {
    let http = Http { host: "h".into(), namespace: "a".into(), batch: 1, ..Http::default() };
    let values = Arc::clone(values);
    move |_| HttpSpeaker::new(&http, &values)
}

/// Closes every connection after so many bytes of requests, without an answer.
fn closing_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || stream.read(&mut [0; 16]).unwrap());
        }
    });
    address
}

#[test]
fn every_record_that_is_acknowledged_has_been_delivered_once() {
    let (values, timeline) = (values(), Timeline::default());
    let receiver = Receiver::start("127.0.0.1:0".parse().unwrap(), &values, &timeline).unwrap();
    let outcome = drive(&load(receiver.address, Some(2_000), 200), &timeline, posts(&values)).unwrap();
    let seen = receiver.seen();
    assert_eq!((outcome.acknowledged.count(), outcome.unsent, outcome.next), (400, 0, 400));
    assert_eq!((seen.delivered.count(), seen.duplicated), (400, 0));
    assert_eq!(receiver.missing(&outcome.acknowledged), 0);
    assert!(outcome.latency.p50_us > 0 && outcome.cpu_us > 0.0);
}

#[test]
fn failures_are_refusals_and_a_receiver_that_is_down_is_a_lost_connection() {
    let (values, timeline) = (values(), Timeline::default());
    let receiver = Receiver::start("127.0.0.1:0".parse().unwrap(), &values, &timeline).unwrap();
    receiver.behave(Behaviour { fail_every: 2, ..Behaviour::default() });
    let outcome = drive(&load(receiver.address, Some(1_000), 100), &timeline, posts(&values)).unwrap();
    assert_eq!((outcome.acknowledged.count(), outcome.refused.get("http-500")), (50, Some(&50)));
    receiver.behave(Behaviour { down: true, ..Behaviour::default() });
    while TcpStream::connect(receiver.address).is_ok() {}
    assert!(drive(&load(receiver.address, None, 10), &timeline, posts(&values)).is_err());
    receiver.behave(Behaviour::default());
    while TcpStream::connect(receiver.address).is_err() {}
    assert!(drive(&load(receiver.address, None, 10), &timeline, posts(&values)).is_ok());
}

#[test]
fn what_a_server_drops_is_refused_and_never_acknowledged() {
    let outcome = drive(&load(closing_server(), Some(200), 100), &Timeline::default(), posts(&values())).unwrap();
    assert_eq!((outcome.acknowledged.count(), outcome.requests), (0, 0));
    assert_eq!(outcome.refused.get("connection-lost").copied().unwrap_or(0) + outcome.unsent, 20);
}

#[test]
fn a_held_record_is_never_answered() {
    let (values, timeline) = (values(), Timeline::default());
    let receiver = Receiver::start("127.0.0.1:0".parse().unwrap(), &values, &timeline).unwrap();
    receiver.behave(Behaviour { hold: Some(0), ..Behaviour::default() });
    let address = receiver.address;
    let run = thread::spawn(move || drive(&load(address, Some(1_000), 50), &timeline, posts(&values)));
    while receiver.delivered() < 49 {
        thread::yield_now();
    }
    let seen = receiver.seen();
    assert!(seen.held == 1 && !seen.delivered.has(0) && !run.is_finished());
    drop(receiver);
    assert_eq!(run.join().unwrap().unwrap().refused.get("connection-lost"), Some(&1));
}
