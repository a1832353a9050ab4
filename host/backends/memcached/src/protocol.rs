//! The meta commands of memcached 1.6 and their answers, as bytes.
//!
//! In: commands. Out: bytes to send; and from the lines that come back, which command each one answers.
//!
//! Why not a client library: the crate `memcache` (0.21) resolves and dials by itself, past the address
//! filter; a batch in which the server refuses one value is an error of the whole batch, its other answers
//! are lost; time-outs go by the runtime's clock; and every value is copied twice. What is needed here is
//! three commands and seven answers.
//!
//! Every command carries a number that its answer repeats (`O7`). Errors come without it, and a refused
//! command line makes the server read the value as another command and answer that one too: by the numbers
//! around them it is known whose the errors are, or that it cannot be known.

use bytes::{BufMut, Bytes, BytesMut};
use std::io::Write;
use walhost_core::attempt::clean;
use walhost_core::limits::MESSAGE_BYTES_MAX;

/// What is done with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stores.
    Store {
        /// Checked: 1 to 250 bytes without spaces and control characters.
        key: Vec<u8>,
        /// What is stored.
        value: Bytes,
        /// As memcached reads it: 0 for ever, to 30 days in seconds, above that a time of day.
        ttl: u32,
        /// A number kept with the value.
        flags: u32,
        /// Only where nothing is.
        add: bool,
    },
    /// Deletes.
    Delete {
        /// Checked, as above.
        key: Vec<u8>,
    },
}

impl Command {
    /// Which key it is about.
    pub fn key(&self) -> &[u8] {
        match self {
            Command::Store { key, .. } | Command::Delete { key } => key,
        }
    }

    /// Writes the command line, its end included.
    pub fn put_line(&self, number: usize, buffer: &mut BytesMut) {
        let mut writer = buffer.writer();
        let written = match self {
            Command::Store { key, value, ttl, flags, add } => {
                let mode = if *add { " ME" } else { "" };
                writer.get_mut().put_slice(b"ms ");
                writer.get_mut().put_slice(key);
                write!(writer, " {} T{ttl} F{flags}{mode} O{number}\r\n", value.len())
            }
            Command::Delete { key } => {
                writer.get_mut().put_slice(b"md ");
                writer.get_mut().put_slice(key);
                write!(writer, " O{number}\r\n")
            }
        };
        written.expect("a buffer in memory takes every byte");
    }
}

/// Ends a batch: its answer is the last one.
pub const BARRIER: &[u8] = b"mn\r\n";

/// What the server says of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `HD`
    Done,
    /// `NF`
    NotFound,
    /// `NS`
    NotStored,
    /// `SERVER_ERROR` and its words.
    ServerError(String),
    /// `CLIENT_ERROR` and its words.
    ClientError(String),
    /// `ERROR`: the command is not known.
    Unknown,
}

/// One line that the server has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The answer to the command of this number.
    Numbered(usize, Answer),
    /// An error: the server does not say of which command.
    Odd(Answer),
    /// The barrier's answer.
    End,
}

/// Reads one line, its end left out; `None` when it is none of the protocol's.
pub fn parse_line(line: &[u8]) -> Option<Line> {
    if line == b"MN" {
        return Some(Line::End);
    }
    if line == b"ERROR" {
        return Some(Line::Odd(Answer::Unknown));
    }
    let words = |prefix: &[u8]| {
        let rest = line.strip_prefix(prefix)?;
        Some(clean(String::from_utf8_lossy(rest).trim(), MESSAGE_BYTES_MAX))
    };
    if let Some(text) = words(b"SERVER_ERROR") {
        return Some(Line::Odd(Answer::ServerError(text)));
    }
    if let Some(text) = words(b"CLIENT_ERROR") {
        return Some(Line::Odd(Answer::ClientError(text)));
    }
    let mut tokens = line.split(|byte| *byte == b' ');
    let answer = match tokens.next()? {
        b"HD" => Answer::Done,
        b"NF" => Answer::NotFound,
        b"NS" => Answer::NotStored,
        _ => return None,
    };
    let number = tokens.find_map(|token| token.strip_prefix(b"O"))?;
    Some(Line::Numbered(std::str::from_utf8(number).ok()?.parse().ok()?, answer))
}

/// Which command each line answers.
#[derive(Debug)]
pub struct Answers {
    answers: Vec<Option<Answer>>,
    next: usize,
    odd: Vec<Answer>,
    odd_count: usize,
    ended: bool,
}

impl Answers {
    /// Of a batch of so many commands.
    pub fn new(count: usize) -> Answers {
        Answers { answers: vec![None; count], next: 0, odd: Vec::new(), odd_count: 0, ended: false }
    }

