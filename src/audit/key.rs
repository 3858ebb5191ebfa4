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
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = match options.open(path) {
            Ok(file) => file,
            // Another process was quicker.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Ok((Self::read(path)?, false));
            }
            Err(error) => return Err(fault(error.to_string())),
        };
        let pem = format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(document.as_ref()));
        file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| fault(e.to_string()))?;
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

/// The name of a public key.
pub(super) fn key_id(public_key: &[u8]) -> String {
    hex(Sha256::digest(public_key).get(..ID_BYTES).unwrap_or_default())
}

/// Whether `signature` (base64) of `text` is by the owner of `public_key` (base64).
pub fn signature_is_by(public_key: &str, text: &str, signature: &str) -> bool {
    let (Ok(key), Ok(signature)) = (STANDARD.decode(public_key), STANDARD.decode(signature)) else {
        return false;
    };
    UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).is_ok()
}
