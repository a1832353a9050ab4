//! A frame in words, for `walhost wal inspect` and `dump`.
//!
//! In: kind, count and body of a frame. Out: one line; values are never in it, control characters are escaped.

use crate::frame::again::Instead;
use crate::frame::append::Stored;
use crate::frame::fact::Fact;
use crate::frame::{AGAIN, ALL_TARGETS, APPEND, APPEND_DELAYED, APPEND_WITH, DEAD, FACTS, again, dead};
use bytes::Bytes;
use std::fmt::Write;
use walhost_core::Result;

/// Says what a frame of the embedded queue holds. `count` is that of the frame's head.
pub fn describe(kind: u8, count: u32, body: &Bytes) -> String {
    let said = match kind {
        APPEND | APPEND_WITH | APPEND_DELAYED => append(count, body),
        FACTS => facts(body),
        DEAD => letters(count, body),
        AGAIN => returned(count, body),
        _ => Ok(format!("unknown kind {kind}, {} bytes", body.len())),
    };
    said.unwrap_or_else(|error| format!("kind {kind}, {} bytes that do not mean what they must: {error}", body.len()))
}

fn append(count: u32, body: &Bytes) -> Result<String> {
    let stored = Stored::decode(body, count)?;
    let meta = stored.meta()?;
    let mut said = format!("append of {count} at {} ms in epoch {}", meta.appended_at_ms, meta.epoch);
    if meta.only != ALL_TARGETS {
        let _ = write!(said, ", only target {}", meta.only);
    }
    if let Some(delay) = meta.delay {
        let _ = write!(said, ", due {} ms + at most {} ms", delay.due_ms, delay.jitter_ms);
    }
    if meta.idempotency.is_some() {
        said.push_str(", with an idempotency key");
    }
    Ok(said)
}

fn facts(body: &Bytes) -> Result<String> {
    let said: Vec<String> = Fact::list(body)?.iter().map(|fact| format!("{fact:?}")).collect();
    Ok(format!("{} facts: {}", said.len(), said.join("; ")))
}

fn letters(count: u32, body: &Bytes) -> Result<String> {
    let one = |letter: &dead::Letter| {
        let code = letter.attempts.list().pop().map(|attempt| attempt.code).unwrap_or_default();
        format!("offset {} of target {}, code {code:?}, {} bytes", letter.offset, letter.target, letter.bytes())
    };
    let said: Vec<String> = dead::decode(body, count)?.iter().map(one).collect();
    Ok(format!("{count} dead letters: {}", said.join("; ")))
}

fn returned(count: u32, body: &Bytes) -> Result<String> {
    let again = again::decode(&Stored::decode(body, count)?, count)?;
    let one = |returned: &again::Returned| {
        let before = match returned.instead {
            Instead::Offset(offset) => format!("from offset {offset}"),
            Instead::Letter(letter) => format!("from dead letter {letter}"),
        };
        let due = if returned.due_ms > 0 { format!(", due {} ms", returned.due_ms) } else { String::new() };
        format!("first appended at offset {}, {before}, attempt {}{due}", returned.origin, returned.number)
    };
    let said: Vec<String> = again.records.iter().map(one).collect();
    Ok(format!("{count} records again for target {}, {:?}: {}", again.target, again.class, said.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Writer;

    #[test]
    fn every_kind_is_said_in_one_line_and_nonsense_is_too() {
        let mut writer = Writer::default();
        crate::frame::fact::tests::all().iter().for_each(|fact| fact.put(&mut writer));
        let letters = [dead::tests::letter(4)];
        let records = vec![again::tests::returned(Instead::Letter(7), 4)];
        let redriven = again::Again { target: 1, class: again::Class::Ready, records };
        for (kind, body, word) in [
            (FACTS, writer.finish(), "Subscribed"),
            (DEAD, dead::encode(&letters).concat().into(), "http-400"),
            (AGAIN, again::encode(&redriven, &again::tests::spans(1)).0.concat().into(), "dead letter 7"),
            (APPEND, Bytes::from_static(b"x"), "do not mean"),
            (99, Bytes::new(), "unknown"),
        ] {
            let said = describe(kind, 1, &body);
            assert!(said.contains(word) && !said.contains('\n'), "{said}");
        }
    }
}
