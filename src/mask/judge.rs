//! Whether a value that is assigned to something secret-sounding is a secret.
//!
//! Wrong guesses cost: a masked commit id or identifier makes the model blind to code. So a guess
//! needs a name that says secret and a value that reads like neither words nor a reference.

use super::words::{DUMMIES, HARMLESS_ENDS, HARMLESS_PARTS, KEY_OWNERS, PLAIN_WORDS, REFERENCES};

/// How loudly a name says that its value is secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Strength {
    /// password and its relatives: even a short value counts.
    Password,
    /// secret, token, API key.
    Strong,
    /// key, auth, access: only a value that can be nothing else.
    Weak,
}

/// How a value stands in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// Between quotes.
    Quoted,
    /// Without quotes, in code or a settings file.
    Bare,
    /// Between quotes in a file that holds settings only, in a connection string, or after a flag:
    /// nothing but a value can stand there.
    Setting,
}

/// Lower case, letters and digits only.
pub(super) fn plain(key: &str) -> String {
    key.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// How loudly the name `key` (in the form of [`plain`]) speaks; none when it is harmless.
pub(super) fn strength(key: &str) -> Option<Strength> {
    let harmless = HARMLESS_PARTS.iter().any(|part| key.contains(part))
        || HARMLESS_ENDS.iter().any(|end| key.ends_with(end) && !key.ends_with("secretid"));
    if harmless && !key.contains("authorization") {
        return None;
    }
    if ["password", "passwd", "pwd", "passphrase", "passwort"].iter().any(|word| key.contains(word)) {
        return Some(Strength::Password);
    }
    let strong =
        ["secret", "token", "apikey", "credential", "creds", "connectionstring", "authorization", "bearer"];
    if strong.iter().any(|word| key.contains(word)) || matches!(key, "pat" | "sas" | "sig") {
        return Some(Strength::Strong);
    }
    if let Some(owner) = key.strip_suffix("key")
        && KEY_OWNERS.iter().any(|known| owner.ends_with(known))
    {
        return Some(Strength::Strong);
    }
    ["key", "auth", "access", "api", "sig", "pat", "sas"]
        .iter()
        .any(|word| key.contains(word))
        .then_some(Strength::Weak)
}

/// Whether `value` only points to a secret, or stands for one in an example.
pub(super) fn reference(value: &str) -> bool {
    let lower = value.trim_start_matches(['"', '\'', '(', ' ']).to_ascii_lowercase();
    let same = value.bytes().all(|byte| Some(byte) == value.bytes().next());
    value.len() < 2
        || same
        || REFERENCES.iter().any(|start| lower.starts_with(start))
        || DUMMIES.iter().any(|part| lower.contains(part))
        || PLAIN_WORDS.contains(&lower.trim_matches(|c: char| !c.is_ascii_alphanumeric()))
        || (lower.contains("${") || lower.contains("$(") || lower.contains("{{"))
}

/// Whether `value`, which the text assigns to a name of this strength, is a secret.
pub(super) fn secret(strength: Strength, value: &str, style: Style) -> bool {
    if reference(value) {
        return false;
    }
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let prose = value.contains(' ') && value.split(' ').count() > 2 && value.is_ascii();
    match strength {
        _ if prose => false,
        Strength::Password if style == Style::Setting => value.len() >= 3,
        Strength::Password => {
            let symbol = value.bytes().any(|b| b.is_ascii_punctuation() && !b"._-:/".contains(&b));
            let bare_code = style == Style::Bare && (wordy(value) || value.contains("::"));
            let letters = style == Style::Quoted && value.len() >= 8 && !wordy(value);
            value.len() >= 6 && (digits > 0 || symbol || letters) && !bare_code
        }
        Strength::Strong if style == Style::Setting => {
            value.len() >= 8 && (digits > 0 || entropy(value) > 3.0)
        }
        Strength::Strong => {
            value.len() >= 10 && digits > 0 && entropy(value) >= 3.0 && !numeric(value) && !wordy(value)
        }
        Strength::Weak => {
            let cases = value.bytes().any(|b| b.is_ascii_uppercase())
                && value.bytes().any(|b| b.is_ascii_lowercase());
            value.len() >= if cases { 12 } else { 16 }
                && digits > usize::from(!cases)
                && entropy(value) >= if cases { 3.3 } else { 3.5 }
                && !numeric(value)
                && !wordy(value)
                && !checksum(value)
                && !guid(value)
        }
    }
}

/// Digits and the signs of dates, versions and addresses.
fn numeric(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit() || b".:-+/TZ_ ,".contains(&byte))
}

