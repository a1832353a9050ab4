//! Good configurations, and what they mean.

use super::kinds::{Web, WebConfig, kinds};
use crate::config::diff::NamespaceDiff;
use crate::config::model::{Destination, OnExhausted, Ordering, PluginSource, Scope};
use crate::config::{self, load, load_text, namespace_from_json};
use serde_json::json;
use std::path::Path;
use walhost_core::backend::TargetBackend;
use walhost_core::config::{Duration, Secret, Size};
use walhost_core::{NamespaceName, PluginName, TargetName};

const WHOLE: &str = r#"
include = ["conf.d/*.toml"]
[server]
ingest.listen = "127.0.0.1:7070"
ingest.limits = { header = "10s", body = "30s", idle = "75s", connections = 4096 }
ingest.tokens = { file = "tokens.toml" }
admin.listen  = "127.0.0.1:7071"
admin.tokens  = { file = "tokens.toml" }
drain_timeout = "30s"
[shard]
name = "catalog"
data_dir = "data"
min_free = "1GiB"
config_managed = false
[shards.ads]
url = "http://ads.wal.internal:7070"
[plugins.mask-pii]
ref = "plugins/mask_pii.wasm"
[plugins.search-index]
digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
[plugins.search-index.grants]
http = [{ origin = "https://search.internal:9200", cidrs = ["10.0.0.0/8"], headers = { authorization = { env = "SEARCH_AUTH" } } }]
[plugins.search-index.limits]
memory = "64MiB"
deadline = "2s"
instances = 8
"#;

const CATALOG: &str = r#"
[namespaces.catalog]
shard = "catalog"
queue = { type = "embedded", durability = "fsync" }
ordering = "key"
key = "/id"
limits = { record = "1MiB", batch = "8MiB", rate = "20000/s", delay = "30d", backlog = "10GiB" }
idempotency = { window = "24h", keys = 10_000_000 }
history = "24h"
retry = { initial = "200ms", factor = 2.0, max_interval = "5m", jitter = "full", max_attempts = 12, max_age = "3d", on_exhausted = "dead-letter" }
breaker = { failures = 5, rejects = 100, open = "5s", max_open = "1m" }
concurrency = 16
dlq = { retention = "14d" }
[namespaces.catalog.targets.cache]
type = "memcached"
servers = ["127.0.0.1:11211"]
key = "movie:{/id}"
ttl = "1h"
[namespaces.catalog.targets.partner]
type = "http"
url = "https://partner.example/hooks"
timeout = "20s"
headers = { authorization = { file = "partner.secret" } }
tls = { ca = "ca.pem" }
rate = "500/s"
retry = { max_attempts = 3, on_exhausted = "park" }
concurrency = 2
transform = { plugin = "mask-pii", settings = { fields = ["/email"], file = "x" } }
[namespaces.catalog.targets.search]
type = "plugin"
plugin = "search-index"
batch = { records = 500, bytes = "2MiB", linger = "50ms" }
settings = { index = "movies" }
auto_rollback = true
from = "earliest"
[namespaces.catalog.targets.idle]
type = "plugin"
[[namespaces.catalog.tests]]
name = "the e-mail is masked"
target = "partner"
input = { json = { id = 1, email = "a@b.c" } }
expect = [{ json_subset = { email = "***" } }]
"#;

const TOKENS: &str = r#"
[[tokens]]
name = "ads"
hash = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
scopes = ["ingest:ads", "read", "plugins:*"]
expires = 2027-01-01T00:00:00Z
"#;

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn whole() -> (tempfile::TempDir, config::Loaded) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "walhost.toml", WHOLE);
    write(directory.path(), "conf.d/catalog.toml", CATALOG);
    write(directory.path(), "conf.d/.hidden.toml", "not TOML");
    write(directory.path(), "tokens.toml", TOKENS);
    write(directory.path(), "plugins/mask_pii.wasm", "");
    let loaded = load(&directory.path().join("walhost.toml"), &kinds()).unwrap_or_else(|found| panic!("{found}"));
    (directory, loaded)
}

