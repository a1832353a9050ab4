//! The last change wins, between the files and admin.
#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::json;

fn model(text: &str) -> Model {
    let loaded = config::load_text("t.toml", std::path::Path::new("/tmp"), text, &crate::builtin::kinds());
    loaded.unwrap_or_else(|found| panic!("{found}")).model
}

/// Takes over a file; answers what is remembered of `a`.
fn take(state: &mut State, text: &str) -> Option<Kept> {
    let model = model(text);
    let marks =
        model.namespaces.values().map(|namespace| (namespace.name.clone(), slot::hash(&namespace.table))).collect();
    plan(state, &model, &marks);
    state.namespaces.get("a").cloned()
}

const FIRST: &str = "[namespaces.a]\nhistory = \"1h\"\n[namespaces.a.targets.t]\ntype = \"plugin\"\n";
const SECOND: &str = "[namespaces.a]\nhistory = \"2h\"\n[namespaces.a.targets.u]\ntype = \"plugin\"\n";

#[test]
fn what_was_set_at_run_time_stays_until_the_files_own_table_changes() {
    let mut state = State::default();
    let first = take(&mut state, FIRST).unwrap();
    assert_eq!((first.source, first.revision), (Source::Config, 1));
    let kept = state.namespaces.get_mut("a").unwrap();
    change_table(kept, json!({ "history": "9h" }), Source::Runtime);
    let again = take(&mut state, FIRST).unwrap();
    assert_eq!((again.source, &again.table["history"]), (Source::Runtime, &json!("9h")));
    let other = take(&mut state, SECOND).unwrap();
    assert_eq!((other.source, &other.table["history"]), (Source::Config, &json!("2h")));
}

#[test]
fn a_target_that_left_the_file_stays_and_is_marked_until_it_comes_back() {
    let mut state = State::default();
    take(&mut state, FIRST);
    let second = take(&mut state, SECOND).unwrap();
    assert!(second.targets["t"].removed && !second.targets["u"].removed);
    let first = take(&mut state, FIRST).unwrap();
    assert!(!first.targets["t"].removed && first.targets["u"].removed);
}

#[test]
fn a_namespace_that_left_the_files_is_kept_and_marked_and_comes_back() {
    let mut state = State::default();
    take(&mut state, FIRST);
    let gone = take(&mut state, "").unwrap();
    assert!(gone.removed);
    let back = take(&mut state, FIRST).unwrap();
    assert!(!back.removed && back.revision > gone.revision);
}

#[test]
fn what_was_deleted_at_run_time_does_not_come_back_by_the_same_file() {
    let mut state = State::default();
    take(&mut state, FIRST);
    let kept = state.namespaces.get_mut("a").unwrap();
    *kept = Kept { deleted: true, file_mark: kept.file_mark.clone(), ..Kept::default() };
    assert!(take(&mut state, FIRST).unwrap().deleted);
    assert!(!take(&mut state, SECOND).unwrap().deleted);
    let kept = state.namespaces.get_mut("a").unwrap();
    *kept = Kept { deleted: true, file_mark: kept.file_mark.clone(), ..Kept::default() };
    assert!(take(&mut state, "").is_none());
}

#[test]
fn a_namespace_made_at_run_time_is_no_business_of_the_files() {
    let mut state = State::default();
    let mut kept = Kept::default();
    change_table(&mut kept, json!({}), Source::Runtime);
    state.namespaces.insert(NamespaceName::new("a").unwrap(), kept.clone());
    assert_eq!(take(&mut state, ""), Some(kept));
}

#[test]
fn an_etag_is_heeded() {
    assert!(Expected::Revision(3).check(Some(3)).is_ok());
    for (expected, revision) in [
        (Expected::Revision(3), Some(4)),
        (Expected::Revision(3), None),
        (Expected::Something, None),
        (Expected::Nothing, Some(1)),
        (Expected::Never, Some(1)),
    ] {
        assert_eq!(expected.check(revision).unwrap_err().code, Code::PreconditionFailed);
    }
}
