//! HTTP for sinks: by grant, within the call's time, through the host's own client.
//!
//! In: requests of a guest. Out: answers without the headers that the host added, or the failure in the
//! words of the WIT. Origins are compared exactly; the addresses behind them are `net`'s to check (I41).

use crate::grants::GrantedOrigin;
use crate::host::{Context, State};
use crate::limits;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use walhost_net::{Fault, Url};

/// A request, whatever the WIT version.
pub(crate) struct Ask {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub value: Vec<u8>,
    pub timeout_ms: Option<u32>,
}

/// An answer, whatever the WIT version.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub value: Vec<u8>,
}

/// How it failed: the five cases of the WIT.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Denied(String),
    Connect(String),
    Timeout(String),
    Broken(String),
    TooLarge(String),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        let text = fault.text().to_owned();
        match fault {
            Fault::Denied(_) => Refusal::Denied(text),
            Fault::Dns(_) | Fault::Connect(_) | Fault::Tls(_) | Fault::ConnectTimeout(_) => Refusal::Connect(text),
            Fault::Timeout(_) => Refusal::Timeout(text),
            Fault::Broken(_) => Refusal::Broken(text),
            Fault::TooLarge(_) => Refusal::TooLarge(text),
        }
    }
}

impl State {
    /// One exchange.
    pub async fn send(&mut self, ask: Ask) -> Result<Answer, Refusal> {
        let room = Room::new(limits::RESPONSES_BYTES_MAX);
        let caller = Caller { context: self.context.clone(), ends_at: self.call.ends_at };
        let answer = caller.exchange(ask, &room).await;
        self.call.waited = true;
        answer
    }

    /// Many, at most `parallel` at once (0: the grant's limit), answers in order.
    pub async fn send_all(&mut self, asks: Vec<Ask>, parallel: u32) -> Result<Vec<Result<Answer, Refusal>>, String> {
        if asks.len() > limits::SEND_ALL_MAX {
            return Err(format!("send-all of {} requests: at most {} are possible", asks.len(), limits::SEND_ALL_MAX));
        }
        let granted = self.context.granted.parallel();
        let parallel = if parallel == 0 { granted } else { (parallel as usize).min(granted) };
        let room = Room::new(limits::RESPONSES_BYTES_MAX);
        let caller = Caller { context: self.context.clone(), ends_at: self.call.ends_at };
        let exchanges: Vec<_> = asks.into_iter().map(|ask| caller.exchange(ask, &room)).collect();
        let answers = stream::iter(exchanges).buffered(parallel).collect().await;
        self.call.waited = true;
        Ok(answers)
    }
}

/// Who calls, and until when.
struct Caller {
    context: Arc<Context>,
    ends_at: Duration,
}

impl Caller {
    async fn exchange(&self, ask: Ask, room: &Room) -> Result<Answer, Refusal> {
        let (request, grant) = self.admit(&ask)?;
        let request = walhost_net::Request { value: Bytes::from(ask.value), ..request };
        let timeout = self.timeout(ask.timeout_ms);
        if timeout.is_zero() {
            return Err(Refusal::Connect("nothing is left of this call's time".into()));
        }
        let bytes_max = room.reserve(grant.response_bytes_max).await;
        if bytes_max == 0 {
            return Err(Refusal::TooLarge(
                "the answers before this one used up the room for answers; it was not sent".into(),
            ));
        }
        let sent = self.context.outbound.send(request, &grant.allow, timeout, bytes_max as usize).await;
        room.release(bytes_max, sent.as_ref().map_or(0, |response| response.value.len() as u64));
        let response = sent?;
        Ok(Answer {
            status: response.status.as_u16(),
            headers: visible(&response.headers, grant),
            value: hide(response.value.into(), grant),
        })
    }

    fn admit(&self, ask: &Ask) -> Result<(walhost_net::Request, &GrantedOrigin), Refusal> {
        if ask.url.len() > limits::URL_BYTES_MAX || ask.value.len() > limits::REQUEST_BYTES_MAX {
            return Err(Refusal::Denied("the request is too large".into()));
        }
        let url = Url::parse(&ask.url).map_err(Refusal::Denied)?;
        let grant = self
            .context
            .granted
            .origin(url.origin())
            .ok_or_else(|| Refusal::Denied(format!("the origin {} is not granted", url.origin())))?;
        let method = Method::from_bytes(ask.method.as_bytes())
            .ok()
            .filter(|method| *method != Method::CONNECT && *method != Method::TRACE)
            .ok_or_else(|| Refusal::Denied("this method is not for plugins".into()))?;
        if ask.headers.len() > limits::REQUEST_HEADERS_MAX {
            return Err(Refusal::Denied(format!("more than {} headers", limits::REQUEST_HEADERS_MAX)));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &ask.headers {
            let wrong = |what: &str| {
                Refusal::Denied(format!("the header `{}`: {what}", walhost_core::attempt::clean(name, 64)))
            };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("this is no header name"))?;
            if walhost_net::client::is_framing(&name) {
                return Err(wrong("it belongs to HTTP's own framing"));
            }
            if grant.headers.iter().any(|(granted, _)| *granted == name) {
                return Err(wrong("the host adds it, as granted"));
            }
            headers.append(name, HeaderValue::from_bytes(value).map_err(|_| wrong("its value has forbidden bytes"))?);
        }
        headers.extend(grant.headers.iter().cloned());
        Ok((walhost_net::Request { method, url, headers, value: Bytes::new() }, grant))
    }

