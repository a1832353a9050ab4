//! A request's body: taken only when there is room for it, cut when it stops coming, unpacked under a cap.
//!
//! In: hyper's body, a limit, the budget. Out: all its bytes and the reservation that covers them.

use super::headers::Encoding;
use crate::http::budget::{Budget, Reservation};
use crate::http::connection::{Control, Late};
use crate::http::error::{Code, Problem};
use crate::limits::{BODY_BYTES_PER_SECOND_MIN, IN_FLIGHT_BYTES_FREE};
use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::future::Future;
use std::io::Read;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use walhost_core::{Clock, exec};

/// What bodies are read under.
#[derive(Clone)]
pub struct Reading {
    /// The shared account.
    pub budget: Arc<Budget>,
    /// Longest time without a byte: the watchdog keeps it.
    pub progress: Duration,
    /// For the slowest pace.
    pub clock: Arc<dyn Clock>,
}

/// A body that was read, and its share of memory.
pub struct Taken {
    /// All of it.
    pub bytes: Bytes,
    /// Held until the answer is made; none for what is too small to count.
    _room: Option<Reservation>,
}

/// What a body that is too large is called: one record, or a batch of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The code of the refusal.
    pub code: Code,
    /// In bytes, inclusive.
    pub bytes_max: u64,
    /// The body holds records, and the bound is their namespace's.
    pub of_records: bool,
}

impl Cap {
    /// The refusal.
    pub fn passed(&self) -> Problem {
        let what = match (self.of_records, self.code) {
            (false, _) => "a body is taken here that",
            (true, Code::RecordTooLarge) => "a record of this namespace",
            (true, _) => "a batch of this namespace",
        };
        Problem::new(self.code, format!("{what} has at most {} bytes", self.bytes_max)).limit(self.bytes_max)
    }
}

impl Reading {
    /// Reads and unpacks a body. Nothing is read of one that is too large by its own word, or for which
    /// there is no room: the client that waits for `100 Continue` never sends it.
    pub async fn take(
        &self,
        body: Incoming,
        encoding: Encoding,
        cap: Cap,
        control: &Control,
    ) -> Result<Taken, Problem> {
        let declared = body.size_hint().exact();
        // A packed body is no larger than what it unpacks to, but for a few bytes that every format adds.
        let packed_max = match encoding {
            Encoding::Identity => cap.bytes_max,
            Encoding::Gzip | Encoding::Zstd => cap.bytes_max.saturating_add(1_024),
        };
        if declared.is_some_and(|bytes| bytes > packed_max) {
            return Err(cap.passed());
        }
        let expected = usize::try_from(declared.unwrap_or(0)).unwrap_or(usize::MAX);
        // The batch that is made of the body is a copy: it counts twice.
        let mut room = match expected {
            0..IN_FLIGHT_BYTES_FREE => None,
            _ => Some(self.budget.reserve(expected.saturating_mul(2)).ok_or_else(overloaded)?),
        };
        control.activity.wants_body(true);
        let read = self.read(body, expected, packed_max, cap, control, &mut room).await;
        control.activity.wants_body(false);
        let bytes = read?;
        let bytes = match encoding {
            Encoding::Identity => bytes,
            packed => unpack(packed, bytes, cap, &self.budget, &mut room).await?,
        };
        Ok(Taken { bytes, _room: room })
    }

