//! Makes segments ready before they are needed: zero-fills fresh files, gives released ones a new salt.
//!
//! In: released files, free space. Out: ready segments.

use crate::observe::Observer;
use std::marker::PhantomData;

/// The preparing thread's own state. Exactly one a log.
pub struct Preparer<O: Observer>(PhantomData<fn(O)>);

impl<O: Observer> Preparer<O> {
    /// Makes at most one segment ready, or removes one file too many; true when it did something.
    pub fn step(&mut self) -> bool {
        unimplemented!()
    }
}
