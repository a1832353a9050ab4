//! Native code on disk, and the one place that trusts it.
//!
//! In: an envelope that this host wrote. Out: a component ready to be linked. Everything that does not
//! prove where it comes from is refused before wasmtime sees a byte of it (I36).
//!
//! The envelope: magic, SHA-256 of the component, fingerprint of the engine (wasmtime's version, machine
//! and settings), SHA-256 of the code, code.

use sha2::{Digest as _, Sha256};
use walhost_core::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

const MAGIC: &[u8; 8] = b"WALCODE1";
const FINGERPRINT_BYTES: usize = 32;
const HEAD_BYTES: usize = MAGIC.len() + 32 + FINGERPRINT_BYTES + 32;

/// Native code with the proof of what it is.
pub(crate) fn seal(component: Digest, fingerprint: &str, code: &[u8]) -> Vec<u8> {
    assert_eq!(fingerprint.len(), FINGERPRINT_BYTES, "sixteen bytes in hexadecimal");
    let mut envelope = Vec::with_capacity(HEAD_BYTES + code.len());
    envelope.extend_from_slice(MAGIC);
    envelope.extend_from_slice(&component.0);
    envelope.extend_from_slice(fingerprint.as_bytes());
    envelope.extend_from_slice(&Sha256::digest(code));
    envelope.extend_from_slice(code);
    envelope
}

/// The code inside, when all three proofs hold; the error names the one that does not.
fn open<'a>(component: Digest, fingerprint: &str, envelope: &'a [u8]) -> Result<&'a [u8], &'static str> {
    let (head, code) = envelope.split_at_checked(HEAD_BYTES).ok_or("it is cut short")?;
    let (magic, head) = head.split_at(MAGIC.len());
    let (digest, head) = head.split_at(32);
    let (compiled_for, sum) = head.split_at(FINGERPRINT_BYTES);
    if magic != MAGIC {
        return Err("it is not native code of this host");
    }
    if digest != component.0 {
        return Err("it is the native code of another component");
    }
    if compiled_for != fingerprint.as_bytes() {
        return Err("it was compiled for another engine");
    }
    if sum != Sha256::digest(code).as_slice() {
        return Err("its checksum is wrong");
    }
    Ok(code)
}

/// Loads native code that this host compiled for this very component and engine.
#[allow(unsafe_code)]
pub(crate) fn load(
    engine: &Engine,
    component: Digest,
    fingerprint: &str,
    envelope: &[u8],
) -> Result<Component, String> {
    let code = open(component, fingerprint, envelope)?;
    // SAFETY: `deserialize` runs whatever machine code it is given. This code was written by this host's own
    // compiler, for this component and this engine, and has not changed since: digest, fingerprint and
    // checksum were compared above. Whoever can forge all three can write into the data directory as the
    // host's own user.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn i36_code_without_all_three_proofs_is_never_run() {
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let (engine, another) = ("a".repeat(32), "b".repeat(32));
        let sealed = seal(one, &engine, b"code");
        assert_eq!(open(one, &engine, &sealed).unwrap(), b"code");
        assert!(open(other, &engine, &sealed).unwrap_err().contains("another component"));
        assert!(open(one, &another, &sealed).unwrap_err().contains("another engine"));
        assert!(open(one, &engine, &sealed[..HEAD_BYTES - 1]).unwrap_err().contains("cut short"));
        assert!(open(one, &engine, b"\x7fELF").unwrap_err().contains("cut short"));
        for place in 0..sealed.len() {
            for bit in 0..8 {
                let mut flipped = sealed.clone();
                flipped[place] ^= 1 << bit;
                assert!(open(one, &engine, &flipped).is_err(), "byte {place}, bit {bit}");
            }
        }
    }
}
