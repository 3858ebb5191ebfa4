//! Checks a record with nothing but what is in it. Pure.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::bundle::{Bundle, Line};
use super::key::{key_id, signature_is_by};
use super::text_of;
use crate::journal::{Checkpoint, Head, RecordKey, Recorded, RunId, commitment, entry_hash, head_hash};

/// What was done to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tampering {
    /// An entry, a body or a signature is not what it was.
    Edited,
    /// An entry or a body is missing.
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
    /// The first entry that it spoils; none where it is beside the entries.
    pub seq: Option<i64>,
    /// What was done.
    pub kind: Tampering,
    /// In words.
    pub what: String,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Entries that were read.
    pub entries: i64,
    /// The newest entry under a valid signature; 0: none.
    pub signed_to: i64,
    /// Whether every entry is under a valid signature.
    pub signed: bool,
    /// Whether the head that the asker knows is in the chain over the ends of runs.
    pub anchored: bool,
    /// Entries whose body was erased.
    pub erased: i64,
    /// Changes, the first entry first.
    pub faults: Vec<Fault>,
}

impl Report {
    fn fault(&mut self, seq: Option<i64>, kind: Tampering, what: String) {
        self.faults.push(Fault { seq, kind, what });
    }
}

/// What the asker knows from elsewhere, and no forger of the record could change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trusted<'a> {
    /// The only public key (base64) that may have signed.
    pub key: Option<&'a str>,
    /// A hash of the chain over the ends of runs.
    pub head: Option<&'a str>,
}

/// Checks one run's record.
pub fn check(bundle: &Bundle, trusted: Trusted<'_>) -> Report {
    let mut report = check_run(bundle, trusted.key);
    report.anchored = ends(&bundle.heads, trusted.head, &mut report.faults);
    for name in &bundle.changed_files {
        report.fault(None, Tampering::Edited, format!("{name} is not what the manifest says"));
    }
    report
}

/// Checks a run's entries, signatures and own ends. Faults beside the entries come last: they follow
/// from a change of an entry, most often.
pub(super) fn check_run(bundle: &Bundle, key: Option<&str>) -> Report {
    let mut report = Report { entries: bundle.lines.len() as i64, ..Report::default() };
    let hashes = entries(bundle, &mut report);
    signatures(bundle, &hashes, key, &mut report);
    own_ends(bundle, &hashes, &mut report);
    report.signed = report.signed_to > 0 && report.signed_to == bundle.last_seq;
    report.faults.sort_by_key(|fault| fault.seq.unwrap_or(i64::MAX));
    report
}

/// Goes along the chain, and gives the hashes up to its first fault.
fn entries(bundle: &Bundle, report: &mut Report) -> HashMap<i64, String> {
    let (mut hashes, mut prev) = (HashMap::new(), String::new());
    for (at, line) in bundle.lines.iter().enumerate() {
        let expected = at as i64 + 1;
        let entry = match line {
            Line::Entry(entry) => entry,
            Line::Broken(why) => {
                let what = format!("entry {expected} cannot be read: {why}");
                report.fault(Some(expected), Tampering::Edited, what);
                return hashes;
            }
        };
        let own = entry_hash(&bundle.run, entry.seq, entry.ts, &entry.commitment, &entry.prev);
        let is_whole = own.as_str() == entry.hash;
        if entry.seq != expected {
            let kind = misplaced(&bundle.lines[at..], entry.seq, expected, is_whole);
            let what = format!("entry {} stands where entry {expected} belongs", entry.seq);
            report.fault(Some(expected), kind, what);
            return hashes;
        }
        if !is_whole || entry.prev != prev {
            let what = format!("entry {expected} does not continue the chain");
            report.fault(Some(expected), Tampering::Edited, what);
            return hashes;
        }
        match body(entry) {
            Body::Sound => {}
            Body::Erased => report.erased += 1,
            Body::Missing => {
                let what = format!("the body of entry {expected} is missing");
                report.fault(Some(expected), Tampering::Removed, what);
                return hashes;
            }
            Body::Changed => {
                let what = format!("the body of entry {expected} was changed");
                report.fault(Some(expected), Tampering::Edited, what);
                return hashes;
            }
        }
        prev.clone_from(&entry.hash);
        hashes.insert(expected, entry.hash.clone());
    }
    if report.entries < bundle.last_seq {
        let what = format!("the record ends after entry {}; it had {}", report.entries, bundle.last_seq);
        report.fault(Some(report.entries + 1), Tampering::Truncated, what);
    } else if report.entries > bundle.last_seq {
        let what = format!("the record had {} entries", bundle.last_seq);
        report.fault(Some(bundle.last_seq + 1), Tampering::Inserted, what);
    } else if prev != bundle.head {
        let what = format!("entry {} is not the one at which the record ended", report.entries);
        report.fault(Some(report.entries), Tampering::Edited, what);
    }
    hashes
}

/// Why entry `seq` stands first in `rest`, where `expected` belongs.
fn misplaced(rest: &[Line], seq: i64, expected: i64, is_whole: bool) -> Tampering {
    let is_expected = |line: &Line| matches!(line, Line::Entry(entry) if entry.seq == expected);
    match () {
        () if !is_whole => Tampering::Edited,
        () if seq < expected => Tampering::Inserted,
        () if rest.iter().any(is_expected) => Tampering::Reordered,
        () => Tampering::Removed,
    }
}

enum Body {
    Sound,
    /// With its salt, as retention does it.
    Erased,
    Missing,
    Changed,
}