fn catalog() -> NamespaceName {
    NamespaceName::new("catalog").unwrap()
}

#[test]
fn the_contract_s_example_is_read_with_every_key() {
    let (directory, loaded) = whole();
    assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.files.len(), 3);
    let root = std::fs::canonicalize(directory.path()).unwrap();
    let model = &loaded.model;
    assert_eq!(model.shard.data_dir, root.join("data"));
    let tokens = &model.server.ingest.tokens.as_ref().unwrap().tokens;
    assert_eq!(
        tokens[0].scopes,
        [Scope::Ingest(Some(NamespaceName::new("ads").unwrap())), Scope::Read, Scope::Plugins(None)]
    );
    assert_eq!(tokens[0].expires_ms, Some(1_798_761_600_000));
    assert_eq!(model.server.admin.tokens, model.server.ingest.tokens);
    let mask = &model.plugins[&PluginName::new("mask-pii").unwrap()];
    assert_eq!(mask.source, PluginSource::Ref(root.join("plugins/mask_pii.wasm")));
    let namespace = &model.namespaces[&catalog()];
    assert_eq!(namespace.ordering, Ordering::Key);
    assert_eq!(namespace.limits.backlog, Size(10 << 30));
    assert_eq!(namespace.durability.as_deref(), Some("fsync"));
    assert_eq!(model.elsewhere(namespace), None);
    assert_eq!(namespace.tests[0].expect[0].json_subset, Some(json!({ "email": "***" })));
}

#[test]
fn a_target_s_keys_win_over_its_namespace_s_one_by_one() {
    let (_directory, loaded) = whole();
    let targets = &loaded.model.namespaces[&catalog()].targets;
    let partner = &targets[&TargetName::new("partner").unwrap()];
    assert_eq!(partner.retry.max_attempts, 3);
    assert_eq!(partner.retry.on_exhausted, OnExhausted::Park);
    assert_eq!(partner.retry.max_interval, Duration(300_000));
    assert_eq!(partner.concurrency, 2);
    assert_eq!(targets[&TargetName::new("cache").unwrap()].concurrency, 16);
    assert!(matches!(targets[&TargetName::new("idle").unwrap()].destination, Destination::Plugin(None)));
}

#[test]
fn paths_are_relative_to_the_file_they_stand_in_and_settings_are_left_alone() {
    let (directory, loaded) = whole();
    let root = std::fs::canonicalize(directory.path()).unwrap();
    let partner = &loaded.model.namespaces[&catalog()].targets[&TargetName::new("partner").unwrap()];
    let Destination::Backend(chosen) = &partner.destination else { panic!("{partner:?}") };
    assert_eq!(chosen.kind, Web::KIND);
    let config: WebConfig = chosen.config().unwrap();
    assert_eq!(config.headers["authorization"], Secret::File(root.join("conf.d/partner.secret")));
    assert_eq!(config.tls.unwrap().ca, root.join("conf.d/ca.pem"));
    assert_eq!(partner.transform.as_ref().unwrap().settings["file"], "x");
}

#[test]
fn an_empty_file_is_a_host_with_nothing_to_serve() {
    let loaded = load_text("w.toml", Path::new("/etc/walhost"), "", &kinds()).unwrap();
    assert_eq!(loaded.model.server.ingest.listen.to_string(), "127.0.0.1:7070");
    assert_eq!(loaded.model.shard.data_dir, Path::new("/etc/walhost/data"));
    assert!(loaded.warnings.list.is_empty());
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    let found = load(Path::new("/nowhere/w.toml"), &kinds()).unwrap_err();
    assert_eq!(
        found.to_string(),
        "/nowhere/w.toml:1:1: unreadable-file: /nowhere/w.toml cannot be read: there is no such file\n"
    );
}

