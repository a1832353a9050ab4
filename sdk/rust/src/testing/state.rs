//! What the test host of a thread holds. In: changes by the test, calls by the plugin. Out: the same.

use super::Line;
use crate::http::{Failure, Request, Response};
use crate::log::Level;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Answers a request for which nothing is scripted.
pub(crate) type Responder = Rc<dyn Fn(&Request) -> Result<Response, Failure>>;

/// Everything a plugin can ask a host, and everything it told it.
pub(crate) struct State {
    pub(crate) namespace: String,
    pub(crate) target: String,
    pub(crate) settings: String,
    pub(crate) secrets: HashMap<String, Vec<u8>>,
    pub(crate) time_left_ms: u64,
    pub(crate) level: Level,
    pub(crate) scripted: VecDeque<Result<Response, Failure>>,
    pub(crate) responder: Option<Responder>,
    pub(crate) requests: Vec<Request>,
    pub(crate) parallel: Vec<u32>,
    pub(crate) lines: Vec<Line>,
    /// Which `Host` value this belongs to: one replaced before it is dropped clears nothing.
    generation: u64,
}

impl State {
    fn new(generation: u64) -> Self {
        Self {
            namespace: "demo".into(),
            target: "test".into(),
            settings: "{}".into(),
            secrets: HashMap::new(),
            time_left_ms: 1_000,
            level: Level::Debug,
            scripted: VecDeque::new(),
            responder: None,
            requests: Vec::new(),
            parallel: Vec::new(),
            lines: Vec::new(),
            generation,
        }
    }

    /// Starts anew and says as which generation.
    pub(crate) fn renew(&mut self) -> u64 {
        *self = Self::new(self.generation + 1);
        self.generation
    }

    /// Starts anew, unless another generation has begun since.
    pub(crate) fn clear(&mut self, generation: u64) {
        if generation == self.generation {
            self.renew();
        }
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::new(0));
}

/// Looks at this thread's state. Not for calling author code: it may look as well.
pub(crate) fn with<T>(look: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(look)
}