fn body(entry: &Recorded) -> Body {
    match (&entry.body, &entry.salt) {
        (None, None) => Body::Erased,
        (None, Some(_)) => Body::Missing,
        (Some(body), Some(salt)) => match bytes(salt) {
            Some(salt) if commitment(&salt, body) == entry.commitment => Body::Sound,
            _ => Body::Changed,
        },
        (Some(_), None) => Body::Changed,
    }
}

/// Bytes from hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Why a checkpoint is not to be believed, whatever it covers; none when it is.
fn forged(point: &Checkpoint, keys: &[RecordKey], trusted: Option<&str>) -> Option<String> {
    let place = format!("the signature over entry {} of {}", point.seq, point.chain);
    let key = keys.iter().find(|key| key.id == point.key);
    let Some(key) = key else { return Some(format!("{place} is by key {}, which is not listed", point.key)) };
    let own = STANDARD.decode(&key.public_key).map(|raw| key_id(&raw));
    if own.as_deref() != Ok(key.id.as_str()) {
        return Some(format!("the public key {} is another one", key.id));
    }
    if !signature_is_by(&key.public_key, &text_of(point), &point.signature) {
        return Some(format!("{place} is not by key {}", point.key));
    }
    let strange = trusted.is_some_and(|trusted| trusted != key.public_key);
    strange.then(|| format!("{place} is by key {}, not by the one given", point.key))
}

fn signatures(bundle: &Bundle, hashes: &HashMap<i64, String>, trusted: Option<&str>, report: &mut Report) {
    let sound = report.faults.is_empty();
    for point in &bundle.checkpoints {
        let own = point.chain == bundle.run.as_str();
        if let Some(what) = forged(point, &bundle.keys, trusted) {
            report.fault(own.then_some(point.seq), Tampering::Edited, what);
        } else if own && hashes.get(&point.seq) == Some(&point.hash) {
            report.signed_to = report.signed_to.max(point.seq);
        } else if own && sound && point.seq > report.entries {
            let what = format!("entry {} was signed and is missing", point.seq);
            report.fault(Some(report.entries + 1), Tampering::Truncated, what);
        } else if own && sound {
            let what = format!("entry {} is not the one that was signed", point.seq);
            report.fault(Some(point.seq), Tampering::Edited, what);
        }
    }
}

/// Whether the run's own ends are in its record.
fn own_ends(bundle: &Bundle, hashes: &HashMap<i64, String>, report: &mut Report) {
    if !report.faults.is_empty() {
        return;
    }
    for end in bundle.heads.iter().filter(|end| end.run == bundle.run) {
        if end.seq > report.entries {
            let what = format!("the run once ended at entry {}", end.seq);
            return report.fault(Some(report.entries + 1), Tampering::Truncated, what);
        }
        if hashes.get(&end.seq) != Some(&end.head) {
            let what = format!("entry {} is not the one at which the run once ended", end.seq);
            return report.fault(Some(end.seq), Tampering::Edited, what);
        }
    }
}

/// Checks a piece of the chain over the ends of runs. Whether `head` is in it.
pub(super) fn ends(heads: &[Head], head: Option<&str>, faults: &mut Vec<Fault>) -> bool {
    let mut fault = |kind, what| faults.push(Fault { seq: None, kind, what });
    let mut last: Option<&Head> = None;
    for end in heads {
        let hash = head_hash(end.n, &end.run, end.seq, &end.head, &end.prev);
        let follows = last.is_none_or(|last| end.prev == last.hash && end.n == last.n + 1);
        if hash.as_str() != end.hash || !follows {
            fault(
                Tampering::Edited,
                format!("end {} does not continue the chain over the ends of runs", end.n),
            );
            return false;
        }
        last = Some(end);
    }
    let anchored = head.is_some_and(|head| heads.iter().any(|end| end.hash == head));
    if head.is_some() && !anchored {
        fault(
            Tampering::Truncated,
            "the head that was given is not in the chain over the ends of runs".to_owned(),
        );
    }
    anchored
}

/// Checks the whole chain over the ends of runs as a journal holds it. Whether `trusted.head` is in it.
pub(super) fn all_ends(
    heads: &[Head],
    checkpoints: &[Checkpoint],
    keys: &[RecordKey],
    is_there: impl Fn(&RunId) -> bool,
    trusted: Trusted<'_>,
    faults: &mut Vec<Fault>,
) -> bool {
    let anchored = ends(heads, trusted.head, faults);
    let mut fault = |kind, what| faults.push(Fault { seq: None, kind, what });
    if heads.first().is_some_and(|first| first.n != 1 || !first.prev.is_empty()) {
        fault(Tampering::Removed, "the chain over the ends of runs does not begin at its first".to_owned());
    }
    for point in checkpoints {
        let covered = heads.iter().find(|end| end.n == point.seq);
        if let Some(what) = forged(point, keys, trusted.key) {
            fault(Tampering::Edited, what);
        } else if covered.is_none() {
            fault(Tampering::Truncated, format!("end {} of a run was signed and is missing", point.seq));
        } else if covered.is_some_and(|end| end.hash != point.hash) {
            fault(Tampering::Edited, format!("end {} of a run is not the one that was signed", point.seq));
        }
    }
    for end in heads.iter().filter(|end| !is_there(&end.run)) {
        fault(Tampering::Removed, format!("run {} ended and is not in the record", end.run));
    }
    anchored
}
