//! What an answer of memcached means for the record (contract.md, sections 5 and 7).
//!
//! In: one answer, or the fault of the connection. Out: a verdict.

use crate::protocol::Answer;
use walhost_core::{Blame, Failure, Verdict};
use walhost_net::Fault;

/// One answer as a verdict. `deletes`: the command was a delete.
pub fn classify(answer: &Answer, deletes: bool) -> Verdict {
    let retry =
        |code: &str, text: &str, blame| Verdict::Retry { failure: Failure::new(code, text, blame), after: None };
    match answer {
        Answer::Done => Verdict::Delivered,
        Answer::NotFound if deletes => Verdict::Delivered,
        // Only `add` is answered so: something is there, which a first try of this record may have left.
        Answer::NotStored if !deletes => Verdict::Delivered,
        Answer::NotFound | Answer::NotStored => retry("broken", "an answer to another command", Blame::Record),
        Answer::ServerError(text) if text.contains("too large") => {
            Verdict::Reject { failure: Failure::new("too-large", text, Blame::Record) }
        }
        Answer::ServerError(text) => retry("server-error", &format!("the server says: {text}"), Blame::Target),
        Answer::ClientError(text) if text.contains("unauthenticated") => {
            retry("unauthenticated", &format!("the server says: {text}"), Blame::Target)
        }
        Answer::ClientError(text) => Verdict::Reject {
            failure: Failure::new("client-error", &format!("the server says: {text}"), Blame::Record),
        },
        Answer::Unknown => {
            retry("unsupported", "the server does not know the meta commands: memcached 1.6 is needed", Blame::Target)
        }
    }
}

/// What became of a record whose answer never came.
pub fn unanswered(fault: &Fault) -> Verdict {
    Verdict::Retry { failure: fault.failure(), after: None }
}
