//! Components from a few lines of WAT, wrapped by the same encoder that authors' tools use.
//!
//! In: the body of `apply`, `deliver` or `init`, and what it imports. Out: component bytes.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// As much of WASI as the tests' guests import.
const WASI: &str = r#"
package test:guest;

package wasi:io@0.2.6 {
    interface error { resource error; }
    interface poll {
        resource pollable { ready: func() -> bool; block: func(); }
    }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }
}
package wasi:clocks@0.2.6 {
    interface monotonic-clock {
        use wasi:io/poll@0.2.6.{pollable};
        subscribe-duration: func(when: u64) -> pollable;
    }
}
package wasi:cli@0.2.6 {
    interface stdout {
        use wasi:io/streams@0.2.6.{output-stream};
        get-stdout: func() -> output-stream;
    }
    interface environment {
        get-environment: func() -> list<tuple<string, string>>;
    }
}
package wasi:random@0.2.6 {
    interface random { get-random-bytes: func(len: u64) -> list<u8>; }
}
package wasi:http@0.2.6 {
    interface types {
        use wasi:io/streams@0.2.6.{output-stream};
        resource fields { constructor(); }
        resource outgoing-body { write: func() -> result<output-stream>; }
    }
}
package other:things@1.0.0 {
    interface launch { missiles: func(); }
}
"#;

/// What to make.
#[derive(Clone)]
pub(super) struct Guest<'a> {
    pub world: &'a str,
    /// WIT items of the world beside the plugin world's own.
    pub imports: &'a str,
    /// WAT of imports, globals and functions.
    pub items: &'a str,
    /// Runs in `init`; leaves nothing.
    pub init: &'a str,
    /// Runs in `apply` or `deliver` before all records pass; may look at `$batch` and `$count`; leaves
    /// nothing or returns. `(local $i i32)` is free.
    pub run: &'a str,
    /// The WIT, when it is not the real one.
    pub wit: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Guest {
            world: "transform-plugin",
            imports: "",
            items: "",
            init: "",
            run: "",
            wit: include_str!("../../../../wit/0.1.0/plugin.wit"),
        }
    }
}

impl Guest<'_> {
    fn core(&self) -> String {
        let export = if self.world == "sink-plugin" { "sink@0.1.0#deliver" } else { "transform@0.1.0#apply" };
        format!(
            r#"(module
  {items}
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 65536))
  (func $alloc (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $fits (i32.ne (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16))))))
      unreachable)
    (local.get $at))
  (func $new (param $size i32) (result i32)
    (call $alloc (i32.const 0) (i32.const 0) (i32.const 8) (local.get $size)))
  (func $evil (param $batch i32) (param $count i32) (result i32)
    (i32.and (i32.gt_u (local.get $count) (i32.const 0))
      (i32.eq (i32.const 33) (i32.load8_u (i32.load offset=48 (local.get $batch))))))
  (func (export "walhost:plugin/lifecycle@0.1.0#init") (result i32)
    (local $i i32)
    {init}
    (i32.store8 (i32.const 2048) (i32.const 0))
    (i32.const 2048))
  (func $run (export "walhost:plugin/{export}") (param $batch i32) (param $count i32) (result i32)
    (local $i i32) (local $answers i32)
    (if (call $evil (local.get $batch) (local.get $count)) (then {run}))
    (local.set $answers (call $new (i32.mul (local.get $count) (i32.const 40))))
    (memory.fill (local.get $answers) (i32.const 0) (i32.mul (local.get $count) (i32.const 40)))
    (i32.store (i32.const 1024) (local.get $answers))
    (i32.store (i32.const 1028) (local.get $count))
    (i32.const 1024))
  (func (export "cabi_post_walhost:plugin/{export}") (param i32)
    (global.set $next (i32.const 65536)))
)"#,
            items = self.items,
            init = self.init,
            run = self.run,
        )
    }

    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        resolve.push_source("plugin.wit", self.wit).unwrap();
        let world = format!("world guest {{ include walhost:plugin/{}@0.1.0; {} }}", self.world, self.imports);
        let wit = WASI.replacen("package test:guest;", &format!("package test:guest;\n{world}"), 1);
        let package = resolve.push_source("guest.wit", &wit).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        let mut module = wat::parse_str(self.core()).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
        ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
    }
}

/// A transform that passes everything.
pub(super) fn passes() -> Vec<u8> {
    Guest::default().build()
}

/// A transform that does this when the first value begins with `!`, and passes everything else.
pub(super) fn does(run: &str) -> Vec<u8> {
    Guest { run, ..Guest::default() }.build()
}
