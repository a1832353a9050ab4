//! Standard Webhooks, version 1: who sent it, and that nobody changed it.
//!
//! In: secrets, record id, seconds, value. Out: the text of `webhook-signature`, one signature a secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;

const PREFIX: &str = "whsec_";

/// Signs with one secret or, while they are rotated, with several. Shows none of them.
#[derive(Clone)]
pub struct Signer {
    keys: Vec<Hmac<Sha256>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signer({} secrets)", self.keys.len())
    }
}

impl Signer {
    /// Takes secrets as they are written: `whsec_` and base64 of 24 to 64 bytes. The error does not show
    /// them.
    pub fn new(secrets: &[Vec<u8>]) -> Result<Signer, String> {
        let keys = secrets.iter().map(|secret| key(secret)).collect::<Result<_, _>>()?;
        Ok(Signer { keys })
    }

    /// The text of `webhook-signature` for a record that is sent now.
    pub fn sign(&self, id: &str, seconds: u64, value: &[u8]) -> String {
        let mut text = String::new();
        for key in &self.keys {
            let mut mac = key.clone();
            mac.update(format!("{id}.{seconds}.").as_bytes());
            mac.update(value);
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str("v1,");
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut text);
        }
        text
    }
}

fn key(secret: &[u8]) -> Result<Hmac<Sha256>, String> {
    let wrong = || "the secret to sign with is not `whsec_` and base64".to_owned();
    let text = std::str::from_utf8(secret).map_err(|_| wrong())?.trim();
    let bytes = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).map_err(|_| wrong())?;
    if !(24..=64).contains(&bytes.len()) {
        return Err(format!("the secret to sign with has {} bytes: 24 to 64 are wanted", bytes.len()));
    }
    Ok(Hmac::new_from_slice(&bytes).expect("HMAC takes keys of any length"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_standard_and_each_secret_signs() {
        let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", format!("whsec_{}", STANDARD.encode([7; 32])));
        let (id, seconds, value) = ("1-2.3", 1_614_265_330, br#"{"test": 2432232314}"#);
        let both = Signer::new(&[old.into(), new.clone().into_bytes()]).unwrap().sign(id, seconds, value);
        let of =
            |secret: &str| standardwebhooks::Webhook::new(secret).unwrap().sign(id, seconds as i64, value).unwrap();
        assert_eq!(both, format!("{} {}", of(old), of(&new)));
    }

    #[test]
    fn i40_a_bad_secret_is_refused_without_showing_it() {
        for secret in ["", "whsec_", "whsec_AAAA", "whsec_ not base64 SECRET", "p4ssw0rd!"] {
            let error = Signer::new(&[secret.as_bytes().to_vec()]).unwrap_err();
            assert!(!error.contains("SECRET") && !error.contains("p4ss") && !error.contains("AAAA"), "{error}");
        }
        assert!(Signer::new(&[vec![0xff; 40]]).is_err());
    }
}
