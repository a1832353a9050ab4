//! A map that forgets its oldest keys when it is full. Pure.
//!
//! In: keys with values. Out: values, while they are remembered.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// At most so many keys. Forgetting one must always be harmless to whoever uses this.
#[derive(Debug)]
pub struct Bounded<K, V> {
    map: HashMap<K, V>,
    /// In the order of insertion; may name keys that were removed.
    order: VecDeque<K>,
    max: usize,
}

impl<K: Hash + Eq + Clone, V> Bounded<K, V> {
    /// Remembers at most `max` keys.
    pub fn new(max: usize) -> Bounded<K, V> {
        Bounded { map: HashMap::new(), order: VecDeque::new(), max: max.max(1) }
    }

    /// True when nothing is remembered: what the hot path asks first.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// What is remembered of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// Remembers, in the place of what was remembered of this key.
    pub fn insert(&mut self, key: K, value: V) {
        if self.map.insert(key.clone(), value).is_some() {
            return;
        }
        self.order.push_back(key);
        while self.map.len() > self.max {
            let oldest = self.order.pop_front().expect("every key is in the order");
            self.map.remove(&oldest);
        }
        if self.order.len() > 2 * self.max {
            self.order.retain(|key| self.map.contains_key(key));
        }
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.map.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_memory_stays_bounded() {
        let mut bounded = Bounded::new(3);
        for number in 0..1_000 {
            bounded.insert(number, number);
            if number % 2 == 0 {
                bounded.remove(&number);
            }
            assert!(bounded.map.len() <= 3 && bounded.order.len() <= 7);
        }
        assert_eq!(bounded.get(&999), Some(&999));
        assert_eq!(bounded.get(&0), None);
    }
}
