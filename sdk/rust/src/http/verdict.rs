//! Whose failure an HTTP exchange is. In: an answer, or none. Out: the verdict a sink gives.

use super::{Failure, Response};
use crate::{Later, Reason, Verdict};

/// Bytes of an answer's body that are shown in a reason's message.
const BODY_SHOWN_BYTES_MAX: usize = 200;

/// The verdict that walhost's own http target would give.
///
/// - 2xx is delivered.
/// - What says nothing of the record is a throttle, which spends no attempt: never sent, 408, 425,
///   429, 502, 503, 504, and 410, with which the destination says goodbye to everything. So is an
///   origin that is not granted: the operator's mistake must not empty the queue into the dead
///   letters. `Retry-After` is honoured.
/// - What may be the record's is a retry: 500 and other 5xx, a time-out or torn connection after
///   sending, an answer too large.
/// - Every other status is a reject: other 4xx, 3xx (nobody follows redirects), 1xx.
pub fn verdict(answer: &Result<Response, Failure>) -> Verdict {
    let response = match answer {
        Ok(response) => response,
        Err(failure @ (Failure::Denied(_) | Failure::Connect(_))) => {
            return Verdict::Throttle(Later::backoff(failure.reason()));
        }
        Err(failure) => return Verdict::Retry(Later::backoff(failure.reason())),
    };
    let later = || match response.retry_after() {
        Some(wait) => Later::after(wait, reason(response)),
        None => Later::backoff(reason(response)),
    };
    match response.status {
        200..300 => Verdict::Delivered,
        408 | 410 | 425 | 429 | 502 | 503 | 504 => Verdict::Throttle(later()),
        500.. => Verdict::Retry(later()),
        _ => Verdict::Reject(reason(response)),
    }
}

/// `http-400`, and the beginning of what the server said.
fn reason(response: &Response) -> Reason {
    let shown = &response.body[..response.body.len().min(BODY_SHOWN_BYTES_MAX)];
    let text = String::from_utf8_lossy(shown);
    let said = text.trim();
    let message = if said.is_empty() { "the answer is empty".into() } else { said.to_owned() };
    Reason::new(format!("http-{}", response.status), message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn kind(status: u16) -> &'static str {
        match verdict(&Ok(Response::new(status, "said"))) {
            Verdict::Delivered => "delivered",
            Verdict::Retry(_) => "retry",
            Verdict::Throttle(_) => "throttle",
            Verdict::Reject(_) => "reject",
        }
    }

    #[test]
    fn every_status_has_one_verdict() {
        let of = |kind_wanted: &str| (100..600).filter(|status| kind(*status) == kind_wanted).collect::<Vec<u16>>();
        assert_eq!(of("delivered"), (200..300).collect::<Vec<_>>());
        assert_eq!(of("throttle"), [408, 410, 425, 429, 502, 503, 504]);
        assert_eq!(of("retry"), (500..600).filter(|status| ![502, 503, 504].contains(status)).collect::<Vec<_>>());
        assert_eq!(of("reject").len(), 500 - 100 - 7 - 97);
    }

    #[test]
    fn the_reason_names_the_status_and_quotes_the_body() {
        let verdict = verdict(&Ok(Response::new(422, " no such\u{7f} field ")));
        assert_eq!(verdict.reason().unwrap().code(), "http-422");
        assert_eq!(verdict.reason().unwrap().message(), "no such\u{7f} field");
    }

    #[test]
    fn retry_after_is_the_least_wait() {
        let answer = Response::new(503, "").with_header("retry-after", "3");
        let Verdict::Throttle(later) = verdict(&Ok(answer)) else { panic!("503 is the target's") };
        assert_eq!(later.after_ms(), Some(3000));
    }

    #[test]
    fn what_was_never_sent_spends_no_attempt_and_what_may_have_been_does() {
        let throttled = [Failure::Denied("x".into()), Failure::Connect("x".into())];
        let retried = [Failure::Timeout("x".into()), Failure::Broken("x".into()), Failure::TooLarge("x".into())];
        assert!(throttled.into_iter().all(|failure| matches!(verdict(&Err(failure)), Verdict::Throttle(_))));
        assert!(retried.into_iter().all(|failure| matches!(verdict(&Err(failure)), Verdict::Retry(_))));
    }
}
