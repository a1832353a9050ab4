//! The generator's HTTP: a POST whose bytes stand before it is sent, and a look at its answer.
//!
//! In: namespaces, a batch size. Out: requests of which only numbers, times and digits of a name change.

use crate::head::{self, Head};
use crate::speaker::{Answer, Speaker};
use crate::value::Values;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

/// What to post, and where.
#[derive(Clone, Debug, Default)]
pub struct Http {
    /// `Host`.
    pub host: String,
    /// The namespace, or the beginning of the names of several.
    pub namespace: String,
    /// How many namespaces take the requests in turn; their names end in `-` and four digits. 0: just one.
    pub namespaces: u64,
    /// A bearer token.
    pub token: Option<String>,
    /// Records of a request; more than 1 are NDJSON.
    pub batch: usize,
    /// Delays requests by a spread from the first to the second of these milliseconds.
    pub delay_ms: Option<(u64, u64)>,
}

/// Digits of a namespace's number.
const NAME_DIGITS: usize = 4;
/// Digits of a delay in milliseconds.
const DELAY_DIGITS: usize = 9;

/// One connection's request.
pub struct HttpSpeaker {
    options: Http,
    values: Arc<Values>,
    request: Vec<u8>,
    name_at: usize,
    delay_at: usize,
    /// Where the values begin.
    values_at: Vec<usize>,
    /// The last good answer's frame, and where its length stands: the next one is mostly the same.
    like: Option<(Head, usize)>,
}

/// The name of one of several namespaces.
pub fn namespace(prefix: &str, number: u64) -> String {
    format!("{prefix}-{number:0width$}", width = NAME_DIGITS)
}

impl HttpSpeaker {
    /// Builds the request.
    pub fn new(options: &Http, values: &Arc<Values>) -> HttpSpeaker {
        let Http { host, batch, .. } = options;
        let begin = format!("POST /v1/namespaces/{}", options.namespace);
        let name_at = begin.len() + 1;
        let name = if options.namespaces > 0 { format!("-{:0NAME_DIGITS$}", 0) } else { String::new() };
        let kind = if *batch > 1 { "application/x-ndjson" } else { "application/json" };
        let token = options.token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n"));
        let mut request = format!(
            "{begin}{name}/records HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\n{}",
            token.unwrap_or_default()
        )
        .into_bytes();
        let mut delay_at = 0;
        if options.delay_ms.is_some() {
            request.extend_from_slice(b"wal-delay: ");
            delay_at = request.len();
            request.extend_from_slice(format!("{:0DELAY_DIGITS$}ms\r\n", 0).as_bytes());
        }
        let separators = if *batch > 1 { *batch } else { 0 };
        let length = batch * values.size_bytes() + separators;
        request.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
        request.reserve_exact(length);
        let mut values_at = Vec::with_capacity(*batch);
        for _ in 0..*batch {
            values_at.push(request.len());
            request.extend_from_slice(values.template());
            if *batch > 1 {
                request.push(b'\n');
            }
        }
        let (options, values) = (options.clone(), Arc::clone(values));
        HttpSpeaker { options, values, request, name_at, delay_at, values_at, like: None }
    }

    /// The delay of a request, spread evenly however the numbers run.
    fn delay_ms(&self, first: u64) -> u64 {
        self.options.delay_ms.map_or(0, |(from, to)| {
            let turn = first / self.options.batch.max(1) as u64;
            from + walhost_core::random::mix(turn) % (to - from).max(1)
        })
    }

    /// True when the answer has the frame of the last one: then nothing needs to be searched.
    fn is_like(&self, received: &[u8]) -> Option<usize> {
        let (like, length_at) = self.like?;
        let end = like.head_bytes;
        let same = received.len() >= like.bytes()
            && received.starts_with(b"HTTP/1.1 202")
            && &received[end - 4..end] == b"\r\n\r\n"
            && head::length_at(&received[..end], length_at) == Some(like.body_bytes);
        same.then(|| like.bytes())
    }
}

impl Speaker for HttpSpeaker {
    fn greet(&mut self, _: &mut TcpStream) -> io::Result<()> {
        Ok(())
    }

