//! What records of one target run through: an optional transform and the destination.
//!
//! In: loaded plugins and opened targets. Out: `Pipeline`, immutable, swapped whole between two batches.

use std::fmt;
use std::sync::Arc;
use walhost_core::{Digest, Target, Transform};

/// What the records of one (namespace, target) run through. A batch never sees two of them.
pub struct Pipeline {
    /// Grows with every swap of this target; shown with every report.
    pub generation: u64,
    /// Runs first, when there is one.
    pub transform: Option<Arc<dyn Transform>>,
    /// Where the records go; none: an idle slot, the records are held and none is leased.
    pub target: Option<Arc<dyn Target>>,
}

impl Pipeline {
    /// The plugin of an attempt that no plugin has failed: the transform's, else the sink's.
    pub fn digest(&self) -> Option<Digest> {
        let transform = self.transform.as_ref().and_then(|transform| transform.digest());
        transform.or_else(|| self.target.as_ref().and_then(|target| target.digest()))
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pipeline")
            .field("generation", &self.generation)
            .field("transform", &self.transform.is_some())
            .field("target", &self.target.is_some())
            .finish()
    }
}
