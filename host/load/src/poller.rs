//! epoll, as much as the generator needs of it.
//!
//! In: sockets with a number each. Out: the numbers of those that can be read or written again.

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;

/// Events taken at once.
const EVENTS_MAX: usize = 256;

/// Watches sockets, edge by edge: whoever is told must read or write until the socket has no more.
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// One that watches nothing so far.
    pub fn new() -> io::Result<Poller> {
        Ok(Poller { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Watches a socket under a number until it is closed.
    pub fn watch(&self, socket: impl AsFd, number: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(number), flags)?)
    }

    /// Waits at most so long and appends the numbers of those that something happened to.
    pub fn wait(&self, at_most_us: u64, ready: &mut Vec<u64>) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: i64::try_from(at_most_us / 1_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(at_most_us % 1_000_000 * 1_000).unwrap_or(0),
        };
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS_MAX];
        match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok((events, _)) => ready.extend(events.iter().map(|event| event.data.u64())),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
