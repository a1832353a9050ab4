//! Plugins: from nothing to a loaded slot.
//!
//! In: projects, components, names. Out: components, verdicts, digests.

mod bench;
mod fixture;
mod guest;
mod load;
mod new;
mod trial;

use super::Session;
use super::arguments::PluginCommand;
use super::client::{Ask, Door, escape};
use super::failure::Failure;
use http::Method;
use serde_json::{Map, Value, json};
use std::path::Path;
use walhost_core::plugin::{Grants, HttpGrant};

/// `walhost plugin`.
pub async fn run(session: &Session, command: PluginCommand) -> Result<u8, Failure> {
    let client = &session.client;
    let slot_path =
        |namespace: &str, slot: &str| format!("/admin/v1/namespaces/{}/slots/{}", escape(namespace), escape(slot));
    match command {
        PluginCommand::New { kind, name, sdk, lang: _ } => new::write(session, kind, &name, sdk.as_deref())?,
        PluginCommand::Build { directory, out } => build(session, &directory, out.as_deref())?,
        PluginCommand::Inspect { file, allow } => return inspect(session, &file, &allow),
        PluginCommand::Test(arguments) => return trial::run(session, &arguments).await,
        PluginCommand::Bench(arguments) => return bench::run(session, &arguments).await,
        PluginCommand::Push { file } => session.output.one(&push(session, &file).await?)?,
        PluginCommand::Load(arguments) => load::run(session, &arguments).await?,
        PluginCommand::Rollback { namespace, slot } => {
            session
                .output
                .one(&client.post(format!("{}:rollback", slot_path(&namespace, &slot)), &json!({})).await?)?;
        }
        PluginCommand::Versions { namespace, slot } => {
            let columns = [
                ("generation", "/generation"),
                ("digest", "/digest"),
                ("name", "/name"),
                ("loaded", "/loaded"),
                ("source", "/source"),
                ("taken back", "/taken_back"),
                ("at", "/at"),
            ];
            session.output.list(&client.get(format!("{}/versions", slot_path(&namespace, &slot))).await?, &columns)?;
        }
        PluginCommand::List => {
            let columns = [
                ("digest", "/digest"),
                ("kind", "/kind"),
                ("world", "/world"),
                ("size", "/size"),
                ("stored", "/stored_at"),
                ("used by", "/slots"),
            ];
            session.output.list(&client.get("/admin/v1/plugins").await?, &columns)?;
        }
    }
    Ok(0)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
}

async fn push(session: &Session, file: &Path) -> Result<Value, Failure> {
    let ask = Ask::new(Door::Admin, Method::POST, "/admin/v1/plugins");
    session.client.ask(ask.body("application/wasm", read(file)?)).await
}

fn build(session: &Session, directory: &Path, out: Option<&Path>) -> Result<(), Failure> {
    let options = walhost_build::Options {
        target_dir: directory.join("target"),
        out_dir: out.unwrap_or(directory).to_owned(),
        packages: Vec::new(),
        locked: false,
        quiet: session.output.is_json(),
    };
    let toolchain = walhost_build::find_toolchain().map_err(|error| Failure::failed(error.to_string()))?;
    session.output.say(&toolchain.describe());
    let built = walhost_build::build_with(&toolchain, directory, &options)
        .map_err(|error| Failure::failed(error.to_string()))?;
    let rows: Vec<Value> = built
        .iter()
        .map(|built| {
            json!({
                "name": built.name,
                "component": built.component_path.display().to_string(),
                "size": built.size_bytes,
                "took_ms": u64::try_from(built.took.as_millis()).unwrap_or(u64::MAX),
            })
        })
        .collect();
    let columns = [("name", "/name"), ("component", "/component"), ("bytes", "/size"), ("took ms", "/took_ms")];
    session.output.list(&json!({ "items": rows }), &columns)
}

fn inspect(session: &Session, file: &Path, allow: &[String]) -> Result<u8, Failure> {
    let grants = grants(allow, &[], &[])?;
    let found = walhost_plugin::inspect(&read(file)?, &grants)
        .map_err(|error| Failure::failed(format!("{}: {}", file.display(), error.detail())))?;
    let imports: Vec<Value> =
        found.imports.iter().map(|(name, missing)| json!({ "name": name, "missing": missing })).collect();
    let json = json!({
        "digest": found.digest.to_string(),
        "kind": found.kind.as_str(),
        "world": found.world,
        "size": found.size_bytes,
        "compile_ms": u64::try_from(found.compile_time.as_millis()).unwrap_or(u64::MAX),
        "compiled_bytes": found.compiled_bytes,
        "imports": imports,
    });
    session.output.one(&json)?;
    Ok(0)
}

/// `name=value` pairs; a value is JSON, or else text.
fn pairs(arguments: &[String]) -> Result<Map<String, Value>, Failure> {
    let pair = |argument: &String| {
        let (name, value) =
            argument.split_once('=').ok_or_else(|| Failure::usage(format!("`{argument}` is not name=value")))?;
        Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
    };
    arguments.iter().map(pair).collect()
}

/// Grants of `--allow`, `--cidr` and `--secret`.
fn grants(allow: &[String], cidrs: &[String], secrets: &[String]) -> Result<Grants, Failure> {
    let http = allow
        .iter()
        .map(|origin| HttpGrant {
            origin: origin.clone(),
            cidrs: cidrs.to_vec(),
            headers: Default::default(),
            parallel: None,
            response: None,
        })
        .collect();
    let secret = |argument: &String| {
        let (name, variable) =
            argument.split_once('=').ok_or_else(|| Failure::usage(format!("`{argument}` is not name=VARIABLE")))?;
        Ok((name.to_owned(), walhost_core::config::Secret::Env(variable.to_owned())))
    };
    Ok(Grants { http, secrets: secrets.iter().map(secret).collect::<Result<_, Failure>>()? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_json_or_else_text() {
        let set = pairs(&["fields=[\"/a\"]".into(), "mark=seen".into(), "n=5".into(), "q=a=b".into()]).unwrap();
        assert_eq!(Value::Object(set), json!({ "fields": ["/a"], "mark": "seen", "n": 5, "q": "a=b" }));
        assert_eq!(pairs(&["x".into()]).unwrap_err().code, super::super::failure::USAGE);
    }

    #[test]
    fn i40_a_secret_of_a_trial_is_named_by_its_variable() {
        let grants = grants(&["https://a".into()], &["10.0.0.0/8".into()], &["key=MY_KEY".into()]).unwrap();
        assert_eq!(grants.http[0].cidrs, ["10.0.0.0/8"]);
        assert_eq!(grants.secrets["key"], walhost_core::config::Secret::Env("MY_KEY".into()));
    }
}
