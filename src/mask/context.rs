//! Secrets that are known by where they stand: key blocks, addresses with a password, request
//! headers, signatures in addresses, cloud accounts, command lines, manifests.

use super::formats::{base64, base64_any, base64_padded};
use super::judge;
use super::span::{Certainty, Span};

/// Longest block of a private key, in bytes.
const MAX_KEY_BLOCK_BYTES: usize = 64 * 1024;
/// How far, in bytes, an account's key may stand behind the account's address.
const MAX_ACCOUNT_REACH_BYTES: usize = 1024;
/// How far, in bytes, a command line may go on.
const MAX_COMMAND_BYTES: usize = 2048;
/// Longest manifest, in bytes, that is searched to each side of its kind.
const MAX_MANIFEST_BYTES: usize = 16 * 1024;
/// Longest user and password in an address, in bytes.
const MAX_USERINFO_BYTES: usize = 2048;
/// Longest value of a header, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// What stands at an anchor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Context {
    KeyBlock,
    PuttyKey,
    UserInfo,
    Header,
    Scheme,
    Cookie,
    SharedAccess,
    Account(usize, usize, &'static str),
    Curl,
    Netrc,
    Manifest,
    SecureString,
}

/// Anchors in lower case, found in any case.
pub(super) const ANCHORS: &[(&str, Context)] = &[
    ("-----begin", Context::KeyBlock),
    ("private-lines:", Context::PuttyKey),
    ("://", Context::UserInfo),
    ("authorization", Context::Header),
    ("bearer ", Context::Scheme),
    ("bearer%20", Context::Scheme),
    ("basic ", Context::Scheme),
    ("sharedkey ", Context::Scheme),
    ("set-cookie:", Context::Cookie),
    ("sig=", Context::SharedAccess),
    ("dsas_secret=", Context::SharedAccess),
    (".documents.azure.com", Context::Account(86, 2, "azure-cosmos-key")),
    (".core.windows.net", Context::Account(86, 2, "azure-storage-key")),
    ("accountname", Context::Account(86, 2, "azure-storage-key")),
    ("storagename", Context::Account(86, 2, "azure-storage-key")),
    ("storageaccount", Context::Account(86, 2, "azure-storage-key")),
    (".servicebus.windows", Context::Account(43, 1, "azure-service-bus-key")),
    (".azure-devices.net", Context::Account(43, 1, "azure-iot-key")),
    (".azconfig.io", Context::Account(43, 1, "azure-app-config-key")),
    ("curl", Context::Curl),
    ("machine ", Context::Netrc),
    ("kind:", Context::Manifest),
    ("convertto-securestring", Context::SecureString),
];

/// The secrets at an anchor that stands at `start..end` of `text`.
pub(super) fn find(context: Context, text: &str, start: usize, end: usize, found: &mut Vec<Span>) {
    match context {
        Context::KeyBlock => found.extend(key_block(text, start)),
        Context::PuttyKey => found.extend(putty_key(text, end)),
        Context::UserInfo => found.extend(user_info(text, end)),
        Context::Header => found.extend(header(text, end)),
        Context::Scheme => found.extend(scheme(text, start, end)),
        Context::Cookie => found.extend(cookie(text, end)),
        Context::SharedAccess => found.extend(shared_access(text, start, end)),
        Context::Account(length, padding, class) => account(text, end, (length, padding), class, found),
        Context::Curl => curl(text, start, end, found),
        Context::Netrc => found.extend(netrc(text, end)),
        Context::Manifest => manifest(text, start, end, found),
        Context::SecureString => found.extend(secure_string(text, end)),
    }
}

fn span(start: usize, end: usize, class: &'static str) -> Option<Span> {
    (start < end).then_some(Span { start, end, class, certainty: Certainty::Format })
}

/// `text[from..]`, at most `most` bytes, cut at a character.
fn window(text: &str, from: usize, most: usize) -> &str {
    let mut end = text.len().min(from.saturating_add(most));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(from..end).unwrap_or_default()
}

fn find_fold(text: &str, lower: &str) -> Option<usize> {
    text.as_bytes().windows(lower.len()).position(|piece| piece.eq_ignore_ascii_case(lower.as_bytes()))
}

