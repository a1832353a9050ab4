//! What an answer means for the record (contract.md, sections 5 and 7).
//!
//! In: status, `Retry-After`, the beginning of the text; or the fault. Out: a verdict.

use crate::limits;
use http::StatusCode;
use http::header::{HeaderMap, RETRY_AFTER};
use std::time::{Duration, UNIX_EPOCH};
use walhost_core::attempt::clean;
use walhost_core::{Blame, Failure, Verdict};
use walhost_net::{Fault, Response};

/// An answer or a fault as a verdict. `secrets` are struck out of what is shown of the answer (I40).
pub fn classify(outcome: Result<Response, Fault>, now_ms: u64, secrets: &[String]) -> Verdict {
    let response = match outcome {
        Ok(response) => response,
        Err(fault) => return Verdict::Retry { failure: fault.failure(), after: None },
    };
    let status = response.status;
    if status.is_success() {
        return Verdict::Delivered;
    }
    let blame = blame(status);
    let failure = Failure::new(&format!("http-{}", status.as_u16()), &text(&response, secrets), blame);
    let after = retry_after(&response.headers, now_ms);
    match status {
        StatusCode::GONE => Verdict::Pause { failure },
        StatusCode::TOO_MANY_REQUESTS => Verdict::Throttle { failure, after },
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Verdict::Retry { failure, after },
        _ if status.is_server_error() => Verdict::Retry { failure, after },
        _ => Verdict::Reject { failure },
    }
}

/// Whose failure a status is.
fn blame(status: StatusCode) -> Blame {
    match status.as_u16() {
        408 | 410 | 425 | 429 | 502 | 503 | 504 => Blame::Target,
        _ => Blame::Record,
    }
}

/// Both forms, a number of seconds and a date; at most `limits::RETRY_AFTER_MAX`. One that cannot be read
/// is as good as none.
fn retry_after(headers: &HeaderMap, now_ms: u64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wanted = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        date.duration_since(UNIX_EPOCH + Duration::from_millis(now_ms)).unwrap_or_default()
    };
    Some(wanted.min(limits::RETRY_AFTER_MAX))
}

fn text(response: &Response, secrets: &[String]) -> String {
    let status = response.status;
    let reason = status.canonical_reason().unwrap_or("an unknown status");
    let mut shown = String::from_utf8_lossy(&response.value).into_owned();
    for secret in secrets {
        shown = shown.replace(secret.as_str(), "***");
    }
    let words: Vec<&str> = shown.split_whitespace().collect();
    match words.join(" ") {
        none if none.is_empty() => format!("{} {reason}", status.as_u16()),
        shown => format!("{} {reason}: {}", status.as_u16(), clean(&shown, limits::EXCERPT_BYTES_MAX)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const NOW_MS: u64 = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT

    fn answer(status: u16, after: Option<&str>, text: &str) -> Verdict {
        let mut headers = HeaderMap::new();
        if let Some(after) = after {
            headers.insert(RETRY_AFTER, after.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let value = Bytes::copy_from_slice(text.as_bytes());
        classify(Ok(Response { status, headers, value, cut: false }), NOW_MS, &["s3cret".into()])
    }

    #[test]
    fn every_status_has_the_verdict_and_the_blame_of_the_contract() {
        for status in 200..=599 {
            let verdict = answer(status, None, "");
            let (kind, blame) = (verdict.kind().as_str(), verdict.failure().map(|failure| failure.blame));
            let expected = match status {
                200..=299 => ("delivered", None),
                429 => ("throttle", Some(Blame::Target)),
                408 | 410 | 425 | 502..=504 => ("retry", Some(Blame::Target)),
                500..=599 => ("retry", Some(Blame::Record)),
                _ => ("reject", Some(Blame::Record)),
            };
            assert_eq!((kind, blame), expected, "{status}");
            assert!(verdict.failure().is_none_or(|failure| failure.code == format!("http-{status}")));
            assert_eq!(matches!(verdict, Verdict::Pause { .. }), status == 410);
        }
    }

    #[test]
    fn retry_after_is_honoured_in_both_forms_and_bounded() {
        let after = |text| match answer(429, Some(text), "") {
            Verdict::Throttle { after, .. } => after.map(|after| after.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(7));
        assert_eq!(after("0"), Some(0));
        assert_eq!(after("99999999999999999999999"), Some(3600));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(after("Sunday, 06-Nov-94 08:50:37 GMT"), Some(60));
        assert_eq!(after("Sun Nov  6 08:50:37 1994"), Some(60));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(after("Thu, 01 Jan 2099 00:00:00 GMT"), Some(3600));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-1"), None);
        assert!(
            matches!(answer(503, Some("9"), ""), Verdict::Retry { after: Some(after), .. } if after.as_secs() == 9)
        );
    }

    #[test]
    fn i40_i44_an_answer_is_shown_short_escaped_and_without_secrets() {
        let verdict = answer(500, None, &format!("\u{1b}[31m you  sent\r\n s3cret {}", "é".repeat(1000)));
        let message = &verdict.failure().unwrap().message;
        assert!(message.starts_with("500 Internal Server Error: \\u{1b}[31m you sent *** é"), "{message}");
        assert!(message.len() < 300 && !message.contains("s3cret"));
    }
}
