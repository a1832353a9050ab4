//! The whole host without HTTP, simulated: the embedded queue on a simulated disk, delivery's workers, targets
//! with moods, one clock, one thread, one seed. There is nothing here but tests; a crate of its own, so that
//! neither wasmtime nor a socket is built for it.
//!
//! In: a seed. Out: counters, or the first promise that was broken.
#![allow(clippy::unwrap_used)]

#[cfg(test)]
mod days;
#[cfg(test)]
mod life;
#[cfg(test)]
mod host;
#[cfg(test)]
mod lane;
#[cfg(test)]
mod target;
#[cfg(test)]
mod books;
