//! The key that signs the record: Ed25519, from a file, or made beside the database.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use super::signed_text;
use crate::digest::hex;
use crate::journal::{Checkpoint, Unsigned};

/// Longest key file, in bytes.
const MAX_KEY_FILE: u64 = 16 * 1024;
/// Bytes of the digest that name a key.
const ID_BYTES: usize = 8;
/// Bytes of a public key.
const PUBLIC_KEY_BYTES: usize = 32;
/// What stands before an Ed25519 public key in its usual form (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the key file {path} cannot be used: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file holds something else.
    #[error(
        "{0} holds no Ed25519 private key in PKCS#8 PEM; make one with: openssl genpkey -algorithm ed25519 -out FILE"
    )]
    NotAKey(PathBuf),
    /// Others than its owner may read the file.
    #[error("others than its owner can read the key file {0}; set it to 0600")]
    Open(PathBuf),
}

/// A key that signs. It never leaves the process, and says nothing of itself but its public part.
pub struct Key {
    pair: Ed25519KeyPair,
    id: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    /// Reads the key from a PKCS#8 PEM file that only its owner can read.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let fault = |reason: String| KeyError::File { path: path.to_owned(), reason };
        let about = fs::metadata(path).map_err(|e| fault(e.to_string()))?;
        if about.len() > MAX_KEY_FILE {
            return Err(KeyError::NotAKey(path.to_owned()));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            if about.permissions().mode() & 0o077 != 0 {
                return Err(KeyError::Open(path.to_owned()));
            }
        }
        let text = fs::read_to_string(path).map_err(|e| fault(e.to_string()))?;
        Self::from_pem(&text).ok_or_else(|| KeyError::NotAKey(path.to_owned()))
    }

    fn from_pem(text: &str) -> Option<Self> {
        let inner = text.split(PEM_BEGIN).nth(1)?.split(PEM_END).next()?;
        let inner: String = inner.split_whitespace().collect();
        Self::from_pkcs8(&STANDARD.decode(inner).ok()?)
    }

    fn from_pkcs8(bytes: &[u8]) -> Option<Self> {
        // Tools write the form without the public key; it is worked out again.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).ok()?;
        let id = key_id(pair.public_key().as_ref());
        Some(Self { pair, id })
    }

    /// Reads the key at `path`, or makes one there. True: it was made now.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read_or_make(path: &Path) -> Result<(Self, bool), KeyError> {
        let fault = |reason: String| KeyError::File { path: path.to_owned(), reason };
        if path.exists() {
            return Ok((Self::read(path)?, false));
        }
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| fault("the system gives no random bytes".to_owned()))?;
        let pem = format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(document.as_ref()));
        // Whole before it has its name, so that nobody reads half of it.
        let partial = path.with_extension(format!("{}.partial", uuid::Uuid::new_v4().simple()));
        let written = write_private(&partial, &pem).and_then(|()| fs::hard_link(&partial, path));
        // It has its name, or is of no use.
        let _ = fs::remove_file(&partial);
        match written {
            Ok(()) => {}
            // Another process was quicker.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Ok((Self::read(path)?, false));
            }
            Err(error) => return Err(fault(error.to_string())),
        }
        let key = Self::from_pkcs8(document.as_ref()).ok_or_else(|| KeyError::NotAKey(path.to_owned()))?;
        Ok((key, true))
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the public key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key, base64.
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.pair.public_key().as_ref())
    }

    /// Signs a place in a chain. `ts_us` is the time, microseconds since 1970.
    pub fn sign(&self, place: &Unsigned, ts_us: i64) -> Checkpoint {
        let text = signed_text(&place.chain, place.seq, &place.hash, ts_us);
        Checkpoint {
            chain: place.chain.clone(),
            seq: place.seq,
            hash: place.hash.clone(),
            ts_us,
            key: self.id.clone(),
            signature: STANDARD.encode(self.pair.sign(text.as_bytes()).as_ref()),
        }
    }
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The name of a public key.
pub(super) fn key_id(public_key: &[u8]) -> String {
    hex(Sha256::digest(public_key).get(..ID_BYTES).unwrap_or_default())
}

/// A public key in base64, from what people have of it: its 32 bytes in base64, a public key in PEM
/// as `openssl pkey -pubout` writes it, or a file that holds one of these.
pub fn public_key(text: &str) -> Option<String> {
    let path = Path::new(text);
    let held = path.is_file().then(|| fs::read_to_string(path).ok()).flatten();
    let text = held.unwrap_or_else(|| text.to_owned());
    let inner: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let raw = STANDARD.decode(inner.trim()).ok()?;
    let key = match raw.strip_prefix(&SPKI) {
        Some(key) => key,
        None => &raw,
    };
    (key.len() == PUBLIC_KEY_BYTES).then(|| STANDARD.encode(key))
}

/// Whether `signature` (base64) of `text` is by the owner of `public_key` (base64).
pub(super) fn signature_is_by(public_key: &str, text: &str, signature: &str) -> bool {
    let (Ok(key), Ok(signature)) = (STANDARD.decode(public_key), STANDARD.decode(signature)) else {
        return false;
    };
    UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8410, section 10.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn a_key_that_another_tool_made_signs_and_is_told_by_its_public_part() {
        let key = Key::from_pem(PRIVATE).unwrap();
        assert_eq!(public_key(PUBLIC).as_deref(), Some(key.public_key().as_str()));
        assert_eq!(public_key(&key.public_key()).as_deref(), Some(key.public_key().as_str()));
        assert_eq!(public_key("AAAA"), None);
        let place = Unsigned { chain: "heads".into(), seq: 7, hash: "sha256:00".into() };
        let point = key.sign(&place, 12);
        let text = super::super::text_of(&point);
        assert!(signature_is_by(&key.public_key(), &text, &point.signature));
        assert!(!signature_is_by(&key.public_key(), &text.replace('7', "8"), &point.signature));
        assert_eq!(format!("{key:?}"), format!("Key({})", point.key), "a key says nothing of itself");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused_and_one_made_here_is_not() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record-key.pem");
        let (made, is_new) = Key::read_or_make(&path).unwrap();
        assert!(is_new);
        let (again, is_new) = Key::read_or_make(&path).unwrap();
        assert!(!is_new && again.id() == made.id());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Key::read_or_make(&path).unwrap_err();
        assert!(matches!(error, KeyError::Open(_)) && error.to_string().contains("0600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "nothing").unwrap();
        assert!(matches!(Key::read(&path), Err(KeyError::NotAKey(_))));
    }
}
