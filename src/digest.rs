//! One canonical text and one hash for values that people and machines must agree on.
//!
//! Actions are bound to approvals, and journal events to their chain, by the SHA-256 of a
//! canonical JSON text: object keys sorted, no white space (RFC 8785 for the values we use:
//! strings, integers, booleans, null, arrays, objects; we never hash a fraction).

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A SHA-256 in the form `sha256:<64 hexadecimal digits>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of `domain`, a line feed, and `bytes`. The domain keeps hashes of different
    /// kinds of things apart.
    pub fn of(domain: &str, bytes: &[u8]) -> Self {
        Self::chain(domain, "", bytes)
    }

    /// The digest of a link in a chain: domain, the previous link's digest, and the bytes.
    pub fn chain(domain: &str, previous: &str, bytes: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(domain.as_bytes());
        hasher.update(b"\n");
        hasher.update(previous.as_bytes());
        hasher.update(b"\n");
        hasher.update(bytes);
        Self(format!("sha256:{}", hex(&hasher.finalize())))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(7..15).unwrap_or(&self.0)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hexadecimal of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 });
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 0xf));
    }
    out
}

/// The canonical JSON text of `value`.
///
/// # Errors
/// When `value` has a map key that is not a string or serialises with an error of its own.
pub fn canonical<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    write_canonical(&serde_json::to_value(value)?, &mut out);
    Ok(out)
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            // RFC 8785 sorts by UTF-16 code units.
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_canonical(&map[key.as_str()], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn key_order_does_not_matter_and_content_does() {
        let a = canonical(&json!({"b": [1, {"y": null, "x": "é\n"}], "a": true})).unwrap();
        let b = canonical(&json!({"a": true, "b": [1, {"x": "é\n", "y": null}]})).unwrap();
        assert_eq!(a, b);
        assert_eq!(a, r#"{"a":true,"b":[1,{"x":"é\n","y":null}]}"#);
        assert_ne!(Digest::of("d", a.as_bytes()), Digest::of("d", b"{}"));
        assert_ne!(Digest::of("d", a.as_bytes()), Digest::of("e", a.as_bytes()));
    }
}
