//! Names to addresses.
//!
//! In: a host name. Out: its addresses, all of them, in the resolver's order. Whether they may be dialled
//! is for `Allow` to say.

use crate::limits;
use async_trait::async_trait;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Resolves names. The order of the answer is the order in which addresses are dialled.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// All addresses of a name; an empty answer is no address.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's own resolver, on threads that may block; at most `limits::RESOLVES_MAX` at once, so that
/// a dead name server cannot take them all.
#[derive(Debug)]
pub struct SystemResolver {
    room: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        SystemResolver { room: Arc::new(Semaphore::new(limits::RESOLVES_MAX)) }
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let room = self.room.clone().acquire_owned().await.map_err(io::Error::other)?;
        let name = name.to_owned();
        let resolving = walhost_core::exec::blocking(move || {
            // The room is given back when the thread is free again, not when the caller stops waiting.
            let _room = room;
            let mut addresses = Vec::new();
            for address in (name.as_str(), 0_u16).to_socket_addrs()?.take(limits::ADDRESSES_MAX) {
                if !addresses.contains(&address.ip()) {
                    addresses.push(address.ip());
                }
            }
            Ok(addresses)
        });
        resolving.await.map_err(io::Error::other)?
    }
}
