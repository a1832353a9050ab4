//! A connection's socket as hyper sees it, with the account that the watchdog reads: who reads nothing,
//! sends half a head, or takes no answer, is cut (I42). One timer a connection, none a request.
//!
//! In: a socket. Out: the same, observed; `Watch::expired` says when it is to be cut.

use futures_util::task::AtomicWaker;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection has done; shared by the socket, the requests and the watchdog.
#[derive(Debug, Default)]
pub struct Activity {
    /// Requests whose head was read.
    started: AtomicU64,
    /// Requests whose answer was made.
    finished: AtomicU64,
    /// Bytes came since the last request began.
    partial: AtomicBool,
    /// Bytes that were read.
    read: AtomicU64,
    /// The request that is being handled waits for its body.
    wants_body: AtomicBool,
    /// Bytes that were written.
    written: AtomicU64,
    /// A write waits for the peer.
    blocked: AtomicBool,
}

impl Activity {
    /// A request's head is complete.
    pub fn request_started(&self) {
        self.partial.store(false, Ordering::Relaxed);
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// Its answer is made.
    pub fn request_finished(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// The request that is being handled waits for its body, or has all of it.
    pub fn wants_body(&self, wants: bool) {
        self.wants_body.store(wants, Ordering::Relaxed);
    }

    /// True while a request is being handled.
    pub fn busy(&self) -> bool {
        self.started.load(Ordering::Relaxed) != self.finished.load(Ordering::Relaxed)
    }
}

/// What the watchdog asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End after the request that is being handled.
    Finish = 1,
    /// End now.
    Cut = 2,
}

/// Why a body is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It stopped coming.
    Timeout = 1,
    /// The host is shutting down.
    Draining = 2,
}

/// The watchdog's hold on a connection: what it has done, and what it is to do.
#[derive(Debug, Default)]
pub struct Control {
    /// What it has done.
    pub activity: Activity,
    command: AtomicU8,
    late: AtomicU8,
    waker: AtomicWaker,
}

impl Control {
    /// Asks, and wakes the connection. What was asked before and is stronger stays.
    pub fn command(&self, command: Command) {
        if self.command.fetch_max(command as u8, Ordering::AcqRel) < command as u8 {
            self.waker.wake();
        }
    }

    /// Tells a request that waits for its body to wait no longer: it answers, and the connection ends. hyper
    /// polls a request within its connection's task, so that one waker wakes both.
    pub fn give_up_body(&self, why: Late) {
        if self.activity.wants_body.load(Ordering::Relaxed) && self.late.swap(why as u8, Ordering::AcqRel) == 0 {
            self.waker.wake();
        }
    }

    /// Whether the body is not waited for any longer.
    pub fn body_late(&self) -> Option<Late> {
        match self.late.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Late::Timeout),
            _ => Some(Late::Draining),
        }
    }

    /// What is asked; `waker` is woken when that changes.
    pub fn commanded(&self, waker: &Waker) -> Option<Command> {
        self.waker.register(waker);
        match self.command.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Command::Finish),
            _ => Some(Command::Cut),
        }
    }
}

/// The socket, observed.
pub struct Observed<S> {
    inner: S,
    control: Arc<Control>,
}

impl<S> Observed<S> {
    /// Observes a socket.
    pub fn new(inner: S, control: Arc<Control>) -> Observed<S> {
        Observed { inner, control }
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(Ok(bytes)) => {
                self.control.activity.written.fetch_add(*bytes as u64, Ordering::Relaxed);
                self.control.activity.blocked.store(false, Ordering::Relaxed);
            }
            Poll::Pending => self.control.activity.blocked.store(true, Ordering::Relaxed),
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(context, buffer);
        let came = buffer.filled().len() - before;
        if came > 0 {
            self.control.activity.partial.store(true, Ordering::Relaxed);
            self.control.activity.read.fetch_add(came as u64, Ordering::Relaxed);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.wrote(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, parts);
        self.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// How long a connection may stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Without a byte of a body coming, or of an answer being taken.
    pub progress: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Head,
    Body,
    Handling,
    Answering,
}

/// Looks at a connection every tick and says when it has stood still for too long.
#[derive(Debug)]
pub struct Watch {
    timeouts: Timeouts,
    phase: Phase,
    started: u64,
    read: u64,
    written: u64,
    still: Duration,
}

/// What the watchdog finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing to do.
    Fine,
    /// The body has stopped coming: the request is to answer.
    BodyLate,
    /// It has stood still for too long: cut it.
    Expired,
}

impl Watch {
    /// Begins with an idle connection.
    pub fn new(timeouts: Timeouts) -> Watch {
        Watch { timeouts, phase: Phase::Head, started: 0, read: 0, written: 0, still: Duration::ZERO }
    }

