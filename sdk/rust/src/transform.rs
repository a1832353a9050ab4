//! The transform port. In: one record, or a batch. Out: an outcome for each, in order.

use crate::{Outcome, Reason, Record};
use serde::de::DeserializeOwned;

/// A plugin that decides what is delivered of a record: it, others in its place, nothing, or not yet.
///
/// One value of the type lives as long as its instance: made once from the settings, then asked for
/// every record. Instances come and go and several run at once, so nothing kept in one may be needed
/// for the next record to come out right.
pub trait Transform: Sized + 'static {
    /// What the namespace configures. `#[serde(deny_unknown_fields)]` turns a typing error into a
    /// refused load; [`crate::NoSettings`] is for a plugin without any.
    type Settings: DeserializeOwned;

    /// Called once in every instance before anything else. An `Err` refuses the load with this text;
    /// no record is touched.
    fn new(settings: Self::Settings) -> Result<Self, String>;

    /// Decides for one record. An `Err` rejects it.
    fn apply(&self, record: &Record) -> Result<Outcome, Reason>;

    /// Decides for a batch: one outcome for each record, in order; another length is a fault.
    /// Override it where work can be shared.
    fn apply_batch(&self, batch: &[Record]) -> Vec<Outcome> {
        batch.iter().map(|record| self.apply(record).into()).collect()
    }
}

/// Exports a [`Transform`] as the component's world `transform-plugin`. Once in a crate whose
/// `crate-type` has `cdylib`; in a native build it only checks the type.
#[macro_export]
macro_rules! export_transform {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            type Exported = $crate::guest::TransformGuest<$plugin>;
    $crate::guest::base::export!(Exported with_types_in $crate::guest::base);
    $crate::guest::transform::export!(Exported with_types_in $crate::guest::transform);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_a_transform<T: $crate::Transform>() {}
            is_a_transform::<$plugin>()
        };
    };
}
