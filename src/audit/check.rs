//! Checks a record with nothing but what is in it. Pure.

use std::collections::HashMap;

use super::bundle::Bundle;
use super::key::key_id;
use super::{signature_is_by, text_of};
use crate::journal::{Recorded, commitment, entry_hash, head_hash};
use base64::Engine as _;

/// What was done to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// An entry, a body or a signature is not what it was.
    Edited,
    /// An entry is missing.
    Removed,
    /// An entry is there that was not.
    Inserted,
    /// Entries changed places.
    Reordered,
    /// The end is missing.
    Truncated,
}

/// A change that was found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// The first entry that it spoils; 0: it is beside the entries.
    pub seq: i64,
    /// What was done.
    pub kind: Change,
    /// In words.
    pub what: String,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Entries that were read.
    pub entries: i64,
    /// Changes, the first entry first.
    pub faults: Vec<Fault>,
    /// The newest entry under a valid signature; 0: none.
    pub signed_to: i64,
    /// Whether every entry is under a valid signature.
    pub signed: bool,
    /// Whether the head that the asker knows is in the chain over the ends of runs.
    pub anchored: bool,
    /// Entries whose body was erased.
    pub erased: i64,
}

/// Checks `bundle`. `public_key` (base64) is the only key that may have signed it, `head` a hash of
/// the chain over the ends of runs that the asker trusts.
pub fn check(bundle: &Bundle, public_key: Option<&str>, head: Option<&str>) -> Report {
    let mut report = Report { entries: bundle.entries.len() as i64, ..Report::default() };
    for name in &bundle.changed_files {
        fault(&mut report, 0, Change::Edited, format!("{name} is not what the manifest says"));
    }
    let hashes = entries(bundle, &mut report);
    signatures(bundle, &hashes, public_key, &mut report);
    ends(bundle, &hashes, head, &mut report);
    report.signed = report.signed_to > 0 && report.signed_to == bundle.last_seq;
    report.faults.sort_by_key(|fault| fault.seq);
    report
}

fn fault(report: &mut Report, seq: i64, kind: Change, what: String) {
    report.faults.push(Fault { seq, kind, what });
}

/// Goes along the chain, and gives the hashes up to its first fault.
fn entries(bundle: &Bundle, report: &mut Report) -> HashMap<i64, String> {
    let (mut hashes, mut prev) = (HashMap::new(), String::new());
    for (at, entry) in bundle.entries.iter().enumerate() {
        let expected = at as i64 + 1;
        if entry.seq != expected {
            let kind = misplaced(&bundle.entries, at, expected, bundle.last_seq);
            fault(report, expected, kind, format!("entry {} stands where entry {expected} belongs", entry.seq));
            return hashes;
        }
        let hash = entry_hash(&bundle.run, entry.seq, entry.ts, &entry.commitment, &prev);
        if entry.prev != prev || hash.as_str() != entry.hash {
            let what = format!("entry {expected} does not continue the chain");
            fault(report, expected, Change::Edited, what);
            return hashes;
        }
        match body_is_sound(entry) {
            Some(true) => {}
            None => report.erased += 1,
            Some(false) => {
                fault(report, expected, Change::Edited, format!("the body of entry {expected} was changed"));
                return hashes;
            }
        }
        prev.clone_from(&entry.hash);
        hashes.insert(expected, entry.hash.clone());
    }
    if report.entries < bundle.last_seq || (report.entries == bundle.last_seq && prev != bundle.head) {
        let what = format!("the record ends after entry {}; it had {}", report.entries, bundle.last_seq);
        fault(report, report.entries + 1, Change::Truncated, what);
    } else if report.entries > bundle.last_seq {
        let what = format!("the record had {} entries", bundle.last_seq);
        fault(report, bundle.last_seq + 1, Change::Inserted, what);
    }
    hashes
}

/// Why the entry at `at` is not the one that belongs there.
fn misplaced(entries: &[Recorded], at: usize, expected: i64, last: i64) -> Change {
    let wanted_later = entries[at..].iter().any(|entry| entry.seq == expected);
    match (wanted_later, (entries.len() as i64).cmp(&last)) {
        (_, std::cmp::Ordering::Greater) => Change::Inserted,
        (true, _) => Change::Reordered,
        (false, _) => Change::Removed,
    }
}

/// None: body and salt were erased, as retention does.
fn body_is_sound(entry: &Recorded) -> Option<bool> {
    match (&entry.body, &entry.salt) {
        (None, None) => None,
        (Some(body), Some(salt)) => {
            Some(bytes(salt).is_some_and(|salt| commitment(&salt, body) == entry.commitment))
        }
        _ => Some(false),
    }
}

/// Bytes from hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn signatures(
    bundle: &Bundle,
    hashes: &HashMap<i64, String>,
    trusted: Option<&str>,
    report: &mut Report,
) {
    let keys: HashMap<&str, &str> =
        bundle.keys.iter().map(|key| (key.id.as_str(), key.public_key.as_str())).collect();
    for key in &bundle.keys {
        let own = base64::engine::general_purpose::STANDARD.decode(&key.public_key).map(|raw| key_id(&raw));
        if own.as_deref() != Ok(key.id.as_str()) {
            fault(report, 0, Change::Edited, format!("the public key {} is another one", key.id));
        }
    }
    for point in &bundle.checkpoints {
        let key = keys.get(point.key.as_str()).copied().unwrap_or_default();
        let own = point.chain == bundle.run.as_str();
        let seq = if own { point.seq } else { 0 };
        if !signature_is_by(key, &text_of(point), &point.signature) {
            let what = format!("the signature at entry {} is not by key {}", point.seq, point.key);
            fault(report, seq, Change::Edited, what);
        } else if trusted.is_some_and(|trusted| trusted != key) {
            let what = format!("entry {} is signed by key {}, not by the one given", point.seq, point.key);
            fault(report, seq, Change::Edited, what);
        } else if own && hashes.get(&point.seq) != Some(&point.hash) {
            // An earlier fault ends the hashes; then this one follows from it.
            if report.faults.is_empty() {
                let what = format!("entry {} is not the one that was signed", point.seq);
                fault(report, seq, Change::Edited, what);
            }
        } else if own {
            report.signed_to = report.signed_to.max(point.seq);
        }
    }
}

fn ends(bundle: &Bundle, hashes: &HashMap<i64, String>, head: Option<&str>, report: &mut Report) {
    let mut last: Option<&crate::journal::Head> = None;
    for end in &bundle.heads {
        let hash = head_hash(end.n, &end.run, end.seq, &end.head, &end.prev);
        let follows = last.is_none_or(|last| end.prev == last.hash && end.n == last.n + 1);
        if hash.as_str() != end.hash || !follows {
            let what = format!("end {} does not continue the chain of ends", end.n);
            return fault(report, 0, Change::Edited, what);
        }
        let sound = report.faults.is_empty();
        if sound && end.run == bundle.run && hashes.get(&end.seq) != Some(&end.head) {
            let what = format!("entry {} is not the one at which the run ended", end.seq);
            fault(report, end.seq, Change::Truncated, what);
        }
        report.anchored |= head == Some(end.hash.as_str());
        last = Some(end);
    }
    if head.is_some() && !report.anchored {
        let what = "the head that was given is not in the chain of ends".to_owned();
        fault(report, 0, Change::Truncated, what);
    }
}
