//! One target: spreads a batch over its servers and gathers the verdicts.
//!
//! In: records. Out: verdicts in order. Records of one key are sent in order, over one connection.

use crate::config::{Address, Config, Operation};
use crate::protocol::Command;
use crate::server::{Server, of_key};
use crate::template::Template;
use crate::verdict::{classify, unanswered};
use crate::{limits, pointer};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use std::sync::Arc;
use walhost_core::attempt::Fault as PluginFault;
use walhost_core::backend::TargetContext;
use walhost_core::{Blame, Clock, Error, Failure, Kind, Record, Result, Target, Verdict};
use walhost_net::{Allow, Dialer, Fault};

/// A `memcached` target, ready to send.
pub struct MemcachedTarget {
    servers: Vec<Server>,
    template: Template,
    value: Option<String>,
    operation: Operation,
    ttl_s: u64,
    flags: u32,
    clock: Arc<dyn Clock>,
}

impl MemcachedTarget {
    /// Reads the servers and the template. The error is a sentence. Connects to nobody.
    pub fn new(context: &TargetContext, config: &Config, dialer: &Dialer, allow: &Allow) -> Result<Self, String> {
        let server = |text: &String| {
            let address = Address::parse(text).map_err(|error| format!("servers: {error}"))?;
            Ok(Server::new(address, dialer.clone(), allow.clone(), context.clock.clone(), config.timeout.std()))
        };
        Ok(MemcachedTarget {
            servers: config.servers.iter().map(server).collect::<Result<_, String>>()?,
            template: Template::parse(&config.key).map_err(|error| format!("key: {error}"))?,
            value: config.value.clone(),
            operation: config.operation,
            ttl_s: config.ttl.map_or(0, |ttl| ttl.ms() / 1_000),
            flags: config.flags,
            clock: context.clock.clone(),
        })
    }

    fn command(&self, record: &Record) -> Result<Command, Failure> {
        let key = self.template.render(record)?;
        if self.operation == Operation::Delete || record.is_tombstone() {
            return Ok(Command::Delete { key });
        }
        let value = match &self.value {
            None => record.value.clone(),
            Some(at) => pointer::find(&record.value, at)
                .and_then(pointer::as_value)
                .map(|found| Bytes::copy_from_slice(&found))
                .ok_or_else(|| {
                    let text = format!("the value is not JSON, or has nothing at {at}");
                    Failure::new("value-missing", &text, Blame::Record)
                })?,
        };
        let add = self.operation == Operation::Add;
        Ok(Command::Store { key, value, ttl: self.ttl(), flags: self.flags, add })
    }

    /// As memcached reads it: more than 30 days is a time of day.
    fn ttl(&self) -> u32 {
        let now = if self.ttl_s > limits::RELATIVE_TTL_S_MAX { self.clock.now_ms() / 1_000 } else { 0 };
        u32::try_from(now + self.ttl_s).unwrap_or(u32::MAX)
    }
}

#[async_trait]
impl Target for MemcachedTarget {
    async fn deliver(&self, records: &[Record]) -> Result<Vec<Verdict>, PluginFault> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; records.len()];
        let mut batches: Vec<(Vec<usize>, Vec<Command>)> = self.servers.iter().map(|_| Default::default()).collect();
        for (place, record) in records.iter().enumerate() {
            match self.command(record) {
                Ok(command) => {
                    let (places, commands) = &mut batches[of_key(&self.servers, command.key())];
                    places.push(place);
                    commands.push(command);
                }
                Err(failure) => verdicts[place] = Some(Verdict::Reject { failure }),
            }
        }
        let sending = self.servers.iter().zip(&batches).filter(|(_, (places, _))| !places.is_empty());
        let answered = join_all(
            sending.map(|(server, (places, commands))| async move { (places, commands, server.run(commands).await) }),
        );
        for (places, commands, outcomes) in answered.await {
            for ((place, command), outcome) in places.iter().zip(commands).zip(outcomes) {
                let deletes = matches!(command, Command::Delete { .. });
                verdicts[*place] = Some(match outcome {
                    Ok(answer) => classify(&answer, deletes),
                    Err(fault) => unanswered(&fault),
                });
            }
        }
        Ok(verdicts.into_iter().map(|verdict| verdict.expect("rejected here, or sent to one server")).collect())
    }

    /// Asks every server for a sign of life (`mn`), which leaves nothing there.
    async fn check(&self) -> Result<String> {
        let asked = join_all(self.servers.iter().map(|server| async move { (server, server.check().await) })).await;
        let faults: Vec<(String, Fault)> = asked
            .iter()
            .filter_map(|(server, outcome)| {
                outcome.as_ref().err().map(|fault| (server.address.to_string(), fault.clone()))
            })
            .collect();
        let names: Vec<String> = self.servers.iter().map(|server| server.address.to_string()).collect();
        if faults.is_empty() {
            return Ok(format!("memcached answers at {}", names.join(", ")));
        }
        let denied = faults.iter().all(|(_, fault)| matches!(fault, Fault::Denied(_)));
        let kind = if denied { Kind::Denied } else { Kind::Unavailable };
        let told: Vec<String> = faults.iter().map(|(name, fault)| format!("{name}: {fault}")).collect();
        let detail = format!("{}; check `servers`, and that memcached is up there", told.join("; "));
        Err(Error::new(kind, "memcached.check", detail))
    }
}
