//! One server of a target: its idle connections, and one exchange within its time.
//!
//! In: commands. Out: an answer for each, or the fault that kept it from coming.

use crate::config::Address;
use crate::connection::Connection;
use crate::limits;
use crate::protocol::{Answer, Answers, Command};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::Clock;
use walhost_net::deadline::within;
use walhost_net::{Allow, Dialer, Fault};

/// A server, reached through the address filter.
pub struct Server {
    /// Where it is.
    pub address: Address,
    dialer: Dialer,
    allow: Allow,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    idle: Mutex<Vec<Connection>>,
}

impl Server {
    /// Connects when it is first asked. `timeout` is for one exchange, connecting included.
    pub fn new(address: Address, dialer: Dialer, allow: Allow, clock: Arc<dyn Clock>, timeout: Duration) -> Server {
        Server { address, dialer, allow, clock, timeout, idle: Mutex::default() }
    }

    /// One answer or fault for each command, in order. Commands whose answers could not be told apart are
    /// sent again, one by one: all of them may be repeated.
    pub async fn run(&self, commands: &[Command]) -> Vec<Result<Answer, Fault>> {
        let (answers, fault) = self.exchange(commands).await;
        let mut outcomes = Vec::with_capacity(answers.len());
        for (place, answer) in answers.into_iter().enumerate() {
            outcomes.push(match (answer, &fault) {
                (Some(answer), _) => Ok(answer),
                (None, Some(fault)) => Err(fault.clone()),
                (None, None) => self.run_alone(&commands[place]).await,
            });
        }
        outcomes
    }

    /// Whether the server answers at all; leaves nothing behind.
    pub async fn check(&self) -> Result<(), Fault> {
        self.exchange(&[]).await.1.map_or(Ok(()), Err)
    }

    async fn run_alone(&self, command: &Command) -> Result<Answer, Fault> {
        let (answers, fault) = self.exchange(std::slice::from_ref(command)).await;
        let none = || fault.unwrap_or_else(|| Fault::Broken(format!("{} did not answer", self.address)));
        answers.into_iter().next().flatten().ok_or_else(none)
    }

    async fn exchange(&self, commands: &[Command]) -> (Vec<Option<Answer>>, Option<Fault>) {
        let started = self.clock.monotonic();
        while let Some(idle) = self.take_idle() {
            let (answers, fault) = self.exchange_on(idle, commands, self.left(started)).await;
            // The server may have closed it in this very moment: then nothing was read, and a fresh one helps.
            match fault {
                Some(Fault::Broken(_)) if answers.is_untouched() => {}
                fault => return (answers.into_inner(), fault),
            }
        }
        match self.dialer.dial(&self.address.host, self.address.port, &self.allow, self.left(started)).await {
            Err(fault) => (vec![None; commands.len()], Some(fault)),
            Ok(stream) => {
                let (answers, fault) = self.exchange_on(Connection::new(stream), commands, self.left(started)).await;
                (answers.into_inner(), fault)
            }
        }
    }

    fn left(&self, started: Duration) -> Duration {
        self.timeout.saturating_sub(self.clock.monotonic().saturating_sub(started))
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        loop {
            let connection = idle.pop()?;
            if connection.is_fresh() {
                return Some(connection);
            }
        }
    }

    async fn exchange_on(
        &self,
        mut connection: Connection,
        commands: &[Command],
        left: Duration,
    ) -> (Answers, Option<Fault>) {
        let mut answers = Answers::new(commands.len());
        let fault = match within(&*self.clock, left, connection.exchange(commands, &mut answers)).await {
            Some(Ok(())) => {
                let mut idle = self.idle.lock();
                if idle.len() < limits::IDLE_MAX {
                    idle.push(connection);
                }
                None
            }
            Some(Err(error)) => Some(self.classify(&error)),
            None => Some(Fault::Timeout(format!("{} did not answer within {:?}", self.address, self.timeout))),
        };
        (answers, fault)
    }

    /// The socket's error after the connection stood.
    fn classify(&self, error: &io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Broken(format!("{} closed the connection", self.address)),
            _ => Fault::Broken(format!("{}: {error}", self.address)),
        }
    }
}

/// Which of the servers keeps a key: rendezvous hashing, so that a server that comes or goes moves its own
/// share of the keys only. Depends on the servers' names, not on their order.
pub fn of_key(servers: &[Server], key: &[u8]) -> usize {
    let key = fnv(key);
    let weight = |server: &Server| {
        walhost_core::random::mix(key ^ walhost_core::random::mix(fnv(server.address.to_string().as_bytes())))
    };
    let heaviest = servers.iter().enumerate().max_by_key(|(_, server)| weight(server));
    heaviest.map_or(0, |(place, _)| place)
}

/// FNV-1a, 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
