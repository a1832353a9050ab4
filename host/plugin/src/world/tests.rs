//! Versions that fit, and the parts of names.

use super::*;

#[test]
fn versions_of_one_track_fit_and_others_do_not() {
    for (one, other, fits) in [
        ("0.1.0", "0.1.0", true),
        ("0.1.0", "0.1.7", true),
        ("0.1.0", "0.2.0", false),
        ("1.0.0", "1.9.3", true),
        ("1.0.0", "2.0.0", false),
        ("0.0.1", "0.0.2", false),
        ("0.1.0", "0.1.0-rc", false),
        ("0.1.0-rc", "0.1.0-rc", true),
    ] {
        assert_eq!(compatible(one, other), fits, "{one} {other}");
        assert_eq!(compatible(other, one), fits, "{one} {other}");
    }
}

#[test]
fn the_worlds_of_every_served_version_are_found() {
    for (parsed, (_, number, _)) in PARSED.iter().zip(SERVED) {
        for name in ["transform-plugin", "sink-plugin"] {
            let exports = interfaces(&parsed.resolve, parsed.world(name), Side::Exports);
            assert!(
                exports.iter().any(|(full, _)| *full == format!("walhost:plugin/lifecycle@{number}")),
                "{exports:?}"
            );
        }
    }
    assert!(
        is_http("walhost:plugin/http@0.1.0")
            && !is_http("walhost:plugin/httpx@0.1.0")
            && !is_http("wasi:http/types@0.2.0")
    );
}