    /// What the guest asked for, within what is left of the call. A tenth of that, at most 100 ms, is left
    /// to the guest, so that it can still say what it makes of the time-out.
    fn timeout(&self, asked_ms: Option<u32>) -> Duration {
        let left = self.ends_at.saturating_sub(self.context.clock.monotonic());
        let left = left.saturating_sub((left / 10).min(Duration::from_millis(100)));
        let asked = asked_ms.map_or(limits::REQUEST_MS_MAX, |ms| u64::from(ms).min(limits::REQUEST_MS_MAX));
        left.min(Duration::from_millis(asked))
    }
}

/// Headers of an answer, but those that repeat a secret that the host had added.
fn visible(headers: &HeaderMap, grant: &GrantedOrigin) -> Vec<(String, Vec<u8>)> {
    let repeats = |value: &[u8]| grant.headers.iter().any(|(_, secret)| place(value, secret.as_bytes()).is_some());
    headers
        .iter()
        .filter(|(_, value)| !repeats(value.as_bytes()))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// Shortest secret that is looked for in answers, in bytes: shorter ones are found everywhere by chance.
const HIDE_BYTES_MIN: usize = 8;

/// Stars in place of a secret that a server echoes.
fn hide(mut value: Vec<u8>, grant: &GrantedOrigin) -> Vec<u8> {
    for (_, secret) in &grant.headers {
        let secret = secret.as_bytes();
        let mut from = 0;
        while let Some(found) = place(&value[from..], secret) {
            value[from + found..from + found + secret.len()].fill(b'*');
            from += found + secret.len();
        }
    }
    value
}

fn place(value: &[u8], secret: &[u8]) -> Option<usize> {
    if secret.len() < HIDE_BYTES_MIN {
        return None;
    }
    value.windows(secret.len()).position(|window| window == secret)
}

/// Room for the answers of one `send-all`: what has come stays until the last one is there.
struct Room {
    bytes_max: u64,
    /// Reserved by those in flight, held by those that are there.
    used: Mutex<(u64, u64)>,
    freed: Notify,
}

impl Room {
    fn new(bytes_max: u64) -> Room {
        Room { bytes_max, used: Mutex::new((0, 0)), freed: Notify::new() }
    }

    /// Waits for so much room, or for what can still become free; 0 when there is none left.
    async fn reserve(&self, wanted: u64) -> u64 {
        loop {
            let freed = self.freed.notified();
            {
                let mut used = self.used.lock();
                let most = self.bytes_max - used.1;
                let bytes = wanted.min(most);
                if used.0 + bytes <= most {
                    used.0 += bytes;
                    return bytes;
                }
            }
            freed.await;
        }
    }

    fn release(&self, reserved: u64, held: u64) {
        let mut used = self.used.lock();
        *used = (used.0 - reserved, used.1 + held);
        drop(used);
        self.freed.notify_waiters();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::task::Waker;
    use walhost_net::{Allow, Origin};

    #[test]
    fn i30_answers_of_one_call_share_their_room() {
        let room = Room::new(10);
        let mut context = std::task::Context::from_waker(Waker::noop());
        let mut first = Box::pin(room.reserve(8));
        assert!(first.as_mut().poll(&mut context).is_ready());
        let mut second = Box::pin(room.reserve(8));
        assert!(second.as_mut().poll(&mut context).is_pending());
        room.release(8, 4);
        assert_eq!(second.as_mut().poll(&mut context), std::task::Poll::Ready(6));
        room.release(6, 6);
        assert_eq!(Box::pin(room.reserve(8)).as_mut().poll(&mut context), std::task::Poll::Ready(0));
    }

    #[test]
    fn i40_a_secret_that_a_server_echoes_does_not_reach_the_guest() {
        let mut secret = HeaderValue::from_static("Bearer 0123456789");
        secret.set_sensitive(true);
        let grant = GrantedOrigin {
            origin: Origin::parse("http://a").unwrap(),
            allow: Allow::public(),
            headers: vec![(http::header::AUTHORIZATION, secret)],
            parallel: 1,
            response_bytes_max: 1,
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", HeaderValue::from_static("got Bearer 0123456789"));
        headers.insert("x-other", HeaderValue::from_static("y"));
        assert_eq!(visible(&headers, &grant), [("x-other".to_owned(), b"y".to_vec())]);
        assert_eq!(
            hide(b"a Bearer 0123456789 b Bearer 0123456789".to_vec(), &grant),
            b"a ***************** b *****************"
        );
    }
}
