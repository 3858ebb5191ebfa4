//! Finds runs of base64 and hexadecimal that hold text.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::formats::{Alphabet, base64, base64_any, hex};

/// Shortest run, in bytes, that is decoded.
const MIN_RUN_BYTES: usize = 24;
/// Longest run, in bytes, that is decoded. Longer ones are files; the head is looked at.
const MAX_RUN_BYTES: usize = 512 * 1024;
/// Bytes at the start of a run that must decode to text before the rest is decoded.
const PROBE_BYTES: usize = 48;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD_ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL_ENGINE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// A run and what it decodes to.
pub(super) struct Decoded {
    pub start: usize,
    pub end: usize,
    pub text: String,
}

/// The runs of `text` that decode to text.
pub(super) fn runs(text: &str) -> Vec<Decoded> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for (start, end) in find_runs(bytes, base64_any, MIN_RUN_BYTES) {
        let pads = bytes.iter().skip(end).take(2).take_while(|byte| **byte == b'=').count();
        let run = bytes.get(start..end.min(start + MAX_RUN_BYTES)).unwrap_or_default();
        if let Some(text) = hexadecimal(run) {
            found.push(Decoded { start, end, text });
        } else if let Some(text) = base64_text(run) {
            found.push(Decoded { start, end: end + pads, text });
        } else {
            // A dash or an underscore may also be punctuation between runs of the other alphabet.
            let inner =
                find_runs(run, base64, MIN_RUN_BYTES).into_iter().filter(|(from, to)| to - from < run.len());
            for (from, to) in inner {
                if let Some(text) = run.get(from..to).and_then(base64_text) {
                    found.push(Decoded { start: start + from, end: start + to, text });
                }
            }
        }
    }
    found
}

/// The maximal runs of `set` of at least `least` bytes. Looks at every `least`-th byte only,
/// until one of them may be inside of a run.
pub(super) fn find_runs(bytes: &[u8], set: Alphabet, least: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    // Everything before `floor` is known to hold no run.
    let mut floor = 0;
    let mut probe = least - 1;
    while let Some(byte) = bytes.get(probe) {
        if !set(*byte) {
            floor = probe + 1;
            probe += least;
            continue;
        }
        let before =
            bytes.get(floor..probe).unwrap_or_default().iter().rev().take_while(|b| set(**b)).count();
        let start = probe - before;
        let end = probe + bytes.get(probe..).unwrap_or_default().iter().take_while(|b| set(**b)).count();
        if end - start >= least {
            found.push((start, end));
        }
        floor = end;
        probe = end + least;
    }
    found
}

fn base64_text(run: &[u8]) -> Option<String> {
    let engine =
        if run.iter().any(|byte| matches!(byte, b'-' | b'_')) { &URL_ENGINE } else { &STANDARD_ENGINE };
    let probe = engine.decode(run.get(..PROBE_BYTES.min(run.len() / 4 * 4))?).ok()?;
    if !looks_like_text(&probe) {
        return None;
    }
    // A last character that cannot stand alone is dropped.
    let length = if run.len() % 4 == 1 { run.len() - 1 } else { run.len() };
    as_text(engine.decode(run.get(..length)?).ok()?)
}

fn hexadecimal(run: &[u8]) -> Option<String> {
    if run.len() % 2 == 1 || !run.iter().all(|byte| hex(*byte)) {
        return None;
    }
    let decode = |digits: &[u8]| -> Option<Vec<u8>> {
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    };
    let probe = decode(run.get(..PROBE_BYTES.min(run.len()))?)?;
    looks_like_text(&probe).then(|| decode(run).and_then(as_text))?
}

/// Printable ASCII, white space, parts of UTF-8, or the same with a zero after each character.
fn looks_like_text(bytes: &[u8]) -> bool {
    let wide = bytes.iter().skip(1).step_by(2).all(|byte| *byte == 0);
    let printable = |byte: &u8| matches!(byte, 0x20..=0x7e | b'\t' | b'\n' | b'\r') || *byte >= 0x80;
    let high = bytes.iter().filter(|byte| **byte >= 0x80).count();
    let narrow = bytes.iter().all(printable) && high * 4 <= bytes.len();
    bytes.len() > 8 && (narrow || wide && bytes.iter().step_by(2).all(printable))
}

fn as_text(bytes: Vec<u8>) -> Option<String> {
    if bytes.iter().skip(1).step_by(2).all(|byte| *byte == 0) {
        return String::from_utf8(bytes.into_iter().step_by(2).collect()).ok();
    }
    Some(String::from_utf8(bytes).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_wherever_the_probe_falls() {
        for before in 0..20 {
            let text = format!("{}{}!!", " ".repeat(before), "a".repeat(10));
            assert_eq!(find_runs(text.as_bytes(), hex, 10), [(before, before + 10)], "{before}");
            assert!(find_runs(text.as_bytes(), hex, 11).is_empty());
        }
        assert_eq!(find_runs(b"aaaa-aaaaa", hex, 4), [(0, 4), (5, 10)]);
    }

    #[test]
    fn text_is_decoded_and_binary_is_not() {
        let hidden = "user: alice, and what she said";
        let standard = base64::engine::general_purpose::STANDARD.encode(hidden);
        let utf16: Vec<u8> = hidden.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide = base64::engine::general_purpose::STANDARD.encode(utf16);
        let digits: String = hidden.bytes().map(|byte| format!("{byte:02x}")).collect();
        for encoded in [standard, wide, digits] {
            let text = format!("x = \"{encoded}\";");
            let found = runs(&text);
            assert_eq!(found.len(), 1, "{encoded}");
            assert_eq!(found[0].text, hidden);
            assert_eq!(&text[found[0].start..found[0].end], encoded);
        }
        assert!(runs("commit da39a3ee5e6b4b0d3255bfef95601890afd80709").is_empty());
        assert!(runs("src/simulator/seed/webshop/catalogue/products").is_empty());
    }
}
