//! The forms in which a secret could leave unseen.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter texts are looked for as they are only: parts of them stand everywhere.
const SHORTEST: usize = 12;

/// A text as it is, in base64 at each of the three offsets, in hexadecimal, URL-encoded and reversed.
pub fn forms(text: &str) -> Vec<(&'static str, String)> {
    let mut found = vec![("as it is", text.to_owned())];
    if text.len() < SHORTEST {
        return found;
    }
    for skip in 0..3_usize {
        // Without the characters at both ends, which depend on what stands beside it.
        let padded = [vec![0; skip], text.as_bytes().to_vec()].concat();
        let whole = padded.len() / 3 * 3;
        let from = if skip == 0 { 0 } else { 4 };
        for (form, engine) in [("in base64", STANDARD_NO_PAD), ("in base64 for addresses", URL_SAFE_NO_PAD)] {
            let encoded = engine.encode(&padded[..whole]);
            if !found.iter().any(|(_, known)| *known == encoded[from..]) {
                found.push((form, encoded[from..].to_owned()));
            }
        }
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    found.push(("in capital hexadecimal", hex.to_uppercase()));
    found.push(("in hexadecimal", hex));
    let encoded = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    if encoded != text {
        found.push(("URL-encoded", encoded));
    }
    found.push(("reversed", text.chars().rev().collect()));
    found
}

#[test]
fn every_form_is_found_where_it_stands() {
    let secret = "S3cret/value+with=signs";
    let around = format!("xx {secret} yy");
    let hidden = [
        around.clone(),
        STANDARD_NO_PAD.encode(&around),
        STANDARD_NO_PAD.encode(&around[1..]),
        URL_SAFE_NO_PAD.encode(&around[2..]),
        around.bytes().map(|byte| format!("{byte:02x}")).collect(),
        percent_encoding::utf8_percent_encode(&around, percent_encoding::NON_ALPHANUMERIC).to_string(),
        around.chars().rev().collect(),
    ];
    for text in hidden {
        assert!(forms(secret).iter().any(|(_, form)| text.contains(form)), "{text}");
    }
    assert!(!forms(secret).iter().any(|(_, form)| "nothing of that kind stands here".contains(form)));
}
