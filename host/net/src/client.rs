//! The pooled HTTP client: one exchange at a time per connection, bounded in time and size.
//!
//! In: a request, what may be dialled, the time for the whole exchange, the largest answer. Out: the
//! answer, or a `Fault` that says how far it got. Redirects are answers like any other.

use crate::allow::Allow;
use crate::connect::Connector;
use crate::deadline::within;
use crate::dial::Dialer;
use crate::fault::Fault;
use crate::limits;
use crate::resolve::{Resolver, SystemResolver};
use crate::tls::TlsSettings;
use crate::url::Url;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service;
use walhost_core::Clock;

/// How connections are made and kept.
#[derive(Clone, Debug)]
pub struct ClientPolicy {
    /// For resolving, TCP and TLS together. Default: 10 s.
    pub connect_timeout: Duration,
    /// An idle connection is closed after this. Default: 30 s, below what most servers keep one.
    pub idle_timeout: Duration,
    /// Idle connections kept for one origin. Default: 64.
    pub idle_per_origin_max: usize,
    /// Whom to trust, and who we are.
    pub tls: TlsSettings,
}

impl Default for ClientPolicy {
    fn default() -> Self {
        ClientPolicy {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            idle_per_origin_max: 64,
            tls: TlsSettings::default(),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Any but `CONNECT`.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// None of HTTP's own framing ([`is_framing`]): those are the client's.
    pub headers: HeaderMap,
    /// The body.
    pub value: Bytes,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// As it came; a redirect is not followed.
    pub status: StatusCode,
    /// As they came.
    pub headers: HeaderMap,
    /// The body; its first bytes when it was cut.
    pub value: Bytes,
    /// True when there was more: only after [`Client::send_cut`].
    pub cut: bool,
}

/// What happens to an answer that is too large.
#[derive(Clone, Copy, PartialEq)]
enum TooMuch {
    Refuse,
    Cut,
}

/// Names that HTTP itself uses to frame and route an exchange; a caller may not set them.
pub fn is_framing(name: &HeaderName) -> bool {
    const FRAMING: [HeaderName; 8] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::EXPECT,
    ];
    FRAMING.contains(name) || name.as_str().starts_with("proxy-") || name.as_str() == "keep-alive"
}

type Pool = legacy::Client<Connector, Full<Bytes>>;

/// The client. Cheap to clone; clones share their pools.
///
/// Connections are pooled by what may be dialled ([`Allow`]) and by origin: one that was made under a wide
/// grant is never used under a narrower one.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    dialer: Dialer,
    clock: Arc<dyn Clock>,
    tls: Arc<rustls::ClientConfig>,
    policy: ClientPolicy,
    pools: Mutex<Pools>,
}

#[derive(Default)]
struct Pools {
    turn: u64,
    by_allow: HashMap<Allow, (Pool, u64)>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("policy", &self.0.policy).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the TLS files; the error is a sentence that names the file. Resolves with the machine's own
    /// resolver.
    pub fn new(policy: ClientPolicy, clock: Arc<dyn Clock>) -> Result<Client, String> {
        Client::with_resolver(policy, clock, Arc::new(SystemResolver::default()))
    }

