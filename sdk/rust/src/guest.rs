//! The Wasm side of the SDK, for the export macros only. In: calls of the host. Out: the author's
//! answers, translated into the WIT's types.

use crate::limits::PANIC_TEXT_BYTES_MAX;
use crate::{Outcome, Output, Record, Sink, Transform, Verdict, log};
use std::cell::OnceCell;
use std::marker::PhantomData;
use std::panic::PanicHookInfo;

/// Types that cross the boundary as they are: the fields of the WIT's records are theirs, so nothing
/// is copied or moved on the way in.
mod wire {
    pub use crate::answer::{Later, Reason};
    pub use crate::record::{Header, Record};
}

/// Bindings of what both worlds have: the imports, and the export `lifecycle`.
///
/// The WIT's two worlds are bound in three parts, since a macro for `lifecycle` may exist only once
/// in a crate. A component has the type sections of two of them, which add up to one of the worlds;
/// imports that it does not call are left out when it is encoded.
#[doc(hidden)]
#[allow(unsafe_code, missing_docs)]
pub mod base {
    wit_bindgen::generate!({
        path: "wit/0.1.0",
        inline: "
            package walhost:sdk;
            world base {
                import walhost:plugin/context@0.1.0;
                import walhost:plugin/log@0.1.0;
                import walhost:plugin/config@0.1.0;
                import walhost:plugin/http@0.1.0;
                export walhost:plugin/lifecycle@0.1.0;
            }
        ",
        pub_export_macro: true,
        generate_all,
    });
}

/// Bindings of the export `transform`.
#[doc(hidden)]
#[allow(unsafe_code, missing_docs)]
pub mod transform {
    wit_bindgen::generate!({
        path: "wit/0.1.0",
        inline: "
            package walhost:sdk;
            world transform {
                export walhost:plugin/transform@0.1.0;
            }
        ",
        pub_export_macro: true,
        with: { "walhost:plugin/types@0.1.0": crate::guest::wire, "walhost:plugin/transform@0.1.0": generate },
    });
}

/// Bindings of the export `sink`.
#[doc(hidden)]
#[allow(unsafe_code, missing_docs)]
pub mod sink {
    wit_bindgen::generate!({
        path: "wit/0.1.0",
        inline: "
            package walhost:sdk;
            world sink {
                export walhost:plugin/sink@0.1.0;
            }
        ",
        pub_export_macro: true,
        with: { "walhost:plugin/types@0.1.0": crate::guest::wire, "walhost:plugin/sink@0.1.0": generate },
    });
}

/// What an instance does with a batch, made by `init`.
type Work<A> = Box<dyn Fn(&[Record]) -> Vec<A>>;

thread_local! {
    /// The one transform of this instance.
    static TRANSFORM: OnceCell<Work<Outcome>> = const { OnceCell::new() };
    /// The one sink of this instance.
    static SINK: OnceCell<Work<Verdict>> = const { OnceCell::new() };
}

/// Exports the author's transform.
pub struct TransformGuest<T>(PhantomData<T>);

impl<T: Transform> base::exports::walhost::plugin::lifecycle::Guest for TransformGuest<T> {
    fn init() -> Result<(), String> {
        std::panic::set_hook(Box::new(report_panic));
        let plugin = T::new(crate::context::settings()?)?;
        TRANSFORM.with(|cell| cell.set(Box::new(move |batch| plugin.apply_batch(batch)))).map_err(|_| twice())
    }
}

impl<T: Transform> transform::exports::walhost::plugin::transform::Guest for TransformGuest<T> {
    fn apply(batch: Vec<Record>) -> Vec<transform::exports::walhost::plugin::transform::Outcome> {
        TRANSFORM.with(|cell| {
            let work = cell.get().expect("the host calls init before anything else");
            work(&batch).into_iter().map(translate_outcome).collect()
        })
    }
}

/// Exports the author's sink.
pub struct SinkGuest<T>(PhantomData<T>);

impl<T: Sink> base::exports::walhost::plugin::lifecycle::Guest for SinkGuest<T> {
    fn init() -> Result<(), String> {
        std::panic::set_hook(Box::new(report_panic));
        let plugin = T::new(crate::context::settings()?)?;
        SINK.with(|cell| cell.set(Box::new(move |batch| plugin.deliver_batch(batch)))).map_err(|_| twice())
    }
}

impl<T: Sink> sink::exports::walhost::plugin::sink::Guest for SinkGuest<T> {
    fn deliver(batch: Vec<Record>) -> Vec<sink::exports::walhost::plugin::sink::Verdict> {
        SINK.with(|cell| {
            let work = cell.get().expect("the host calls init before anything else");
            work(&batch).into_iter().map(translate_verdict).collect()
        })
    }
}

fn twice() -> String {
    "init was called twice".into()
}

/// Sends a panic's message and place to the log, before the trap that takes the instance.
fn report_panic(panic: &PanicHookInfo) {
    let said = panic.payload_as_str().unwrap_or("a panic without a text");
    let mut end = said.len().min(PANIC_TEXT_BYTES_MAX);
    while !said.is_char_boundary(end) {
        end -= 1;
    }
    let text = format!("panic: {}", &said[..end]);
    match panic.location() {
        Some(place) => log::error(&text, &[("at", place)]),
        None => log::error(&text, &[]),
    }
}

fn translate_outcome(outcome: Outcome) -> transform::exports::walhost::plugin::transform::Outcome {
    use transform::exports::walhost::plugin::transform as wit;
    let output = |Output { key, headers, value }| wit::Output { key, headers, value };
    match outcome {
        Outcome::Pass => wit::Outcome::Pass,
        Outcome::Emit(outputs) => wit::Outcome::Emit(outputs.into_iter().map(output).collect()),
        Outcome::Filter => wit::Outcome::Filter,
        Outcome::Retry(later) => wit::Outcome::Retry(later),
        Outcome::Reject(reason) => wit::Outcome::Reject(reason),
    }
}

fn translate_verdict(verdict: Verdict) -> sink::exports::walhost::plugin::sink::Verdict {
    use sink::exports::walhost::plugin::sink as wit;
    match verdict {
        Verdict::Delivered => wit::Verdict::Delivered,
        Verdict::Retry(later) => wit::Verdict::Retry(later),
        Verdict::Throttle(later) => wit::Verdict::Throttle(later),
        Verdict::Reject(reason) => wit::Verdict::Reject(reason),
    }
}
