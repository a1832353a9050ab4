//! Configurations: validate, show, schema, reload.
//!
//! In: a file, or the host's own. Out: diagnostics on stderr (with `-o json` on stdout), JSON.

use super::Session;
use super::arguments::ConfigCommand;
use super::failure::{BAD_CONFIG, Failure};
use super::output::{Output, print};
use crate::builtin;
use crate::config::{Diagnostics, Loaded, load, schema, show};
use serde_json::json;
use std::path::Path;

/// `walhost config`.
pub async fn run(session: &Session, command: &ConfigCommand) -> Result<u8, Failure> {
    match command {
        ConfigCommand::Validate { file } => Ok(validate(&session.output, &file.config)?),
        ConfigCommand::Show { file } => match load(&file.config, &builtin::kinds()) {
            Ok(loaded) => {
                session.output.one(&show::show(&loaded.model))?;
                Ok(0)
            }
            Err(found) => {
                report(&session.output, &found)?;
                Ok(BAD_CONFIG)
            }
        },
        ConfigCommand::Schema => {
            print(&format!("{:#}\n", schema::whole(&builtin::kinds())))?;
            Ok(0)
        }
        ConfigCommand::Reload => {
            session.output.one(&session.client.post("/admin/v1/config:reload", &json!({})).await?)?;
            Ok(0)
        }
    }
}

fn validate(output: &Output, path: &Path) -> Result<u8, Failure> {
    match load(path, &builtin::kinds()) {
        Ok(Loaded { model, warnings, files }) => {
            report(output, &warnings)?;
            if !output.is_json() {
                let (namespaces, files) = (counted(model.namespaces.len(), "namespace"), counted(files.len(), "file"));
                print(&format!("{}: valid, {namespaces} in {files}\n", path.display()))?;
            }
            Ok(0)
        }
        Err(found) => {
            report(output, &found)?;
            Ok(BAD_CONFIG)
        }
    }
}

/// All diagnostics, and how many there are.
pub fn report(output: &Output, found: &Diagnostics) -> Result<(), Failure> {
    if output.is_json() {
        return output.text_or_json("", &json!({ "valid": !found.has_errors(), "diagnostics": found.to_json() }));
    }
    if !found.list.is_empty() {
        let text = found.render(output.colour());
        // Nobody can be told that stderr is closed.
        drop(std::io::Write::write_all(&mut anstream::stderr().lock(), text.as_bytes()));
        let errors = found.list.iter().filter(|one| one.severity == crate::config::Severity::Error).count();
        output.say(&format!("{}, {}", counted(errors, "error"), counted(found.list.len() - errors, "warning")));
    }
    Ok(())
}

/// `1 error`, `2 errors`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "error")), ["0 errors", "1 error", "2 errors"]);
    }
}