    /// The same, with another resolver.
    pub fn with_resolver(
        policy: ClientPolicy,
        clock: Arc<dyn Clock>,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Client, String> {
        let tls = policy.tls.client_config()?;
        let dialer = Dialer::new(resolver, clock.clone());
        Ok(Client(Arc::new(Shared { dialer, clock, tls, policy, pools: Mutex::default() })))
    }

    /// One exchange, within `timeout` from now to the last byte of the answer. An answer whose body is
    /// larger than `response_bytes_max` is the fault `TooLarge`.
    pub async fn send(
        &self,
        request: Request,
        allow: &Allow,
        timeout: Duration,
        response_bytes_max: usize,
    ) -> Result<Response, Fault> {
        self.exchange(request, allow, timeout, response_bytes_max, TooMuch::Refuse).await
    }

    /// The same for callers who need the status and the beginning of the text: a larger body is cut at
    /// `response_bytes_max` and its connection closed.
    pub async fn send_cut(
        &self,
        request: Request,
        allow: &Allow,
        timeout: Duration,
        response_bytes_max: usize,
    ) -> Result<Response, Fault> {
        self.exchange(request, allow, timeout, response_bytes_max, TooMuch::Cut).await
    }

    /// Connects (TCP, and TLS for `https`), sends nothing and closes.
    pub async fn connect(&self, url: &Url, allow: &Allow) -> Result<(), Fault> {
        self.connector(allow).call(url.uri().clone()).await.map(drop)
    }

    async fn exchange(
        &self,
        request: Request,
        allow: &Allow,
        timeout: Duration,
        bytes_max: usize,
        too_much: TooMuch,
    ) -> Result<Response, Fault> {
        let authority = request.url.origin().to_string();
        let mut request = prepare(request).map_err(Fault::cleaned)?;
        let captured = capture_connection(&mut request);
        let pool = self.pool(allow);
        let exchanging = async {
            let response = pool.request(request).await.map_err(|error| classify(&authority, error))?;
            let (head, body) = response.into_parts();
            let (value, cut) = collect(&authority, body, bytes_max, too_much).await?;
            Ok(Response { status: head.status, headers: head.headers, value, cut })
        };
        let fault = match within(&*self.0.clock, timeout, exchanging).await {
            Some(Ok(response)) => return Ok(response),
            Some(Err(fault)) => fault,
            None if captured.connection_metadata().is_some() => {
                Fault::Timeout(format!("no whole answer from {authority} within {timeout:?}"))
            }
            None => Fault::ConnectTimeout(format!("no connection to {authority} within {timeout:?}")),
        };
        Err(fault.cleaned())
    }

    fn connector(&self, allow: &Allow) -> Connector {
        let shared = &*self.0;
        let timeout = shared.policy.connect_timeout;
        Connector::new(shared.dialer.clone(), allow.clone(), shared.tls.clone(), shared.clock.clone(), timeout)
    }

    fn pool(&self, allow: &Allow) -> Pool {
        let mut pools = self.0.pools.lock();
        pools.turn += 1;
        let turn = pools.turn;
        if let Some((pool, used)) = pools.by_allow.get_mut(allow) {
            *used = turn;
            return pool.clone();
        }
        if pools.by_allow.len() >= limits::POOLS_MAX
            && let Some(oldest) = pools.by_allow.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone())
        {
            pools.by_allow.remove(&oldest);
        }
        let pool: Pool = legacy::Client::builder(Tasks)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .pool_idle_timeout(self.0.policy.idle_timeout)
            .pool_max_idle_per_host(self.0.policy.idle_per_origin_max)
            .http1_max_buf_size(limits::HEAD_BYTES_MAX)
            .http1_max_headers(limits::ANSWER_HEADERS_MAX)
            .build(self.connector(allow));
        pools.by_allow.insert(allow.clone(), (pool.clone(), turn));
        pool
    }
}

/// Starts the HTTP library's tasks where all tasks are started.
#[derive(Clone)]
struct Tasks;

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        walhost_core::exec::task(future);
    }
}

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("walhost/", env!("CARGO_PKG_VERSION")));

fn prepare(request: Request) -> Result<http::Request<Full<Bytes>>, Fault> {
    if request.method == Method::CONNECT {
        return Err(Fault::Denied("the method CONNECT is not for callers".into()));
    }
    if let Some(name) = request.headers.keys().find(|name| is_framing(name)) {
        return Err(Fault::Denied(format!("the header {name} belongs to HTTP's own framing")));
    }
    let mut made = http::Request::new(Full::new(request.value));
    *made.method_mut() = request.method;
    *made.uri_mut() = request.url.uri().clone();
    *made.headers_mut() = request.headers;
    made.headers_mut().entry(header::USER_AGENT).or_insert(USER_AGENT);
    Ok(made)
}

async fn collect(
    authority: &str,
    mut body: Incoming,
    bytes_max: usize,
    too_much: TooMuch,
) -> Result<(Bytes, bool), Fault> {
    let too_large = || Fault::TooLarge(format!("the answer of {authority} is larger than {bytes_max} bytes"));
    if too_much == TooMuch::Refuse && body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let mut value = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(authority, &error))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = bytes_max - value.len();
        if data.len() > room {
            if too_much == TooMuch::Refuse {
                return Err(too_large());
            }
            value.extend_from_slice(&data[..room]);
            return Ok((value.freeze(), true));
        }
        if value.is_empty() && body.is_end_stream() {
            return Ok((data, false));
        }
        value.extend_from_slice(&data);
    }
    Ok((value.freeze(), false))
}

/// Every cause of an error, the outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        let error: &'a (dyn StdError + 'static) = *error;
        // An io::Error hides the error that it wraps behind get_ref, and shows only that one's source.
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

/// The HTTP library's error of a request that has no answer.
fn classify(authority: &str, error: legacy::Error) -> Fault {
    let of_connect = causes(&error).find_map(|cause| cause.downcast_ref::<Fault>());
    if let Some(fault) = of_connect {
        return fault.clone();
    }
    let never_sent =
        causes(&error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_canceled);
    if error.is_connect() || never_sent {
        return Fault::Connect(format!("{authority} closed the connection before the request was sent"));
    }
    broken(authority, &error)
}

/// An error after sending.
fn broken(authority: &str, error: &(dyn StdError + 'static)) -> Fault {
    for cause in causes(error) {
        // With TLS 1.3 a server refuses our certificate only after the handshake, before it reads anything.
        if let Some(rustls::Error::AlertReceived(alert)) = cause.downcast_ref::<rustls::Error>() {
            return Fault::Tls(format!("{authority} refused: {alert:?}"));
        }
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            return Fault::TooLarge(format!("the head of {authority}'s answer is too large"));
        }
    }
    let innermost = causes(error).last().map(ToString::to_string).unwrap_or_default();
    Fault::Broken(format!("the exchange with {authority} broke after sending: {innermost}"))
}

#[cfg(test)]
mod tests;