    async fn read(
        &self,
        mut body: Incoming,
        expected: usize,
        packed_max: u64,
        cap: Cap,
        control: &Control,
        room: &mut Option<Reservation>,
    ) -> Result<Bytes, Problem> {
        let mut begun: Option<Duration> = None;
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while !body.is_end_stream() {
            let Some(frame) = next(&mut body, control).await? else { break };
            let Ok(data) = frame.into_data() else { continue };
            if first.is_empty() && rest.is_empty() {
                first = data;
                if first.len() as u64 > packed_max {
                    return Err(cap.passed());
                }
                continue;
            }
            if rest.is_empty() {
                rest.reserve(expected.max(first.len() + data.len()));
                rest.extend_from_slice(&first);
            }
            let total = rest.len() + data.len();
            if total as u64 > packed_max {
                return Err(cap.passed());
            }
            if expected == 0 {
                grow(&self.budget, room, data.len().saturating_mul(2))?;
            }
            rest.extend_from_slice(&data);
            let now = self.clock.monotonic();
            let allowed = self.progress + Duration::from_secs(total as u64 / BODY_BYTES_PER_SECOND_MIN);
            if now.saturating_sub(*begun.get_or_insert(now)) > allowed {
                return Err(too_slow());
            }
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    }
}

/// The next frame, unless the watchdog says that it is waited for no longer.
async fn next(body: &mut Incoming, control: &Control) -> Result<Option<hyper::body::Frame<Bytes>>, Problem> {
    let mut frame = std::pin::pin!(body.frame());
    std::future::poll_fn(|context| match frame.as_mut().poll(context) {
        Poll::Ready(frame) => Poll::Ready(frame.transpose().map_err(broken)),
        Poll::Pending => match control.body_late() {
            None => Poll::Pending,
            Some(Late::Timeout) => Poll::Ready(Err(too_slow())),
            Some(Late::Draining) => {
                let detail = "the host is shutting down, and the body had not come";
                Poll::Ready(Err(Problem::new(Code::Draining, detail)))
            }
        },
    })
    .await
}

fn grow(budget: &Arc<Budget>, room: &mut Option<Reservation>, bytes: usize) -> Result<(), Problem> {
    let grown = match room {
        Some(room) => room.grow(bytes),
        None => {
            *room = budget.reserve(bytes);
            room.is_some()
        }
    };
    if grown { Ok(()) } else { Err(overloaded()) }
}

fn overloaded() -> Problem {
    Problem::new(Code::Overloaded, "the host has as many bytes in flight as it may")
}

fn too_slow() -> Problem {
    Problem::new(Code::Timeout, "the body stopped coming")
}

fn broken(error: hyper::Error) -> Problem {
    tracing::debug!("a body broke off: {error}");
    Problem::new(Code::BadRequest, "the body broke off, or its chunks are malformed")
}

/// Bodies that unpack to no more than this are unpacked on the spot, others away from the runtime's workers:
/// what a packed body grows to is not known before.
const UNPACK_INLINE_BYTES: usize = 64 * 1024;

async fn unpack(
    encoding: Encoding,
    packed: Bytes,
    cap: Cap,
    budget: &Arc<Budget>,
    room: &mut Option<Reservation>,
) -> Result<Bytes, Problem> {
    let (budget, mut mine) = (Arc::clone(budget), room.take());
    let work = move || {
        let outcome = unpack_now(encoding, &packed, cap, &budget, &mut mine);
        (outcome, mine)
    };
    let small = cap.bytes_max <= UNPACK_INLINE_BYTES as u64;
    let (outcome, mine) = if small {
        work()
    } else {
        exec::blocking(work).await.map_err(|_| Problem::new(Code::Internal, "unpacking the body failed"))?
    };
    *room = mine;
    outcome
}

fn unpack_now(
    encoding: Encoding,
    packed: &[u8],
    cap: Cap,
    budget: &Arc<Budget>,
    room: &mut Option<Reservation>,
) -> Result<Bytes, Problem> {
    const STEP: usize = 64 * 1024;
    let bad = |error: std::io::Error| {
        Problem::new(Code::BadRequest, format!("the body is not what its Content-Encoding says: {error}"))
    };
    let mut reader: Box<dyn Read + '_> = match encoding {
        Encoding::Identity => Box::new(packed),
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        Encoding::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(packed).map_err(bad)?),
    };
    let mut out: Vec<u8> = Vec::new();
    loop {
        let before = out.len();
        let step = (&mut reader).take(STEP as u64).read_to_end(&mut out).map_err(bad)?;
        if out.len() as u64 > cap.bytes_max {
            return Err(cap.passed());
        }
        if step == 0 {
            return Ok(out.into());
        }
        grow(budget, room, (out.len() - before).saturating_mul(2))?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(encoding: Encoding, packed: &[u8], bytes_max: u64, budget_max: usize) -> Result<Bytes, Code> {
        let budget = Budget::new(budget_max);
        let cap = Cap { code: Code::RecordTooLarge, bytes_max, of_records: true };
        let outcome = unpack_now(encoding, packed, cap, &budget, &mut None).map_err(|problem| problem.code);
        assert_eq!(budget.used(), 0);
        outcome
    }

    #[test]
    fn both_encodings_give_back_what_was_packed() {
        let value = b"hello ".repeat(50_000);
        assert_eq!(unpacked(Encoding::Gzip, &gzip(&value), 1 << 20, 1 << 30).unwrap(), value);
        let packed = zstd::stream::encode_all(value.as_slice(), 3).unwrap();
        assert_eq!(unpacked(Encoding::Zstd, &packed, 1 << 20, 1 << 30).unwrap(), value);
    }

    #[test]
    fn i25_a_bomb_is_cut_at_the_cap_and_at_the_budget() {
        let bomb = gzip(&vec![0; 16 << 20]);
        assert!(bomb.len() < 64 << 10);
        assert_eq!(unpacked(Encoding::Gzip, &bomb, 1 << 20, 1 << 30).unwrap_err(), Code::RecordTooLarge);
        assert_eq!(unpacked(Encoding::Gzip, &bomb, 1 << 30, 1 << 20).unwrap_err(), Code::Overloaded);
    }

    #[test]
    fn a_limit_is_inclusive_and_torn_bytes_are_refused() {
        let packed = gzip(&[7; 1000]);
        assert!(unpacked(Encoding::Gzip, &packed, 1000, 1 << 30).is_ok());
        assert_eq!(unpacked(Encoding::Gzip, &packed, 999, 1 << 30).unwrap_err(), Code::RecordTooLarge);
        assert_eq!(unpacked(Encoding::Gzip, &packed[..20], 1000, 1 << 30).unwrap_err(), Code::BadRequest);
        assert_eq!(unpacked(Encoding::Zstd, b"no zstd", 1000, 1 << 30).unwrap_err(), Code::BadRequest);
    }
}
