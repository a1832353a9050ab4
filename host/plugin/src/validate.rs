//! What a guest gave back, checked before anybody uses it (I37).
//!
//! In: raw outcomes and verdicts of one batch. Out: the host's own values, or what is wrong with them: the
//! whole call is a fault then, since nothing a confused guest says of the other records can be trusted.

use crate::api::{RawOutcome, RawOutput, RawReason, RawVerdict};
use crate::fault::{Broken, COUNT, OUTPUT};
use crate::limits;
use http::{HeaderName, HeaderValue};
use std::time::Duration;
use walhost_core::config::Size;
use walhost_core::limits::{
    CODE_BYTES_MAX, HEADER_NAME_BYTES_MAX, HEADER_VALUE_BYTES_MAX, HEADERS_MAX, KEY_BYTES_MAX, OUTPUTS_MAX,
    RECORD_BYTES_HARD_MAX,
};
use walhost_core::record::{TRACEPARENT, TRACESTATE};
use walhost_core::transform::Output;
use walhost_core::{Blame, Failure, Headers, Outcome, Record, Verdict};

/// One outcome for each record, within `output_bytes_max`.
pub(crate) fn outcomes(
    raw: Vec<RawOutcome>,
    records: &[Record],
    output_bytes_max: u64,
) -> Result<Vec<Outcome>, Broken> {
    counted(raw.len(), records.len(), "outcomes")?;
    let mut room = Bytes { left: output_bytes_max, max: output_bytes_max };
    raw.into_iter().zip(records).map(|(raw, record)| outcome(raw, record, &mut room)).collect()
}

/// One verdict for each record, within `output_bytes_max`.
pub(crate) fn verdicts(
    raw: Vec<RawVerdict>,
    records: &[Record],
    output_bytes_max: u64,
) -> Result<Vec<Verdict>, Broken> {
    counted(raw.len(), records.len(), "verdicts")?;
    let mut room = Bytes { left: output_bytes_max, max: output_bytes_max };
    raw.into_iter()
        .map(|raw| {
            Ok(match raw {
                RawVerdict::Delivered => Verdict::Delivered,
                RawVerdict::Retry(why, after) => Verdict::Retry {
                    failure: failure(&why, "plugin-retry", Blame::Record, &mut room)?,
                    after: wait(after),
                },
                RawVerdict::Throttle(why, after) => Verdict::Throttle {
                    failure: failure(&why, "plugin-throttle", Blame::Target, &mut room)?,
                    after: wait(after),
                },
                RawVerdict::Reject(why) => {
                    Verdict::Reject { failure: failure(&why, "plugin-reject", Blame::Record, &mut room)? }
                }
            })
        })
        .collect()
}

fn counted(found: usize, expected: usize, what: &str) -> Result<(), Broken> {
    if found == expected {
        return Ok(());
    }
    Err(Broken::new(COUNT, format!("{found} {what} for {expected} records: one for each, in order, is the contract")))
}

fn outcome(raw: RawOutcome, record: &Record, room: &mut Bytes) -> Result<Outcome, Broken> {
    Ok(match raw {
        RawOutcome::Pass => Outcome::Pass,
        // Nothing in its place is a record that is done.
        RawOutcome::Emit(outputs) if outputs.is_empty() => Outcome::Filter,
        RawOutcome::Emit(outputs) if outputs.len() > OUTPUTS_MAX => {
            return Err(wrong(
                record,
                format!("{} outputs of one record: at most {OUTPUTS_MAX} are possible", outputs.len()),
            ));
        }
        RawOutcome::Emit(outputs) => {
            Outcome::Emit(outputs.into_iter().map(|raw| output(raw, record, room)).collect::<Result<_, _>>()?)
        }
        RawOutcome::Filter => Outcome::Filter,
        RawOutcome::Retry(why, after) => {
            Outcome::Retry(failure(&why, "plugin-retry", Blame::Record, room)?, wait(after))
        }
        RawOutcome::Reject(why) => Outcome::Reject(failure(&why, "plugin-reject", Blame::Record, room)?),
    })
}