fn key_block(text: &str, start: usize) -> Option<Span> {
    let block = window(text, start, MAX_KEY_BLOCK_BYTES);
    let head = window(block, 0, 140);
    let title = find_fold(head, "private key")?;
    let body = title + "private key".len();
    // To the end line; without one, to the first line that no key has.
    let end = match find_fold(block.get(body..)?, "-----end") {
        Some(at) => {
            let close = body + at + "-----end".len();
            close + block.get(close..)?.find("-----").map_or(0, |n| n + 5)
        }
        None => body + key_lines(block.get(body..)?),
    };
    span(start, start + end, "private-key")
}

/// How many bytes look like the body of a key.
fn key_lines(rest: &str) -> usize {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+/=-\r\n\\ \t:,\"'".contains(c);
    rest.find(|c: char| !fits(c)).unwrap_or(rest.len())
}

fn putty_key(text: &str, end: usize) -> Option<Span> {
    let rest = window(text, end, MAX_KEY_BLOCK_BYTES);
    let start = rest.find('\n')? + 1;
    let body = rest.get(start..)?;
    let length =
        body.find(|c: char| !(c.is_ascii_alphanumeric() || "+/=\r\n".contains(c))).unwrap_or(body.len());
    // The next field's name has been taken with the lines; give it back.
    let length = if body.get(length..).is_some_and(|tail| tail.starts_with(['-', ':'])) {
        body.get(..length)?.rfind('\n').map_or(0, |n| n + 1)
    } else {
        length
    };
    span(end + start, end + start + length, "private-key")
}

/// The password in `scheme://user:password@host`.
fn user_info(text: &str, end: usize) -> Option<Span> {
    let rest = window(text, end, MAX_USERINFO_BYTES);
    let stop = |c: char| c.is_whitespace() || "/?#\"'`<>\\".contains(c);
    let authority = rest.get(..rest.find(stop).unwrap_or(rest.len()))?;
    let at = authority.rfind('@')?;
    let colon = authority.get(..at)?.find(':')?;
    let password = authority.get(colon + 1..at)?;
    let plain = password.trim_matches('*').is_empty() || password.starts_with(['$', '{', '<', '%', '[']);
    let dummy =
        matches!(password.to_ascii_lowercase().as_str(), "password" | "pass" | "token" | "secret" | "pat");
    if plain || dummy {
        return None;
    }
    span(end + colon + 1, end + at, "url-password")
}

fn value_byte(byte: u8) -> bool {
    base64_padded(byte) || b".~@%:!*+".contains(&byte)
}

/// The length of a header's value at the start of `rest`.
fn value_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    bytes.iter().take(MAX_HEADER_BYTES).take_while(|byte| value_byte(**byte)).count()
}

/// What follows `Authorization`, with or without a scheme.
fn header(text: &str, end: usize) -> Option<Span> {
    let rest = text.get(end..)?;
    let skipped = rest.bytes().take(8).take_while(|byte| b"\"'`: =\\]\t,".contains(byte)).count();
    if skipped == 0 || !rest.get(..skipped)?.contains([':', '=', ',']) {
        return None;
    }
    let mut start = end + skipped;
    let first = value_length(text.get(start..)?);
    let word = text.get(start..start + first)?;
    let is_scheme = word.len() <= 16
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
        && text.get(start + first..)?.starts_with(' ');
    if is_scheme {
        start += first + 1;
    }
    let length = value_length(text.get(start..)?);
    let value = text.get(start..start + length)?;
    let likely = value.len() >= 8 && value.bytes().any(|byte| byte.is_ascii_digit() || base64_end(byte));
    let digit = value.bytes().any(|byte| byte.is_ascii_digit());
    let sure = is_scheme && (value.len() >= 8 || value.len() >= 4 && digit) && !judge::wordy(value);
    ((likely && !judge::wordy(value) || sure) && !judge::reference(value))
        .then(|| span(start, start + length, "authorization-header"))
        .flatten()
}

fn base64_end(byte: u8) -> bool {
    byte == b'=' || byte == b'+'
}

/// `Bearer x` and `Basic x` on their own.
fn scheme(text: &str, start: usize, end: usize) -> Option<Span> {
    let before = text.get(..start)?.bytes().next_back().unwrap_or(b' ');
    if before.is_ascii_alphanumeric() {
        return None;
    }
    let length = value_length(text.get(end..)?);
    let value = text.get(end..end + length)?;
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let long = value.len() >= 20 && digits > 1 && !judge::wordy(value);
    // user:password in base64 is short; it must decode.
    let basic = value.len() >= 8 && text.get(start..end)?.eq_ignore_ascii_case("basic ") && pair(value);
    if (long || basic) && !judge::reference(value) {
        return span(end, end + length, "authorization-header");
    }
    None
}

