//! Our own accept loop: a cap on connections, no delay on small packets, a watchdog for each one, and a
//! drain that leaves no request without an answer (I26, I42).
//!
//! In: a bound listener and a service. Out: nothing; it returns when all connections have ended.

use super::connection::{Command, Control, Finding, Late, Observed, Timeouts, Watch};
use super::error::{Code, Problem};
use crate::drain::Drain;
use crate::limits::{CONNECTION_TICK, READ_BUFFER_BYTES_MAX};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use walhost_core::{Clock, exec};

/// What answers the requests of one listener.
pub trait Service: Send + Sync + 'static {
    /// Body of its answers.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;
    /// Answers one request of a connection.
    fn call(&self, request: Request<Incoming>, control: &Control) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// How a listener treats its connections.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Connections at once; more are answered 503 and closed.
    pub connections_max: usize,
    /// When one is cut.
    pub timeouts: Timeouts,
}

/// Accepts until the drain begins, then waits until every connection has ended or the drain's time is up.
pub async fn serve<S: Service>(
    listener: TcpListener,
    service: Arc<S>,
    policy: Policy,
    drain: Drain,
    clock: Arc<dyn Clock>,
) {
    let room = Arc::new(Semaphore::new(policy.connections_max));
    let open = tokio_util::task::TaskTracker::new();
    let watched = Arc::new(Watched::default());
    let watchdog = exec::task(watch(Arc::clone(&watched), drain.clone(), Arc::clone(&clock)));
    let admit = |stream: TcpStream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY could not be set: {error}");
        }
        match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => {
                let control = Arc::new(Control::default());
                watched.lock().push((Arc::downgrade(&control), Watch::new(policy.timeouts)));
                exec::task(open.track_future(connection(stream, Arc::clone(&service), control, drain.clone(), permit)));
            }
            Err(_) => refuse(&stream),
        }
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.begun() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => admit(stream),
            Err(error) => {
                // Out of descriptors, or the peer has gone: a moment later there may be some again.
                tracing::warn!("a connection could not be accepted: {error}");
                clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Those whom the kernel has accepted for us have a right to an answer too.
    while let Some(Ok((stream, _peer))) = futures_util::FutureExt::now_or_never(listener.accept()) {
        admit(stream);
    }
    drop(listener);
    open.close();
    open.wait().await;
    watchdog.abort();
}

/// How long accepting rests after an error, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The live connections of one listener with what the watchdog remembers of each.
type Watched = Mutex<Vec<(Weak<Control>, Watch)>>;

/// Looks at every connection once a tick, so that no connection and no request has a timer of its own.
async fn watch(watched: Arc<Watched>, drain: Drain, clock: Arc<dyn Clock>) {
    loop {
        tokio::select! {
            biased;
            () = drain.begun() => break,
            () = clock.sleep(CONNECTION_TICK) => each(&watched, |control, watch| {
                match watch.look(&control.activity, CONNECTION_TICK) {
                    Finding::Fine => {}
                    Finding::BodyLate => control.give_up_body(Late::Timeout),
                    Finding::Expired => control.command(Command::Cut),
                }
            }),
        }
    }
    // Requests that are on their way get their 503; a moment later idle connections end, and those that come
    // after.
    loop {
        tokio::select! {
            biased;
            () = drain.over() => break,
            () = clock.sleep(drain.linger()) => each(&watched, |control, _| {
                control.command(Command::Finish);
                if drain.is_late() {
                    control.give_up_body(Late::Draining);
                }
            }),
        }
    }
    loop {
        each(&watched, |control, _| control.command(Command::Cut));
        clock.sleep(drain.linger()).await;
    }
}

fn each(watched: &Watched, mut look: impl FnMut(&Control, &mut Watch)) {
    watched.lock().retain_mut(|(control, watch)| match control.upgrade() {
        Some(control) => {
            look(&control, watch);
            true
        }
        None => false,
    });
}

/// Answers 503 without reading anything: one write, and the connection ends.
fn refuse(stream: &TcpStream) {
    let problem = Problem::new(Code::Overloaded, "there are as many connections as this listener may have");
    let (head, body) = problem.answer("-").into_parts();
    let body = http_body_util::BodyExt::collect(body);
    let body = futures_util::FutureExt::now_or_never(body)
        .and_then(Result::ok)
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let mut answer =
        format!("HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\n", head.status, body.len()).into_bytes();
    for (name, value) in &head.headers {
        answer.extend_from_slice(name.as_str().as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(&body);
    if let Err(error) = stream.try_write(&answer) {
        tracing::debug!("a refused connection took no answer: {error}");
    }
}

async fn connection<S: Service>(
    stream: TcpStream,
    service: Arc<S>,
    control: Arc<Control>,
    drain: Drain,
    _permit: OwnedSemaphorePermit,
) {
    let io = TokioIo::new(Observed::new(stream, Arc::clone(&control)));
    // One counter to be counted up and down a request, not one for each of them.
    let shared = Arc::new((service, Arc::clone(&control), drain));
    let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        shared.1.activity.request_started();
        async move {
            let (service, control, drain) = &*shared;
            let mut answer = service.call(request, control).await;
            control.activity.request_finished();
            if drain.has_begun() {
                answer.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The watchdog has the timeouts: hyper's own cost a timer a request, and its header timeout would end
    // idle connections too.
    // Answers are short: one buffer and one plain write.
    builder.header_read_timeout(None).max_buf_size(READ_BUFFER_BYTES_MAX).keep_alive(true).writev(false);
    let mut connection = std::pin::pin!(builder.serve_connection(io, answer));
    let mut finishing = false;
    let outcome = std::future::poll_fn(|context| {
        match control.commanded(context.waker()) {
            Some(Command::Cut) => return std::task::Poll::Ready(Ok(())),
            Some(Command::Finish) if !finishing => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ => {}
        }
        connection.as_mut().poll(context)
    })
    .await;
    if let Err(error) = outcome {
        tracing::debug!("a connection ended: {error}");
    }
}