/// A hexadecimal hash of a usual length.
fn checksum(value: &str) -> bool {
    matches!(value.len(), 32 | 40 | 64 | 96 | 128) && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn guid(value: &str) -> bool {
    value.len() == 36 && value.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// Shannon entropy in bits for each byte.
pub(super) fn entropy(value: &str) -> f32 {
    let mut counts = [0_u32; 256];
    for byte in value.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    #[allow(clippy::cast_precision_loss)]
    let length = value.len().max(1) as f32;
    #[allow(clippy::cast_precision_loss)]
    let sum = counts.iter().filter(|count| **count > 0).map(|count| {
        let share = *count as f32 / length;
        -share * share.log2()
    });
    sum.sum()
}

/// Whether `value` looks drawn at random: a digit, or both cases in no order of words.
pub(super) fn random(value: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| value.bytes().any(|byte| kind(&byte));
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && entropy(value) > 3.0;
    (has(u8::is_ascii_digit) || mixed) && !wordy(value)
}

/// Whether `value` reads like words put together, as identifiers, paths and sentences do.
pub(super) fn wordy(value: &str) -> bool {
    let bytes = value.as_bytes();
    let hexadecimal = bytes.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    if hexadecimal && bytes.len() >= 16 && bytes.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let mut readable = 0;
    let mut letters = 0;
    let mut start = 0;
    while start < bytes.len() {
        if !bytes.get(start).is_some_and(u8::is_ascii_alphabetic) {
            start += 1;
            continue;
        }
        let mut end = start + 1;
        // A word: letters of one case, perhaps with a capital in front.
        while let Some(byte) = bytes.get(end).filter(|byte| byte.is_ascii_alphabetic()) {
            let before = bytes.get(end - 1).copied().unwrap_or_default();
            if byte.is_ascii_uppercase() && before.is_ascii_lowercase() {
                break;
            }
            end += 1;
        }
        letters += end - start;
        if readable_word(bytes.get(start..end).unwrap_or_default()) {
            readable += end - start;
        }
        start = end;
    }
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    letters > 0 && readable * 10 >= letters * 7 && digits * 3 <= letters
}

/// At least three letters of one case (perhaps a capital first), with vowels where people put them.
fn readable_word(word: &[u8]) -> bool {
    if word.len() < 3 {
        return false;
    }
    let tail = word.get(1..).unwrap_or_default();
    if tail.iter().any(u8::is_ascii_uppercase) && tail.iter().any(u8::is_ascii_lowercase) {
        return false;
    }
    let mut vowels = 0;
    let mut consonants_in_row = 0;
    for byte in word {
        if b"aeiouyAEIOUY".contains(byte) {
            vowels += 1;
            consonants_in_row = 0;
        } else {
            consonants_in_row += 1;
            if consonants_in_row > 4 {
                return false;
            }
        }
    }
    vowels * 5 >= word.len() && vowels < word.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_speak_as_loudly_as_they_should() {
        for (name, expected) in [
            ("dbPassword", Some(Strength::Password)),
            ("clientSecret", Some(Strength::Strong)),
            ("ACCOUNT_KEY", Some(Strength::Strong)),
            ("key", Some(Strength::Weak)),
            ("publicKeyToken", None),
            ("continuationToken", None),
            ("passwordLength", None),
            ("accessKeyId", None),
            ("author", None),
            ("Proxy-Authorization", Some(Strength::Strong)),
        ] {
            assert_eq!(strength(&plain(name)), expected, "{name}");
        }
    }

    #[test]
    fn references_words_and_numbers_are_no_secrets() {
        for value in [
            "$(DbPassword)",
            "${{ secrets.TOKEN }}",
            "process.env.TOKEN1",
            "changeme123",
            "2026-11-21T10:00:00",
            "userSessionV2",
            "aad.OGYxZTM4YWEtYTI3Yi03",
            "sha512-abcdefg1234567890",
        ] {
            assert!(!secret(Strength::Strong, value, Style::Quoted), "{value}");
        }
        assert!(secret(Strength::Strong, "k3J9xQ2vLm8Zp4", Style::Quoted));
        assert!(secret(Strength::Password, "hunter2", Style::Quoted));
        assert!(!secret(Strength::Weak, "da39a3ee5e6b4b0d3255bfef95601890afd80709", Style::Quoted));
    }
}