/// Whether `value` is base64 of `user:password`.
fn pair(value: &str) -> bool {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(value).unwrap_or_default();
    std::str::from_utf8(&bytes).is_ok_and(|text| text.contains(':') && !text.chars().any(char::is_control))
}

fn cookie(text: &str, end: usize) -> Option<Span> {
    let rest = window(text, end, MAX_HEADER_BYTES);
    let line = rest.get(..rest.find(['\n', '\r', ';', '"']).unwrap_or(rest.len()))?;
    let equals = line.find('=')?;
    let value = line.get(equals + 1..)?;
    let opaque = value.len() >= 16 && value.bytes().any(|byte| byte.is_ascii_digit()) && !judge::wordy(value);
    (opaque && !judge::reference(value)).then(|| span(end + equals + 1, end + line.len(), "cookie")).flatten()
}

/// The signature of a shared access signature or of a signed callback address.
fn shared_access(text: &str, start: usize, end: usize) -> Option<Span> {
    let before = text.get(..start)?.bytes().next_back().unwrap_or(b'?');
    if before.is_ascii_alphanumeric() || before == b'-' {
        return None;
    }
    let rest = text.as_bytes().get(end..)?;
    let length = rest.iter().take(200).take_while(|b| base64_padded(**b) || **b == b'%').count();
    (length >= 40).then(|| span(end, end + length, "shared-access-signature")).flatten()
}

/// Keys of exactly this length in the same line, behind the account that they open.
fn account(text: &str, end: usize, shape: (usize, usize), class: &'static str, found: &mut Vec<Span>) {
    let reach = window(text, end, MAX_ACCOUNT_REACH_BYTES);
    let line = reach.get(..reach.find('\n').unwrap_or(reach.len())).unwrap_or_default().as_bytes();
    let (length, padding) = shape;
    let mut at = 0;
    while at < line.len() {
        let run = line.iter().skip(at).take_while(|b| base64(**b) || **b == b'\\').count();
        let pads = line.iter().skip(at + run).take_while(|byte| **byte == b'=').count();
        if run >= length && run <= length + 4 && pads == padding {
            found.extend(span(end + at, end + at + run + pads, class));
        }
        at += run + pads.max(1);
    }
}

/// `curl -u user:password`, also over a few lines.
fn curl(text: &str, start: usize, end: usize, found: &mut Vec<Span>) {
    let before = text.get(..start).and_then(|t| t.bytes().next_back()).unwrap_or(b' ');
    if before.is_ascii_alphanumeric() {
        return;
    }
    let command = window(text, end, MAX_COMMAND_BYTES);
    curl_headers(command, end, found);
    for option in ["-u", "--user"] {
        for (at, _) in command.match_indices(option) {
            let lead = command.get(..at).and_then(|t| t.bytes().next_back()).unwrap_or(b'x');
            let rest = command.get(at + option.len()..).unwrap_or_default();
            let blanks = rest.bytes().take(4).take_while(|byte| b" =\t\"'".contains(byte)).count();
            if !lead.is_ascii_whitespace() || blanks == 0 {
                continue;
            }
            let value = rest.get(blanks..).unwrap_or_default();
            let value =
                value.get(..value.find([' ', '\n', '\r', '\t']).unwrap_or(value.len())).unwrap_or_default();
            let value = value.trim_end_matches(['"', '\'']);
            let Some(colon) = value.find(':') else { continue };
            let from = end + at + option.len() + blanks;
            // Azure DevOps takes a token on either side of the colon.
            for (piece, offset) in [(value.get(..colon), 0), (value.get(colon + 1..), colon + 1)] {
                let piece = piece.unwrap_or_default();
                let password = offset > 0 && piece.len() >= 3 && !judge::reference(piece);
                let token =
                    offset == 0 && piece.len() >= 20 && !judge::wordy(piece) && !judge::reference(piece);
                let token = token || offset == 0 && colon + 1 == value.len() && piece.len() >= 3;
                if (password || token) && !piece.starts_with(['$', '<', '{', '%', '\'', '"']) || quoted(piece)
                {
                    found.extend(span(from + offset, from + offset + piece.len(), "curl-password"));
                }
            }
        }
    }
}

