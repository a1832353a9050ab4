//! Memory, tables and instances of one guest, summed over all its modules.
//!
//! In: every growth that a guest asks for. Out: yes or no; a no is remembered, so that the fault that
//! follows can name the limit instead of saying "unreachable".

use crate::limits;
use wasmtime::ResourceLimiter;

/// The bounds of one store.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: u64,
    memory_bytes: u64,
    /// The bound that was hit in this call, in words.
    refused: Option<String>,
}

impl Limiter {
    pub fn new(memory_bytes_max: u64) -> Limiter {
        Limiter { memory_bytes_max, memory_bytes: 0, refused: None }
    }

    /// Linear memory of all modules together, in bytes. Memory never shrinks.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// The bound that was hit since the last call of this.
    pub fn take_refusal(&mut self) -> Option<String> {
        self.refused.take()
    }

    fn refuse(&mut self, what: impl Into<String>) -> wasmtime::Result<bool> {
        self.refused.get_or_insert_with(|| what.into());
        Ok(false)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        let total = self.memory_bytes.saturating_add(more);
        if total > self.memory_bytes_max {
            let limit = walhost_core::config::Size(self.memory_bytes_max).to_string();
            let (number, unit) = limit.split_at(limit.find(|c: char| c.is_alphabetic()).unwrap_or(limit.len()));
            return self.refuse(format!("memory limit {number} {unit}"));
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if desired > limits::TABLE_ELEMENTS_MAX {
            return self.refuse(format!("table limit {} elements", limits::TABLE_ELEMENTS_MAX));
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        limits::CORE_INSTANCES_MAX as usize
    }
    fn tables(&self) -> usize {
        limits::TABLES_MAX as usize
    }
    fn memories(&self) -> usize {
        limits::MEMORIES_MAX as usize
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn i30_the_limit_is_the_sum_of_all_memories_and_a_refusal_is_remembered() {
        const MIB: usize = 1 << 20;
        let mut limiter = Limiter::new(64 * MIB as u64);
        assert!(limiter.memory_growing(0, 40 * MIB, None).unwrap());
        assert!(limiter.memory_growing(0, 24 * MIB, None).unwrap());
        assert!(limiter.take_refusal().is_none());
        assert!(!limiter.memory_growing(24 * MIB, 24 * MIB + 65_536, None).unwrap());
        assert_eq!(limiter.take_refusal().unwrap(), "memory limit 64 MiB");
        assert_eq!(limiter.memory_bytes(), 64 * MIB as u64);
    }
}
