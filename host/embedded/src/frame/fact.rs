//! Facts: what became of records, and what a namespace is made of. Many of them share one frame.
//!
//! In: facts. Out: bytes, and back. Every fact says what is, not what changes, so that one that is applied
//! twice does nothing the second time.

use crate::codec::{Reader, Writer, corrupt};
use crate::frame::attempt;
use crate::suspects::Start;
use walhost_core::queue::Done;
use walhost_core::{Attempt, Result};

/// One thing that is true from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A namespace was made. First of its view.
    Made { name: String, incarnation: u32, at_ms: u64 },
    /// The namespace is gone, with everything in it.
    Removed,
    /// A target has a subscription, from an offset on.
    Subscribed { target: u16, name: String, from: u64 },
    /// Its subscription has ended; what was pending is cancelled.
    Unsubscribed { target: u16 },
    /// A record is settled for a target.
    Done { target: u16, offset: u64, outcome: Done, at_ms: u64, attempt: Option<Attempt> },
    /// A record waits for its next attempt. `change` grows with every such fact of the namespace: one that
    /// could not be written at once, and comes later, does not undo a newer one.
    Later { target: u16, offset: u64, due_ms: u64, change: u64, spent: Option<Spent> },
    /// A record waits for another time than it was given.
    Rescheduled { target: u16, offset: u64, due_ms: u64, change: u64 },
    /// A dead letter was removed by an operator.
    Purged { dead: u64 },
    /// A dead letter was removed by its retention.
    Expired { dead: u64 },
    /// The attempt of a suspect begins (I15). `Later`, `Done` or a dead letter ends it.
    Started { target: u16, offset: u64, start: Start },
    /// So often a start of the record had no end when the host stopped uncleanly (I15).
    Crashed { target: u16, offset: u64, crashes: u32 },
}

/// An attempt that was spent, and the budget after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    pub attempt: Attempt,
    /// Attempts spent of the present budget.
    pub spent: u32,
    /// When the first of them was.
    pub first_spent_at_ms: u64,
}

impl Fact {
    /// Writes it.
    pub(crate) fn put(&self, writer: &mut Writer) {
        match self {
            Fact::Made { name, incarnation, at_ms } => {
                writer.u8(1);
                writer.text(name);
                writer.u32(*incarnation);
                writer.u64(*at_ms);
            }
            Fact::Removed => writer.u8(2),
            Fact::Subscribed { target, name, from } => {
                writer.u8(3);
                writer.u32(u32::from(*target));
                writer.text(name);
                writer.u64(*from);
            }
            Fact::Unsubscribed { target } => {
                writer.u8(4);
                writer.u32(u32::from(*target));
            }
            Fact::Done { target, offset, outcome, at_ms, attempt } => {
                writer.u8(match (outcome, attempt) {
                    (Done::Delivered, Some(_)) => 5,
                    (Done::Filtered, Some(_)) => 6,
                    (Done::Cancelled, Some(_)) => 7,
                    (Done::Delivered, None) => 8,
                    (Done::Filtered, None) => 9,
                    (Done::Cancelled, None) => 10,
                });
                writer.u32(u32::from(*target));
                writer.u64(*offset);
                match attempt {
                    Some(attempt) => attempt::put(writer, attempt),
                    None => writer.u64(*at_ms),
                }
            }
            Fact::Later { target, offset, due_ms, change, spent } => {
                writer.u8(if spent.is_some() { 11 } else { 12 });
                writer.u32(u32::from(*target));
                writer.u64(*offset);
                writer.u64(*due_ms);
                writer.u64(*change);
                if let Some(spent) = spent {
                    attempt::put(writer, &spent.attempt);
                    writer.u32(spent.spent);
                    writer.u64(spent.first_spent_at_ms);
                }
            }
            Fact::Rescheduled { target, offset, due_ms, change } => {
                writer.u8(13);
                writer.u32(u32::from(*target));
                writer.u64(*offset);
                writer.u64(*due_ms);
                writer.u64(*change);
            }
            Fact::Purged { dead } => {
                writer.u8(14);
                writer.u64(*dead);
            }
            Fact::Expired { dead } => {
                writer.u8(15);
                writer.u64(*dead);
            }
            Fact::Started { target, offset, start } => {
                writer.u8(20);
                writer.u32(u32::from(*target));
                writer.u64(*offset);
                writer.u32(start.number);
                writer.u64(start.at_ms);
                writer.u32(start.spent);
                writer.option(start.first_spent_at_ms);
            }
            Fact::Crashed { target, offset, crashes } => {
                writer.u8(21);
                writer.u32(u32::from(*target));
                writer.u64(*offset);
                writer.u32(*crashes);
            }
        }
    }