    /// Called every `tick`.
    pub fn look(&mut self, activity: &Activity, tick: Duration) -> Finding {
        let [started, read, written] =
            [&activity.started, &activity.read, &activity.written].map(|counter| counter.load(Ordering::Relaxed));
        let phase = phase(activity, started);
        let moved = started != self.started
            || (phase == Phase::Answering && written != self.written)
            || (phase == Phase::Body && read != self.read);
        (self.started, self.read, self.written) = (started, read, written);
        if phase != self.phase || moved {
            self.phase = phase;
            self.still = Duration::ZERO;
            return Finding::Fine;
        }
        self.still += tick;
        let (limit, finding) = match phase {
            Phase::Head => (self.timeouts.head, Finding::Expired),
            Phase::Idle => (self.timeouts.idle, Finding::Expired),
            Phase::Answering => (self.timeouts.progress, Finding::Expired),
            Phase::Body => (self.timeouts.progress, Finding::BodyLate),
            // What happens behind the door has limits of its own.
            Phase::Handling => return Finding::Fine,
        };
        if self.still >= limit { finding } else { Finding::Fine }
    }
}

fn phase(activity: &Activity, started: u64) -> Phase {
    let set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
    if activity.busy() {
        if set(&activity.wants_body) { Phase::Body } else { Phase::Handling }
    } else if set(&activity.blocked) {
        Phase::Answering
    } else if set(&activity.partial) || started == 0 {
        // Who connects and says nothing gets no longer than who begins to speak.
        Phase::Head
    } else {
        Phase::Idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(1);

    fn watch() -> Watch {
        let seconds = Duration::from_secs;
        Watch::new(Timeouts { head: seconds(3), idle: seconds(6), progress: seconds(4) })
    }

    fn ticks_until_cut(watch: &mut Watch, activity: &Activity) -> usize {
        (1..100).find(|_| watch.look(activity, TICK) != Finding::Fine).unwrap_or(100)
    }

    #[test]
    fn i42_half_a_head_is_cut_although_bytes_keep_coming() {
        let (mut watch, activity) = (watch(), Activity::default());
        let cut = (1..100).find(|_| {
            activity.partial.store(true, Ordering::Relaxed);
            watch.look(&activity, TICK) == Finding::Expired
        });
        assert_eq!(cut, Some(3));
    }

    #[test]
    fn i42_an_idle_connection_is_cut_and_one_that_works_is_not() {
        let (mut watch, activity) = (watch(), Activity::default());
        activity.request_started();
        assert_eq!(ticks_until_cut(&mut watch, &activity), 100);
        activity.request_finished();
        assert_eq!(ticks_until_cut(&mut watch, &activity), 7);
    }

    #[test]
    fn i42_a_body_that_stops_is_answered_and_one_that_comes_is_not() {
        let (mut watch, activity) = (watch(), Activity::default());
        activity.request_started();
        activity.wants_body(true);
        for _ in 0..50 {
            activity.read.fetch_add(1, Ordering::Relaxed);
            assert_eq!(watch.look(&activity, TICK), Finding::Fine);
        }
        assert_eq!(ticks_until_cut(&mut watch, &activity), 4);
        assert_eq!(watch.look(&activity, TICK), Finding::BodyLate);
    }

    #[test]
    fn i42_who_takes_no_answer_is_cut() {
        let (mut watch, activity) = (watch(), Activity::default());
        activity.request_started();
        activity.request_finished();
        activity.blocked.store(true, Ordering::Relaxed);
        assert_eq!(ticks_until_cut(&mut watch, &activity), 5);
    }
}
