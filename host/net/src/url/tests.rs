//! URLs that are read, and many more that are refused.
#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn urls_are_read_and_printed_the_same() {
    for (text, printed) in [
        ("http://a", "http://a/"),
        ("HTTPS://Search.Internal:9200/x?y=1", "https://search.internal:9200/x?y=1"),
        ("http://a:80/", "http://a/"),
        ("https://a?q", "https://a/?q"),
        ("http://192.0.2.1:8080/p", "http://192.0.2.1:8080/p"),
        ("http://[2001:db8::1]:8080/p", "http://[2001:db8::1]:8080/p"),
        ("http://under_score.example/", "http://under_score.example/"),
        ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
    ] {
        let url = Url::parse(text).unwrap();
        assert_eq!(url.to_string(), printed);
        assert_eq!(url.uri().to_string(), printed);
    }
}

#[test]
fn origins_are_exact_and_a_path_is_refused() {
    assert_eq!(Origin::parse("https://a:443").unwrap(), Origin::parse("https://A/").unwrap());
    assert_ne!(Origin::parse("https://a").unwrap(), Origin::parse("http://a").unwrap());
    assert_ne!(Origin::parse("https://a").unwrap(), Origin::parse("https://a:444").unwrap());
    assert!(Origin::parse("https://a/x").unwrap_err().contains("/x"));
}

#[test]
fn i41_odd_urls_are_refused_with_a_sentence() {
    for text in [
        "",
        "a",
        "a/b",
        "//a/",
        "ftp://a/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "javascript://a",
        "http:/a",
        "http:a",
        "http://",
        "http:///a",
        "http://?x",
        "http://#",
        "http://:80/",
        "http://a:/",
        "http://a:0/",
        "http://a:65536/",
        "http://a:-1/",
        "http://a:+80/",
        "http://a:8 0/",
        "http://a:80:80/",
        "http://user@a/",
        "http://user:pw@a/",
        "http://a@127.0.0.1/",
        "http://a:80@127.0.0.1/",
        "http://@a/",
        "http://a\\@127.0.0.1/",
        "http://a\\.b/",
        "http://a b/",
        "http://a\t/",
        "http://a\n/",
        "http://a\r\nx: y/",
        "http://a\0/",
        "http://a/\x7f",
        "http://a/#f",
        "http://a/ü",
        "http://ü/",
        "http://a%2eb/",
        "http://%31/",
        "http://a./",
        "http://a..b/",
        "http://.a/",
        "http://a,b/",
        "http://a;b/",
        "http://a'b/",
        "http://[::1/",
        "http://::1/",
        "http://[::1]x/",
        "http://[::1%25lo]/",
        "http://[::1%lo]/",
        "http://[fe80::1%eth0]/",
        "http://[127.0.0.1]/",
        "http://[v1.a]/",
        "http://[]/",
        "http://①②⑦.⓪.⓪.①/",
        "http://１２７.0.0.1/",
        "http://127。0。0。1/",
        "http://a/b c",
        "http://127.0.0.1./",
        "http://127.0.0.1\u{200b}/",
    ] {
        let error = Url::parse(text).unwrap_err();
        assert!(!error.is_empty() && !error.contains(['\n', '\r', '\0']), "{text}: {error}");
    }
    assert!(Url::parse(&format!("http://{}/", "a".repeat(64))).is_err());
    assert!(Url::parse(&format!("http://{}a/", "a.".repeat(127))).is_err());
    assert!(Url::parse(&format!("http://a/{}", "a".repeat(9_000))).is_err());
}
