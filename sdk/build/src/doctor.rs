//! Says what this machine can build guests with. In: the machine. Out: lines for `walhost doctor`.

use crate::TARGET;
use crate::toolchain::{find_debian, installed, run};

/// One line of the diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// True when nothing has to be done about it.
    pub fine: bool,
    /// What was found.
    pub text: String,
    /// The command that mends it.
    pub remedy: Option<String>,
}

/// Looks, changes nothing. The first line is whether plugins can be built at all.
pub fn diagnose() -> Vec<Diagnosis> {
    let (target, debian) = (installed(), find_debian());
    let fine = target.is_some() || debian.is_ok();
    let add = format!("rustup target add {TARGET}");
    let mut lines = vec![Diagnosis {
        fine,
        text: if fine { "Rust plugins can be built".into() } else { "Rust plugins cannot be built".into() },
        remedy: (!fine).then(|| add.clone()),
    }];
    lines.push(match &target {
        Some(rustc) => Diagnosis { fine: true, text: format!("{rustc} has {TARGET}"), remedy: None },
        None => Diagnosis { fine, text: format!("the rustc on the path has no {TARGET}"), remedy: Some(add) },
    });
    if target.is_none() {
        let rustup = run("rustup", &["--version"]);
        lines.push(Diagnosis {
            fine: fine || rustup.is_ok(),
            text: rustup.unwrap_or_else(|refusal| refusal),
            remedy: None,
        });
        lines.push(match debian {
            Ok(toolchain) => Diagnosis { fine: true, text: toolchain.describe(), remedy: None },
            Err(missing) => Diagnosis {
                fine: false,
                text: format!("Debian's way: {missing}"),
                remedy: Some("apt-get install rustc-web rust-web-src lld".into()),
            },
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_answer_and_a_refusal_has_a_remedy() {
        let lines = diagnose();
        assert!(lines[0].text.starts_with("Rust plugins can"));
        assert_eq!(lines[0].fine, lines[0].remedy.is_none());
    }
}