    fn stamp(&mut self, first: u64, at_us: u64) {
        let mut at_us = at_us;
        if self.options.namespaces > 0 {
            let turn = first / self.options.batch.max(1) as u64;
            let place = &mut self.request[self.name_at..self.name_at + NAME_DIGITS];
            crate::value::digits(place, turn % self.options.namespaces);
        }
        if self.delay_at > 0 {
            let delay_ms = self.delay_ms(first);
            crate::value::digits(&mut self.request[self.delay_at..self.delay_at + DELAY_DIGITS], delay_ms);
            at_us += delay_ms * 1_000;
        }
        for (number, place) in (first..).zip(&self.values_at) {
            self.values.stamp(&mut self.request[*place..], number, at_us);
        }
    }

    fn request(&self) -> &[u8] {
        &self.request
    }

    fn answer(&mut self, received: &[u8]) -> Answer {
        if let Some(taken) = self.is_like(received) {
            return Answer::Done(taken);
        }
        let found = match head::head(received) {
            Ok(Some(found)) if received.len() >= found.bytes() => found,
            Ok(_) => return Answer::More(0),
            Err(_) => return Answer::Garbled,
        };
        match found.status {
            200..300 if found.closes => Answer::Last,
            200..300 => {
                self.like = head::length_place(&received[..found.head_bytes]).map(|place| (found, place));
                Answer::Done(found.bytes())
            }
            status => Answer::Refused(found.bytes(), head::code(status, &received[found.head_bytes..found.bytes()])),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn speaker(batch: usize, namespaces: u64, delay_ms: Option<(u64, u64)>) -> HttpSpeaker {
        let options = Http { host: "h".into(), namespace: "a".into(), namespaces, token: None, batch, delay_ms };
        HttpSpeaker::new(&options, &Arc::new(Values::new(1, 256).unwrap()))
    }

    #[test]
    fn requests_go_to_the_namespaces_in_turn_with_their_own_numbers() {
        let mut one = speaker(2, 3, None);
        one.stamp(8, 77);
        let text = String::from_utf8(one.request().to_vec()).unwrap();
        assert!(text.starts_with("POST /v1/namespaces/a-0001/records HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("application/x-ndjson\r\ncontent-length: 514\r\n\r\n"));
        assert_eq!(one.values.find(one.request()).collect::<Vec<_>>(), [(8, 77), (9, 77)]);
    }

    #[test]
    fn a_delayed_record_carries_the_time_when_it_is_due() {
        let mut one = speaker(1, 0, Some((1_000, 2_000)));
        one.stamp(5, 10);
        let delay_ms = one.delay_ms(5);
        assert!((1_000..2_000).contains(&delay_ms));
        let text = String::from_utf8(one.request().to_vec()).unwrap();
        assert!(text.contains(&format!("wal-delay: {delay_ms:09}ms\r\n")), "{text}");
        assert_eq!(one.values.find(one.request()).next(), Some((5, 10 + delay_ms * 1_000)));
    }

    #[test]
    fn an_answer_like_the_last_one_is_known_and_another_is_read_anew() {
        let mut one = speaker(1, 0, None);
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\nx: 1\r\n\r\nhello";
        assert_eq!(one.answer(&answer[..30]), Answer::More(0));
        assert_eq!(one.answer(answer), Answer::Done(answer.len()));
        assert_eq!(one.is_like(answer), Some(answer.len()));
        assert_eq!(one.answer(&answer[..answer.len() - 1]), Answer::More(0));
        let longer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 6\r\nx: 1\r\n\r\nhello!";
        assert_eq!(one.is_like(longer), None);
        assert_eq!(one.answer(longer), Answer::Done(longer.len()));
        let refused = b"HTTP/1.1 503 No\r\ncontent-length: 20\r\n\r\n{\"code\":\"disk-full\"}";
        assert_eq!(one.answer(refused), Answer::Refused(refused.len(), "disk-full".into()));
        assert_eq!(one.answer(b"HTTP/1.1 202 A\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"), Answer::Last);
        assert_eq!(one.answer(b"HTTP/1.1 200 A\r\ntransfer-encoding: chunked\r\n\r\n"), Answer::Garbled);
    }
}
