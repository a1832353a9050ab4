//! Which namespaces are here, and where the others are. Immutable: a change swaps in another one.
//!
//! In: running namespaces, the shards' addresses. Out: a namespace by name, or the problem that says why not.

use super::Running;
use crate::config::model::Token;
use crate::http::error::{Code, Problem};
use crate::http::ingest::gate::Gate;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use walhost_core::NamespaceName;

/// All namespaces that this host knows of.
#[derive(Clone, Default)]
pub struct Directory {
    here: HashMap<NamespaceName, Arc<Running>>,
    elsewhere: BTreeMap<NamespaceName, String>,
    /// Who may append; none: anybody.
    pub ingest_tokens: Option<Vec<Token>>,
    /// Who may look and change; none: anybody.
    pub admin_tokens: Option<Vec<Token>>,
}

impl Directory {
    /// A namespace that takes records.
    pub fn gate(&self, name: &str) -> Result<&Arc<Gate>, Problem> {
        match self.here.get(name) {
            Some(running) if !running.removed => Ok(&running.gate),
            _ => Err(self.missing(name)),
        }
    }

    /// A namespace that producers may ask about.
    pub fn running(&self, name: &str) -> Result<&Arc<Running>, Problem> {
        match self.here.get(name) {
            Some(running) if !running.removed => Ok(running),
            _ => Err(self.missing(name)),
        }
    }

    /// A namespace that is kept, also when it is gone from the files.
    pub fn kept(&self, name: &str) -> Result<&Arc<Running>, Problem> {
        self.here.get(name).ok_or_else(|| self.missing(name))
    }

    /// True for a name that is here or elsewhere: labels of metrics stay bounded by it.
    pub fn knows(&self, name: &str) -> bool {
        self.here.contains_key(name) || self.elsewhere.contains_key(name)
    }

    /// All that are here.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Running>> {
        self.here.values()
    }

    /// Puts a namespace in its place.
    pub fn insert(&mut self, running: Arc<Running>) {
        self.elsewhere.remove(running.name().as_str());
        self.here.insert(running.name().clone(), running);
    }

    /// Takes a namespace out.
    pub fn remove(&mut self, name: &NamespaceName) {
        self.here.remove(name);
    }

    /// Says where the namespaces of other shards are; a shard without a known address has an empty one.
    pub fn set_elsewhere(&mut self, elsewhere: BTreeMap<NamespaceName, String>) {
        self.elsewhere = elsewhere;
    }

    fn missing(&self, name: &str) -> Problem {
        match self.elsewhere.get(name) {
            Some(url) => {
                let mut problem = Problem::new(Code::WrongShard, format!("{name} is served by another shard"));
                problem.location = (!url.is_empty()).then(|| url.clone());
                problem
            }
            None => {
                let shown = walhost_core::attempt::clean(name, walhost_core::name::NAME_BYTES_MAX);
                Problem::new(Code::UnknownNamespace, format!("this host serves no namespace `{shown}`"))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn i45_a_namespace_of_another_shard_is_never_taken_and_its_address_is_named() {
        let mut directory = Directory::default();
        let name = NamespaceName::new("clicks").unwrap();
        directory.set_elsewhere([(name, "http://ads.internal:7070".to_owned())].into());
        let problem = directory.gate("clicks").err().unwrap();
        assert_eq!((problem.code, problem.location.as_deref()), (Code::WrongShard, Some("http://ads.internal:7070")));
        assert_eq!(directory.gate("other").err().unwrap().code, Code::UnknownNamespace);
        assert!(directory.knows("clicks") && !directory.knows("other"));
    }
}
