//! What the host must remember beside records: namespaces made at run time, versions of slots, pauses,
//! tasks. Durable before anything acts on it (I11, I33).
//!
//! In: changes, one at a time. Out: the state of now, and what the newest undamaged file says after a
//! restart.

pub mod audit;
pub mod state;
pub mod store;

pub use state::{Kept, KeptTarget, Pause, Slot, SlotKind, Source, State, Version};

use parking_lot::RwLock;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use walhost_core::disk::Disk;
use walhost_core::{Error, Kind, Result, exec};

/// The state in memory and on disk.
pub struct Catalogue {
    store: Arc<Store>,
    state: RwLock<Arc<State>>,
    /// One change at a time: the file that is written last is the newest.
    writing: tokio::sync::Mutex<()>,
}

impl Catalogue {
    /// Reads the newest undamaged generation; an empty directory is an empty catalogue.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Catalogue> {
        let (store, state) = Store::open(disk, dir)?;
        Ok(Catalogue {
            store: Arc::new(store),
            state: RwLock::new(Arc::new(state)),
            writing: tokio::sync::Mutex::new(()),
        })
    }

    /// The state of now.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read())
    }

    /// Changes the state durably. When `change` refuses, or the disk does, nothing is changed.
    pub async fn change<T, E: From<Error>>(&self, change: impl FnOnce(&mut State) -> Result<T, E>) -> Result<T, E> {
        let _alone = self.writing.lock().await;
        let mut state = State::clone(&self.state());
        let answer = change(&mut state)?;
        let state = Arc::new(state);
        let (store, written) = (Arc::clone(&self.store), Arc::clone(&state));
        exec::blocking(move || store.write(&written)).await.map_err(|error| {
            Error::new(Kind::Internal, "catalogue.write", "the catalogue could not be written").source(error)
        })??;
        *self.state.write() = state;
        Ok(answer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_core::disk::OsDisk;

    #[tokio::test]
    async fn a_change_survives_and_a_refused_one_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let catalogue = Catalogue::open(Arc::clone(&disk), dir.path()).unwrap();
        catalogue
            .change(|state| {
                state.next_generation();
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
        let refused = catalogue
            .change(|state| {
                state.next_generation();
                Err::<(), _>(Error::new(Kind::Invalid, "test", "no"))
            })
            .await;
        assert!(refused.is_err());
        assert_eq!(catalogue.state().generations, 1);
        let again = Catalogue::open(disk, dir.path()).unwrap();
        assert_eq!(again.state().generations, 1);
    }
}