fn output(raw: RawOutput, record: &Record, room: &mut Bytes) -> Result<Output, Broken> {
    let key = raw.key.filter(|key| !key.is_empty());
    if let Some(key) = &key
        && key.len() > KEY_BYTES_MAX
    {
        return Err(wrong(record, format!("a key of {} bytes: at most {KEY_BYTES_MAX} are possible", key.len())));
    }
    if raw.value.len() > RECORD_BYTES_HARD_MAX {
        return Err(wrong(
            record,
            format!("a value of {} bytes: at most {RECORD_BYTES_HARD_MAX} are possible", raw.value.len()),
        ));
    }
    if raw.headers.len() > HEADERS_MAX {
        return Err(wrong(record, format!("{} headers: at most {HEADERS_MAX} are possible", raw.headers.len())));
    }
    let mut headers = Vec::with_capacity(raw.headers.len());
    for (name, value) in &raw.headers {
        headers.push((header(name, value, record).map_err(|what| wrong(record, what))?, value.as_slice()));
        room.take(name.len() + value.len())?;
    }
    room.take(key.as_ref().map_or(0, Vec::len) + raw.value.len())?;
    let headers = Headers::encode(headers.iter().map(|(name, value)| (name.as_str(), *value)));
    Ok(Output { key: key.map(Into::into), headers, value: raw.value.into() })
}

/// Checks one header of an output. What the record itself carries may be carried on unchanged, also where
/// the name is the host's.
fn header(name: &str, value: &[u8], record: &Record) -> Result<HeaderName, String> {
    let shown = || walhost_core::attempt::clean(name, 64);
    if name.len() > HEADER_NAME_BYTES_MAX || value.len() > HEADER_VALUE_BYTES_MAX {
        return Err(format!("the header `{}` is too long", shown()));
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{}` is no header name", shown()))?;
    HeaderValue::from_bytes(value)
        .map_err(|_| format!("the header `{}` has bytes that no header can carry", shown()))?;
    if hosts(&name) && !record.headers.iter().any(|(own, bytes)| own == name.as_str() && bytes == value) {
        return Err(format!("the header `{}` is the host's to set", shown()));
    }
    Ok(name)
}

/// Names that the host sets itself (contract.md, section 7).
fn hosts(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("webhook-")
        || text.starts_with("wal-")
        || text == TRACEPARENT
        || text == TRACESTATE
        || walhost_net::client::is_framing(name)
}

fn failure(why: &RawReason, otherwise: &str, blame: Blame, room: &mut Bytes) -> Result<Failure, Broken> {
    room.take(why.code.len() + why.message.len())?;
    Ok(Failure::new(&kebab(&why.code, otherwise), &why.message, blame))
}

/// Any text as a code: lower case, digits and single dashes, at most `CODE_BYTES_MAX` bytes.
fn kebab(code: &str, otherwise: &str) -> String {
    let mut out = String::with_capacity(code.len().min(CODE_BYTES_MAX));
    for character in code.chars() {
        if out.len() == CODE_BYTES_MAX {
            break;
        }
        if character.is_ascii_alphanumeric() {
            out.push(character.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() { otherwise.to_owned() } else { out.to_owned() }
}

fn wait(after_ms: Option<u64>) -> Option<Duration> {
    after_ms.map(|ms| Duration::from_millis(ms.min(limits::AFTER_MS_MAX)))
}

fn wrong(record: &Record, what: String) -> Broken {
    Broken::new(OUTPUT, format!("record {}: {what}", record.id))
}

struct Bytes {
    left: u64,
    max: u64,
}

impl Bytes {
    fn take(&mut self, bytes: usize) -> Result<(), Broken> {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Broken::new(OUTPUT, format!("more than {} from one call: the limit `output`", Size(self.max)))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
