//! What proves the embedded queue: the model with its crash states, the behaviour suite of all queues, the
//! real thing.
//!
//! In: seeds. Out: a panic that names the seed and the step.

mod append;
mod changes;
mod deliver;
mod faults;
mod flips;
mod generations;
mod images;
mod keys;
mod look;
mod model;
mod moves;
mod nested;
mod order;
mod ran;
mod real;
mod reference;
mod run;
mod space;
mod spaces;
mod suite;
mod survey;
mod time;
mod world;
