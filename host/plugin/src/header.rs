//! What an upload is, by its first bytes.
//!
//! In: bytes. Out: nothing when they begin as a component does; else a sentence of its own for each of the
//! things that people upload instead (I36).

use crate::limits;
use walhost_core::config::Size;

/// Checks size and header. The error says what it is, and what to do.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    if bytes.len() > limits::COMPONENT_BYTES_MAX {
        let most = Size(limits::COMPONENT_BYTES_MAX as u64);
        return Err(format!("it has {} bytes: at most {most} are possible", bytes.len()));
    }
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
            Err("it is a core module, not a component: `walhost plugin build` makes a component of it".into())
        }
        Some([0, b'a', b's', b'm', version @ ..]) => {
            Err(format!("it is WebAssembly of an unknown version {version:02x?}: build it with a current toolchain"))
        }
        // Compiled code of wasmtime is an ELF file.
        Some([0x7f, b'E', b'L', b'F', ..]) => {
            Err("it is native code (a .cwasm or a program): walhost compiles components itself, send the .wasm".into())
        }
        _ if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) => {
            Err("it is compressed: send the .wasm as it is".into())
        }
        _ if bytes.starts_with(b"PK") => Err("it is an archive: send the .wasm inside it".into()),
        _ if is_text(bytes) => Err("it is text: send the binary .wasm, not .wat or source code".into()),
        _ => Err("it does not begin as a WebAssembly component does".into()),
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(512)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => "",
        Err(_) => return false,
    };
    text.chars().all(|c| !c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i36_what_is_no_component_is_refused_by_its_header_with_its_own_sentence() {
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b"\0asm\x01\0\0\0", "core module"),
            (b"\0asm\x0c\0\x01\0", "unknown version"),
            (b"\x7fELF\x02\x01\x01\0", "native code"),
            (b"(component)", "text"),
            (b"fn main() {}\n", "text"),
            (b"\x1f\x8b\x08\0\0\0\0\0", "compressed"),
            (b"PK\x03\x04aaaa", "archive"),
            (b"\0asm", "does not begin"),
            (b"\xff\xfe\0\0\0\0\0\0\0", "does not begin"),
        ] {
            let error = check(bytes).expect_err("refused");
            assert!(error.contains(word), "{bytes:?}: {error}");
        }
        assert!(check(b"\0asm\x0d\0\x01\0").is_ok());
        assert!(check(&vec![0; limits::COMPONENT_BYTES_MAX + 1]).expect_err("refused").contains("64MiB"));
    }
}
