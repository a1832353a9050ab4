//! The templates of `walhost plugin new`, compiled and tested as modules of the SDK's own tests.

#[path = "../template/sink/src/lib.rs"]
mod sink;
#[path = "../template/transform/src/lib.rs"]
mod transform;

/// Placeholders that `walhost plugin new` fills in; any other brace pair would stay in the file.
const PLACEHOLDERS: [&str; 3] = ["{{name}}", "{{crate}}", "{{sdk}}"];

#[test]
fn templates_have_only_known_placeholders_and_need_only_the_sdk() {
    for manifest in [include_str!("../template/sink/Cargo.toml"), include_str!("../template/transform/Cargo.toml")] {
        let dependencies = manifest.split("[dependencies]\n").nth(1).and_then(|rest| rest.split("\n\n").next());
        let names = dependencies.into_iter().flat_map(str::lines).filter_map(|line| line.split(' ').next());
        assert_eq!(names.collect::<Vec<_>>(), ["serde", "walhost-sdk"]);
    }
    for text in [
        include_str!("../template/sink/Cargo.toml"),
        include_str!("../template/sink/README.md"),
        include_str!("../template/transform/Cargo.toml"),
        include_str!("../template/transform/README.md"),
    ] {
        let filled = PLACEHOLDERS.iter().fold(text.to_owned(), |text, placeholder| text.replace(placeholder, "x"));
        assert!(!filled.contains("{{") && !filled.contains("}}"), "{filled}");
    }
}