    /// Takes one line. False when it cannot be an answer to this batch: the connection is of no more use.
    pub fn take(&mut self, line: Line) -> bool {
        let upto = match line {
            Line::Odd(answer) => {
                self.odd.push(answer);
                self.odd_count += 1;
                return self.odd_count <= self.answers.len() * crate::limits::ODD_LINES_PER_RECORD_MAX;
            }
            Line::Numbered(number, answer) if number >= self.next && number < self.answers.len() => {
                self.answers[number] = Some(answer);
                number
            }
            Line::Numbered(..) => return false,
            Line::End => {
                self.ended = true;
                self.answers.len()
            }
        };
        // The errors since the last number are of the commands between: told apart when there is one
        // command, or one error for each, or only one kind of error.
        let between = self.next..upto;
        let odd = std::mem::take(&mut self.odd);
        self.next = upto + 1;
        match odd.as_slice() {
            [] => between.is_empty() || self.ended,
            [first, ..] if between.len() == 1 => {
                self.answers[between.start] = Some(first.clone());
                true
            }
            all if all.len() == between.len() => {
                let cascade = all.iter().any(|answer| matches!(answer, Answer::ClientError(_) | Answer::Unknown));
                if !cascade || all.iter().all(|answer| *answer == Answer::Unknown) {
                    between.zip(odd).for_each(|(place, answer)| self.answers[place] = Some(answer));
                }
                true
            }
            _ => true,
        }
    }

    /// True when the barrier was answered.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// True when nothing at all was answered.
    pub fn is_untouched(&self) -> bool {
        !self.ended && self.odd_count == 0 && self.answers.iter().all(Option::is_none)
    }

    /// One answer for each command; none where there is none, or where it could not be told whose an error
    /// is.
    pub fn into_inner(self) -> Vec<Option<Answer>> {
        self.answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(count: usize, lines: &[&str]) -> (bool, Vec<Option<Answer>>) {
        let mut answers = Answers::new(count);
        let sound = lines.iter().all(|line| parse_line(line.as_bytes()).is_some_and(|line| answers.take(line)));
        (sound && answers.ended(), answers.into_inner())
    }

    const LARGE: &str = "SERVER_ERROR object too large for cache";

    fn large() -> Option<Answer> {
        Some(Answer::ServerError("object too large for cache".into()))
    }

    #[test]
    fn errors_are_told_apart_by_the_numbers_around_them() {
        let done = Some(Answer::Done);
        assert_eq!(read(2, &["HD O0", "NF O1", "MN"]), (true, vec![done.clone(), Some(Answer::NotFound)]));
        assert_eq!(read(3, &["HD O0", LARGE, "HD O2", "MN"]), (true, vec![done.clone(), large(), done.clone()]));
        assert_eq!(read(2, &[LARGE, LARGE, "MN"]), (true, vec![large(), large()]));
        let refused = Some(Answer::ClientError("bad key".into()));
        let cascade = ["CLIENT_ERROR bad key", "ERROR", "HD O1", "MN"];
        assert_eq!(read(2, &cascade), (true, vec![refused, done.clone()]), "the value was read as a command");
        let unclear = ["CLIENT_ERROR bad key", "ERROR", LARGE, "HD O2", "MN"];
        assert_eq!(read(3, &unclear), (true, vec![None, None, done]), "nobody can say whose they are");
        let unclear = ["CLIENT_ERROR bad key", "ERROR", "MN"];
        assert_eq!(read(2, &unclear), (true, vec![None, None]));
    }

    #[test]
    fn what_cannot_be_an_answer_ends_the_connection() {
        for lines in [
            &["HD"][..],
            &["HD O2"],
            &["HD O1", "HD O0"],
            &["HD O1"],
            &["VA 3 O0"],
            &["HTTP/1.1 400"],
            &["HD Ox"],
            &[""],
        ] {
            assert!(!read(2, lines).0, "{lines:?}");
        }
        assert!(!read(1, &["ERROR"; 6]).0);
    }

    #[test]
    fn commands_are_written_as_memcached_reads_them() {
        let mut buffer = BytesMut::new();
        let value = Bytes::from_static(b"v");
        Command::Store { key: b"k".to_vec(), value, ttl: 60, flags: 3, add: true }.put_line(4, &mut buffer);
        Command::Delete { key: b"d".to_vec() }.put_line(5, &mut buffer);
        assert_eq!(&buffer[..], b"ms k 1 T60 F3 ME O4\r\nmd d O5\r\n");
    }
}
