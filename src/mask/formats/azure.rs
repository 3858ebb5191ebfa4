//! Azure, Azure DevOps and Entra.
//!
//! Since 2022 Azure keys carry a signature of four characters at a fixed place, so that they can
//! be found (learn.microsoft.com, "identifiable keys"); the place depends on the length of the key.

use super::Part::{Run, Text};
use super::*;

/// The last character before `==` of a key of 64 bytes holds only two bits.
fn two_bits(byte: u8) -> bool {
    matches!(byte, b'A' | b'Q' | b'g' | b'w')
}
fn a_to_d(byte: u8) -> bool {
    matches!(byte, b'A'..=b'D')
}
fn a_to_l(byte: u8) -> bool {
    matches!(byte, b'A'..=b'L')
}
fn a_to_p(byte: u8) -> bool {
    matches!(byte, b'A'..=b'P')
}
/// How the annotated keys say whether they are a primary key, a derived key or a hash.
fn kind(byte: u8) -> bool {
    matches!(byte, b'9' | b'D' | b'H')
}
/// What Entra makes client secrets of.
fn entra(byte: u8) -> bool {
    name(byte) || byte == b'~' || byte == b'.'
}
/// Line breaks may fold a certificate bundle.
fn folded_base64(byte: u8) -> bool {
    base64_padded(byte) || byte == b'\n' || byte == b'\r'
}

/// 32 bytes: 33 characters, signature, checksum, `=`.
const KEY_32: &[Part] = &[Run(a_to_p, 1, 1), Run(base64, 5, 5), Text("=")];
/// 64 bytes: 76 characters, signature, checksum, `==`.
const KEY_64: &[Part] = &[Run(base64, 5, 5), Run(two_bits, 1, 1), Text("==")];
/// The annotated keys of Azure DevOps, Azure AI, Maps, SQL and more: 52 characters, `JQQJ9`, kind,
/// when it was made, who issued it, checksum.
const ANNOTATED: &[Part] = &[
    Text("9"),
    Run(kind, 1, 1),
    Run(alnum, 1, 1),
    Run(a_to_l, 1, 1),
    Run(alnum, 16, 16),
    Run(alpha, 1, 1),
    Run(alnum, 7, 9),
    Run(equals, 0, 2),
];

const fn key_32(class: &'static str, anchor: &'static [&'static str]) -> Format {
    Format::new(class, anchor, KEY_32).lead(base64, 33, 33).edges(base64_any, base64_padded)
}

const fn key_64(class: &'static str, anchor: &'static [&'static str]) -> Format {
    Format::new(class, anchor, KEY_64).lead(base64, 76, 76).edges(base64_any, base64_padded)
}

pub(super) static FORMATS: &[Format] = &[
    Format::new("azure-annotated-key", &["JQQJ"], ANNOTATED).lead(alnum, 52, 52).edges(alnum, none),
    Format::new("entra-client-secret", &["Q~"], &[Run(entra, 31, 34)]).lead(entra, 4, 4).edges(entra, entra),
    Format::new("azure-function-key", &["AzFu"], &[Run(name, 5, 5), Run(two_bits, 1, 1), Text("==")])
        .lead(name, 44, 44)
        .edges(name, name),
    Format::new("azure-search-key", &["AzSe"], &[Run(a_to_d, 1, 1), Run(alnum, 5, 5)])
        .lead(alnum, 42, 42)
        .edges(base64_any, base64_padded),
    Format::new("azure-registry-key", &["+ACR"], &[Run(a_to_d, 1, 1), Run(base64, 5, 5)])
        .lead(base64, 42, 42)
        .edges(base64_any, base64_padded),
    key_32("azure-relay-key", &["+ARm"]),
    key_32("azure-event-hub-key", &["+AEh"]),
    key_32("azure-service-bus-key", &["+ASb"]),
    key_32("azure-iot-key", &["AIoT"]),
    key_32("azure-redis-key", &["AzCa"]),
    key_32("azure-event-grid-key", &["AZEG"]),
    key_64("azure-storage-key", &["+ASt"]),
    key_64("azure-cosmos-key", &["ACDb"]),
    key_64("azure-batch-key", &["+ABa"]),
    key_64("azure-ml-key", &["+AMC"]),
    key_64("azure-apim-key", &["APIM"]),
    Format::new("databricks-token", &["dapi"], &[Run(hex_dash, 32, 34)]).edges(hex_dash, hex_dash).bits(2.5),
    Format::new("teams-webhook", &[".webhook.office.com/webhookb2/"], &[Run(path, 40, 600)]),
    Format::new("pkcs12-bundle", &["IBAzCC"], &[Run(folded_base64, 0, 65_536)]).lead(base64, 6, 6).bits(0.0),
    Format::new("github-scan-sample", &["secret_scanning_ab85"], &[Run(word, 20, 80)]),
];

fn hex_dash(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')
}
