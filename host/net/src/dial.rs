//! From a host and a port to a connected socket whose address was checked.
//!
//! In: host, port, what may be dialled. Out: a TCP stream without Nagle's delay, or the fault. The address
//! that was checked is the address that is dialled: nothing is resolved twice (I41).

use crate::allow::Allow;
use crate::deadline::within;
use crate::fault::Fault;
use crate::resolve::Resolver;
use crate::url::Host;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use walhost_core::Clock;

/// Opens connections. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    resolver: Arc<dyn Resolver>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    /// Resolves with `resolver`, waits by `clock`.
    pub fn new(resolver: Arc<dyn Resolver>, clock: Arc<dyn Clock>) -> Dialer {
        Dialer { resolver, clock }
    }

    /// Connects within `timeout`, resolving included. A name's addresses are checked one by one; those that
    /// may not be dialled are left out, and when none is left the whole call is denied. The others are
    /// tried in order, each with its share of the time that is left.
    pub async fn dial(&self, host: &Host, port: u16, allow: &Allow, timeout: Duration) -> Result<TcpStream, Fault> {
        let started = self.clock.monotonic();
        let addresses = self.addresses(host, allow, timeout).await.map_err(Fault::cleaned)?;
        let mut last = None;
        for (place, ip) in addresses.iter().enumerate() {
            let left = timeout.saturating_sub(self.clock.monotonic().saturating_sub(started));
            let share = left / u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
            match self.dial_one(SocketAddr::new(*ip, port), share).await {
                Ok(stream) => return Ok(stream),
                Err(fault) => last = Some(fault),
            }
        }
        Err(last.unwrap_or_else(|| Fault::Dns(format!("{host} has no address"))).cleaned())
    }

    /// The addresses of a host that may be dialled: at least one.
    async fn addresses(&self, host: &Host, allow: &Allow, timeout: Duration) -> Result<Vec<IpAddr>, Fault> {
        let name = match host {
            Host::Ip(ip) => {
                allow.check(*ip).map_err(Fault::Denied)?;
                return Ok(vec![*ip]);
            }
            Host::Name(name) => name,
        };
        let resolved = match within(&*self.clock, timeout, self.resolver.resolve(name)).await {
            None => return Err(Fault::Dns(format!("no answer for the name {name} within {timeout:?}"))),
            Some(Err(error)) => return Err(Fault::Dns(format!("the name {name} could not be resolved: {error}"))),
            Some(Ok(resolved)) if resolved.is_empty() => return Err(Fault::Dns(format!("{name} has no address"))),
            Some(Ok(resolved)) => resolved,
        };
        let mut refused = None;
        let mut addresses = Vec::new();
        for ip in resolved {
            match allow.check(ip) {
                Ok(()) => addresses.push(ip),
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        match refused {
            Some(reason) if addresses.is_empty() => Err(Fault::Denied(format!("{name}: {reason}"))),
            _ => Ok(addresses),
        }
    }

    async fn dial_one(&self, address: SocketAddr, timeout: Duration) -> Result<TcpStream, Fault> {
        let connecting = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match within(&*self.clock, timeout, connecting).await {
            None => Err(Fault::ConnectTimeout(format!("no connection to {address} within {timeout:?}"))),
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) => Err(classify(address, &error)),
        }
    }
}

/// The kernel's error of a connect.
fn classify(address: SocketAddr, error: &io::Error) -> Fault {
    let text = format!("{address}: {error}");
    match error.kind() {
        io::ErrorKind::TimedOut => Fault::ConnectTimeout(text),
        _ => Fault::Connect(text),
    }
}

#[cfg(test)]
mod tests;