/// `-H 'X-Api-Key: value'`.
fn curl_headers(command: &str, from: usize, found: &mut Vec<Span>) {
    for option in ["-H", "--header"] {
        for (at, _) in command.match_indices(option) {
            let at = at + option.len();
            let rest = command.get(at..).unwrap_or_default();
            let open = rest.bytes().take(8).take_while(|byte| b" =\t\"'".contains(byte)).count();
            let header = rest.get(open..).unwrap_or_default();
            let header =
                header.get(..header.find(['"', '\'', '\n']).unwrap_or(header.len())).unwrap_or_default();
            let Some((name, value)) = header.split_once(':') else { continue };
            let telling =
                ["key", "token", "auth", "secret", "cookie"].iter().any(|w| find_fold(name, w).is_some());
            let value = value.trim();
            let word = value.rsplit(' ').next().unwrap_or_default();
            if telling && word.len() >= 8 && !judge::reference(word) {
                let end = from + at + open + header.trim_end().len();
                found.extend(span(end - word.len(), end, "authorization-header"));
            }
        }
    }
}

/// Whether a side of the pair has quotes of its own around a value.
fn quoted(piece: &str) -> bool {
    let inner = piece.trim_matches(['"', '\'']);
    inner.len() < piece.len() && inner.len() >= 3 && !judge::reference(inner) && !inner.starts_with('$')
}

/// `machine host login user password x`.
fn netrc(text: &str, end: usize) -> Option<Span> {
    let reach = window(text, end, 400);
    let login = reach.find("login")?;
    let at = login + reach.get(login..)?.find("password")? + "password".len();
    let blanks = reach.get(at..)?.bytes().take_while(u8::is_ascii_whitespace).count();
    let value = reach.get(at + blanks..)?;
    let value = value.get(..value.find(char::is_whitespace).unwrap_or(value.len()))?;
    (blanks > 0 && !judge::reference(value))
        .then(|| span(end + at + blanks, end + at + blanks + value.len(), "netrc-password"))
        .flatten()
}

/// The values under `data:` of a Kubernetes Secret.
fn manifest(text: &str, start: usize, end: usize, found: &mut Vec<Span>) {
    let kind = window(text, end, 20).trim_start_matches([' ', '\t', '"', '\'']);
    if !kind.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("secret"))
        || kind.as_bytes().get(6).is_some_and(|byte| base64_any(*byte))
    {
        return;
    }
    let mut from = start.saturating_sub(MAX_MANIFEST_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let from = text.get(from..start).and_then(|t| t.rfind("\n---")).map_or(from, |at| from + at + 4);
    let rest = window(text, end, MAX_MANIFEST_BYTES);
    let to = end + rest.find("\n---").unwrap_or(rest.len());
    let mut inside = false;
    let mut at = from;
    for line in text.get(from..to).unwrap_or_default().split_inclusive('\n') {
        let trimmed = line.trim();
        let key = trimmed.split(':').next().unwrap_or_default();
        let value = trimmed.strip_prefix(key).unwrap_or_default().trim_start_matches(':').trim();
        let value = value.trim_matches(['"', '\'', ',']);
        if matches!(key.trim_matches('"'), "data" | "stringData") {
            inside = true;
        } else if inside && !line.starts_with([' ', '\t', '\n', '\r']) && !trimmed.is_empty() {
            inside = false;
        }
        if inside && value.len() >= 3 && !judge::reference(value) && !matches!(value, "|" | ">" | ">-" | "|-")
        {
            let offset = line.rfind(value).unwrap_or_default();
            found.extend(span(at + offset, at + offset + value.len(), "kubernetes-secret"));
        } else if inside && !trimmed.contains(':') && trimmed.len() >= 8 && !judge::reference(trimmed) {
            let offset = line.find(trimmed).unwrap_or_default();
            found.extend(span(at + offset, at + offset + trimmed.len(), "kubernetes-secret"));
        }
        at += line.len();
    }
}

/// `ConvertTo-SecureString "plain" -AsPlainText`.
fn secure_string(text: &str, end: usize) -> Option<Span> {
    let rest = window(text, end, 400);
    let line = rest.get(..rest.find('\n').unwrap_or(rest.len()))?;
    let open = line.find(['"', '\''])?;
    let quote = line.get(open..)?.chars().next()?;
    let value = line.get(open + 1..)?;
    let value = value.get(..value.find(quote)?)?;
    (!judge::reference(value))
        .then(|| span(end + open + 1, end + open + 1 + value.len(), "password"))
        .flatten()
}
