//! The sink port. In: one record, or a batch. Out: a verdict for each, in order.

use crate::{Reason, Record, Verdict};
use serde::de::DeserializeOwned;

/// A plugin that is a target: it hands records to a destination of its own and reports what became
/// of each.
///
/// One value of the type lives as long as its instance: made once from the settings, then asked for
/// every batch. Delivery is at least once: `record.id` is what a destination deduplicates by,
/// `record.sequence` what it orders by.
pub trait Sink: Sized + 'static {
    /// What the namespace configures. `#[serde(deny_unknown_fields)]` turns a typing error into a
    /// refused load; [`crate::NoSettings`] is for a plugin without any.
    type Settings: DeserializeOwned;

    /// Called once in every instance before anything else. An `Err` refuses the load with this text;
    /// no record is touched.
    fn new(settings: Self::Settings) -> Result<Self, String>;

    /// Delivers one record. An `Err` rejects it.
    fn deliver(&self, record: &Record) -> Result<Verdict, Reason>;

    /// Delivers a batch: one verdict for each record, in order; another length is a fault. Override
    /// it where the destination takes many at once, or to send in parallel
    /// ([`crate::http::send_all`]).
    fn deliver_batch(&self, batch: &[Record]) -> Vec<Verdict> {
        batch.iter().map(|record| self.deliver(record).into()).collect()
    }
}

/// Exports a [`Sink`] as the component's world `sink-plugin`. Once in a crate whose `crate-type` has
/// `cdylib`; in a native build it only checks the type.
#[macro_export]
macro_rules! export_sink {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            type Exported = $crate::guest::SinkGuest<$plugin>;
    $crate::guest::base::export!(Exported with_types_in $crate::guest::base);
    $crate::guest::sink::export!(Exported with_types_in $crate::guest::sink);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_a_sink<T: $crate::Sink>() {}
            is_a_sink::<$plugin>()
        };
    };
}
