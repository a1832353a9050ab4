//! One question, one room: a word that only its room may say.

use crate::files;

/// What is searched, and where alone it may stand (beside tests, `xtask` and the SDK's test host).
const WORDS: [(&str, &[&str]); 17] = [
    ("SystemTime::now", &["host/core/src/time.rs"]),
    ("Instant::now", &["host/core/src/time.rs"]),
    ("tokio::time::sleep", &["host/core/src/time.rs"]),
    ("thread::sleep", &["host/core/src/time.rs"]),
    ("RandomState::new", &["host/core/src/random.rs"]),
    ("rand::", &["host/core/src/random.rs"]),
    ("thread::spawn", &["host/core/src/exec.rs"]),
    ("thread::Builder", &["host/core/src/exec.rs"]),
    ("tokio::spawn", &["host/core/src/exec.rs"]),
    ("spawn_blocking", &["host/core/src/exec.rs"]),
    ("wasmtime::", &["host/plugin/"]),
    ("deserialize_file", &["host/plugin/"]),
    ("#[allow(unsafe_code)]", &["host/plugin/src/"]),
    ("memcache::", &["host/backends/memcached/"]),
    (
        "StatusCode::",
        &[
            "host/server/src/http",
            "host/server/src/cli",
            "host/server/src/bench",
            "host/backends/http/",
            "host/net/",
            "host/plugin/",
        ],
    ),
    ("pwritev", &["host/core/src/disk/"]),
    ("fdatasync", &["host/core/src/disk/"]),
];

#[test]
fn a_word_stands_only_in_its_room() {
    let mut complaints = Vec::new();
    for file in files::all(".rs").into_iter().filter(|f| f.path.starts_with("host/") && !f.is_test()) {
        for (number, line) in file.production() {
            for (word, rooms) in WORDS {
                if line.contains(word) && !rooms.iter().any(|room| file.path.starts_with(room)) {
                    complaints.push(format!("{}:{number}: `{word}` belongs to {}", file.path, rooms.join(", ")));
                }
            }
        }
    }
    crate::report("rooms", complaints);
}

#[test]
fn the_sdk_is_unsafe_in_its_allocator_and_in_what_exports_need_only() {
    let rooms = ["memory.rs", "lib.rs", "guest.rs", "transform.rs", "sink.rs"];
    let mut complaints = Vec::new();
    for file in files::all(".rs").into_iter().filter(|file| file.path.starts_with("sdk/rust/src/")) {
        let name = file.path.trim_start_matches("sdk/rust/src/");
        for (number, line) in file.production() {
            if line.contains("allow(unsafe_code") && !rooms.contains(&name) {
                complaints.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    crate::report("unsafe", complaints);
}

#[test]
fn the_log_and_the_embedded_queue_touch_files_only_through_disk() {
    let mut complaints = Vec::new();
    for file in files::all(".rs") {
        let judged = file.path.starts_with("host/log/") || file.path.starts_with("host/embedded/");
        for (number, line) in file.production().filter(|_| judged && !file.is_test()) {
            if ["std::fs", "File::open", "File::create", "OpenOptions"].iter().any(|word| line.contains(word)) {
                complaints.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    crate::report("files", complaints);
}

#[test]
fn delivery_knows_no_vendor_and_no_status_code() {
    let mut complaints = Vec::new();
    for file in files::all(".rs").into_iter().filter(|f| f.path.starts_with("host/delivery/")) {
        for (number, line) in file.production() {
            if ["hyper", "memcached", "kafka", "wasm"].iter().any(|word| line.contains(word)) {
                complaints.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    crate::report("delivery", complaints);
}
