//! As much of HTTP as the generator needs: where a head ends, a status, a length.
//!
//! In: bytes of a connection. Out: one answer or request at a time.

use crate::value::find;

/// Largest head, in bytes: a host's answers have a few hundred.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// One message's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status of an answer; 0 of a request.
    pub status: u16,
    /// Bytes of the head with its empty line.
    pub head_bytes: usize,
    /// Bytes of what follows.
    pub body_bytes: usize,
    /// Whether the other side closes afterwards.
    pub closes: bool,
}

impl Head {
    /// Bytes of all.
    pub fn bytes(&self) -> usize {
        self.head_bytes + self.body_bytes
    }
}

/// Reads a head from the beginning of some bytes; none when it is not complete. What cannot be read is an
/// error.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX { Err("a head without an end") } else { Ok(None) };
    };
    let text = &bytes[..end];
    let status = match text.strip_prefix(b"HTTP/1.1 ".as_slice()) {
        Some(rest) => rest.get(..3).and_then(number).ok_or("no status")?,
        None => 0,
    };
    let mut head =
        Head { status: u16::try_from(status).unwrap_or(0), head_bytes: end + 4, body_bytes: 0, closes: false };
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            head.body_bytes = number(value).ok_or("a bad length")?;
        } else if name.eq_ignore_ascii_case(b"connection") {
            head.closes = value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err("a chunked body");
        }
    }
    Ok(Some(head))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Where the digits of the length begin in a head that was read whole.
pub fn length_place(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\r\ncontent-length:";
    let mut from = 0;
    while let Some(place) = find(&head[from..], b"\r\n") {
        let line = &head[from + place..];
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            let spaces = line[NAME.len()..].iter().take_while(|byte| **byte == b' ').count();
            return Some(from + place + NAME.len() + spaces);
        }
        from += place + 2;
    }
    None
}

/// The number that stands there, up to the end of its line, when a header's name stands before it.
pub fn length_at(head: &[u8], place: usize) -> Option<usize> {
    const NAME_END: &[u8] = b"ength:";
    let before = head.get(..place)?.trim_ascii_end();
    if !before.ends_with(NAME_END) {
        return None;
    }
    let digits = head.get(place..)?;
    let end = digits.iter().position(|byte| *byte == b'\r')?;
    number(&digits[..end])
}

/// The `code` of a problem, or the status when it has none.
pub fn code(status: u16, body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let code = problem.as_ref().and_then(|problem| problem.get("code")?.as_str());
    code.map_or_else(|| format!("http-{status}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nconnection: close\r\n\r\nhello";
        assert_eq!(head(&answer[..20]), Ok(None));
        let read = head(answer).ok().flatten();
        assert_eq!(read, Some(Head { status: 202, head_bytes: 63, body_bytes: 5, closes: true }));
        assert_eq!(
            head(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n").ok().flatten().map(|head| (head.status, head.body_bytes)),
            Some((0, 0))
        );
        assert!(head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
        assert!(head(&[b'a'; HEAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn errors_are_told_apart_by_their_code() {
        assert_eq!(code(503, b"{\"code\":\"disk-full\"}"), "disk-full");
        assert_eq!(code(502, b"<html>"), "http-502");
    }
}