#[test]
fn a_namespace_as_json_is_the_same_as_in_toml_and_its_faults_have_pointers() {
    let (_directory, loaded) = whole();
    let model = &loaded.model;
    let table = model.namespaces[&catalog()].table.clone();
    let (namespace, warnings) = namespace_from_json(&catalog(), &table, &kinds(), model).unwrap();
    assert_eq!(namespace, model.namespaces[&catalog()]);
    assert!(warnings.list.is_empty());
    let bad = json!({ "orderin": "key", "targets": { "a/b": { "type": "http" }, "t": { "type": "http", "url": 5 } } });
    let found = namespace_from_json(&catalog(), &bad, &kinds(), model).unwrap_err();
    assert_eq!(
        found.to_string(),
        "/orderin: unknown-key: unknown key `orderin`\n\
         /targets/a~1b: bad-name: `a/b` is not a name: use 1 to 63 of a-z, 0-9 and -, and begin with a letter or digit\n\
         /targets/a~1b: missing-key: the key `url` is missing\n\
         /targets/t/url: wrong-type: the integer `5` stands where a string is wanted\n"
    );
    assert_eq!(found.to_json()[0]["pointer"], "/orderin");
    assert!(namespace_from_json(&catalog(), &json!([]), &kinds(), model).is_err());
}

#[test]
fn a_reload_names_what_changes_and_nothing_else() {
    let (_directory, loaded) = whole();
    let mut new = loaded.model.clone();
    assert!(config::diff(&loaded.model, &new).is_empty());
    let namespace = new.namespaces.get_mut(&catalog()).unwrap();
    namespace.history = Duration(1);
    namespace.targets.remove(&TargetName::new("idle").unwrap());
    namespace.targets.get_mut(&TargetName::new("cache").unwrap()).unwrap().concurrency = 1;
    new.server.drain_timeout = Duration(1);
    let diff = config::diff(&loaded.model, &new);
    assert_eq!(diff.needs_restart, ["server"]);
    let NamespaceDiff::Changed(changes) = &diff.namespaces[&catalog()] else { panic!("{diff:?}") };
    assert_eq!(changes.keys, ["history"]);
    assert_eq!(changes.targets_removed.len() + changes.targets_changed.len(), 2);
    assert!(changes.targets_added.is_empty());
}

#[test]
fn i40_what_is_shown_holds_places_of_secrets_and_no_secret() {
    let (_directory, loaded) = whole();
    let shown = config::show::show(&loaded.model).to_string();
    assert!(shown.contains("partner.secret") && shown.contains("SEARCH_AUTH"));
    assert!(!shown.contains("bbbbbbbb"), "{shown}");
}

#[test]
fn the_schema_knows_every_key_that_is_read() {
    let schema = config::schema::whole(&kinds());
    let text = serde_json::to_string(&schema).unwrap();
    for key in [
        "drain_timeout",
        "config_managed",
        "on_exhausted",
        "json_subset",
        "auto_rollback",
        "servers",
        "origin",
        "linger",
    ] {
        assert!(text.contains(&format!("\"{key}\"")), "{key}");
    }
    let namespaces = schema["properties"]["namespaces"]["patternProperties"].as_object().unwrap();
    let targets = &namespaces.values().next().unwrap()["properties"]["targets"]["patternProperties"];
    let forms = targets.as_object().unwrap().values().next().unwrap()["oneOf"].as_array().unwrap();
    assert_eq!(forms.len(), 3);
}

#[test]
fn a_diagnostic_shows_the_line_a_caret_and_what_to_do() {
    let text = "[shard]\nname = \"a\"\nmin_fre = \"1GiB\"\n";
    let found = load_text("w.toml", Path::new("/x"), text, &kinds()).unwrap_err().render(false);
    assert!(found.contains("error[unknown-key]: unknown key `min_fre`"), "{found}");
    assert!(found.contains("--> w.toml:3:1"), "{found}");
    assert!(found.contains("3 | min_fre = \"1GiB\"") && found.contains("| ^^^^^^^"), "{found}");
    assert!(found.contains("help: did you mean `min_free`?"), "{found}");
}