    /// Reads one.
    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Fact> {
        let tag = reader.u8()?;
        Ok(match tag {
            1 => Fact::Made { name: reader.text()?.to_owned(), incarnation: reader.u32()?, at_ms: reader.u64()? },
            2 => Fact::Removed,
            3 => Fact::Subscribed { target: reader.u16()?, name: reader.text()?.to_owned(), from: reader.u64()? },
            4 => Fact::Unsubscribed { target: reader.u16()? },
            5..=10 => {
                let outcome = match tag {
                    5 | 8 => Done::Delivered,
                    6 | 9 => Done::Filtered,
                    _ => Done::Cancelled,
                };
                let (target, offset) = (reader.u16()?, reader.u64()?);
                let attempt = if tag <= 7 { Some(attempt::get(reader)?) } else { None };
                let at_ms = attempt.as_ref().map_or_else(|| reader.u64(), |attempt| Ok(attempt.at_ms))?;
                Fact::Done { target, offset, outcome, at_ms, attempt }
            }
            11 | 12 => {
                let (target, offset, due_ms, change) = (reader.u16()?, reader.u64()?, reader.u64()?, reader.u64()?);
                let spent = if tag == 11 {
                    Some(Spent {
                        attempt: attempt::get(reader)?,
                        spent: reader.u32()?,
                        first_spent_at_ms: reader.u64()?,
                    })
                } else {
                    None
                };
                Fact::Later { target, offset, due_ms, change, spent }
            }
            13 => {
                let (target, offset, due_ms, change) = (reader.u16()?, reader.u64()?, reader.u64()?, reader.u64()?);
                Fact::Rescheduled { target, offset, due_ms, change }
            }
            14 => Fact::Purged { dead: reader.u64()? },
            15 => Fact::Expired { dead: reader.u64()? },
            20 => Fact::Started {
                target: reader.u16()?,
                offset: reader.u64()?,
                start: Start {
                    number: reader.u32()?,
                    at_ms: reader.u64()?,
                    spent: reader.u32()?,
                    first_spent_at_ms: reader.option()?,
                },
            },
            21 => Fact::Crashed { target: reader.u16()?, offset: reader.u64()?, crashes: reader.u32()? },
            _ => return Err(corrupt("kind of a fact")),
        })
    }

    /// All facts of a frame's body.
    pub(crate) fn list(body: &[u8]) -> Result<Vec<Fact>> {
        let mut reader = Reader::new(body);
        let mut facts = Vec::new();
        while !reader.is_empty() {
            facts.push(Fact::get(&mut reader)?);
        }
        Ok(facts)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use walhost_core::{Digest, VerdictKind};

    pub(crate) fn all() -> Vec<Fact> {
        let attempt = Attempt {
            number: 3,
            at_ms: 77,
            verdict: VerdictKind::Retry,
            code: "http-500".into(),
            message: "down".into(),
            digest: Some(Digest([4; 32])),
        };
        let mut facts = vec![
            Fact::Made { name: "catalog".into(), incarnation: u32::MAX, at_ms: 1 },
            Fact::Removed,
            Fact::Subscribed { target: 3, name: "cache".into(), from: 1 << 40 },
            Fact::Unsubscribed { target: 3 },
            Fact::Later { target: 1, offset: 9, due_ms: 99, change: 1, spent: None },
            Fact::Later {
                target: 1,
                offset: 9,
                due_ms: 99,
                change: 2,
                spent: Some(Spent { attempt: attempt.clone(), spent: 2, first_spent_at_ms: 5 }),
            },
            Fact::Rescheduled { target: 1, offset: 9, due_ms: 100, change: 3 },
            Fact::Purged { dead: 6 },
            Fact::Expired { dead: 7 },
            Fact::Started {
                target: 1,
                offset: 9,
                start: Start { number: 2, at_ms: 77, spent: 1, first_spent_at_ms: Some(70) },
            },
            Fact::Crashed { target: 1, offset: 9, crashes: 2 },
        ];
        for outcome in [Done::Delivered, Done::Filtered, Done::Cancelled] {
            facts.push(Fact::Done { target: 0, offset: 8, outcome, at_ms: 77, attempt: Some(attempt.clone()) });
            facts.push(Fact::Done { target: 0, offset: 8, outcome, at_ms: 12, attempt: None });
        }
        facts
    }

    #[test]
    fn every_fact_reads_back_and_torn_ones_are_errors() {
        let mut writer = Writer::default();
        all().iter().for_each(|fact| fact.put(&mut writer));
        assert_eq!(Fact::list(&writer.0).unwrap(), all());
        for fact in all() {
            let mut writer = Writer::default();
            fact.put(&mut writer);
            for length in 1..writer.0.len() {
                assert!(Fact::list(&writer.0[..length]).is_err(), "{fact:?} {length}");
            }
        }
        assert!(Fact::list(&[99]).is_err());
    }
}
