//! A destination over HTTP that remembers what it was given, and fails when it is told to.
//!
//! In: the host's deliveries. Out: each one with its id, its headers and its bytes.

use crate::http::{Received, Reply, serve};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// One delivery as it arrived, whatever was answered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// `webhook-id`.
    pub id: String,
    /// All headers.
    pub headers: hyper::HeaderMap,
    /// The value.
    pub value: Bytes,
    /// What was answered.
    pub status: u16,
    /// When it arrived.
    pub at: Instant,
}

impl Delivery {
    /// A header's text; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

type Decide = Box<dyn Fn(&Received) -> Reply + Send + Sync>;

struct State {
    deliveries: Mutex<Vec<Delivery>>,
    decide: Mutex<Decide>,
}

/// A listening destination.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> anyhow::Result<Receiver> {
        let state =
            Arc::new(State { deliveries: Mutex::default(), decide: Mutex::new(Box::new(|_| Reply::new(200, "{}"))) });
        let shared = Arc::clone(&state);
        let address = serve(move |received| {
            let reply = (shared.decide.lock().expect("no handler panics"))(&received);
            let id = received.headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
            let Received { headers, value, .. } = received;
            let delivery = Delivery { id, headers, value, status: reply.status, at: Instant::now() };
            shared.deliveries.lock().expect("no handler panics").push(delivery);
            reply
        })
        .await?;
        Ok(Receiver { address, state })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// From now on answers as this says.
    pub fn answer(&self, decide: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        *self.state.decide.lock().expect("no handler panics") = Box::new(decide);
    }

    /// From now on answers every delivery with this status.
    pub fn always(&self, status: u16) {
        self.answer(move |_| Reply::new(status, "{}"));
    }

    /// All deliveries so far, failed ones too.
    pub fn deliveries(&self) -> MutexGuard<'_, Vec<Delivery>> {
        self.state.deliveries.lock().expect("no handler panics")
    }

    /// How many were confirmed.
    pub fn confirmed(&self) -> usize {
        self.deliveries().iter().filter(|delivery| delivery.status < 300).count()
    }
}
