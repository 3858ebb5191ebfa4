//! Changes of a record, made at random and by hand, and the entry at which each is found.

use std::fs;

use ado_coworker::audit::{Bundle, Tampering, Trusted, check};
use sqlx::{Connection as _, Executor as _};

use super::{Recorded, audit_json, by_script};

/// Changes that are tried (GOVERNANCE: the mutation test).
const CHANGES: usize = 1_000;
/// Of these, one in so many is also given to the script.
const BY_SCRIPT: usize = 100;

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Changes `lines` in one way, and says at which entry that must be found.
fn change(numbers: &mut Numbers, lines: &mut Vec<Vec<u8>>) -> (String, i64) {
    let at = numbers.below(lines.len());
    match numbers.below(4) {
        0 => {
            let byte = numbers.below(lines[at].len());
            let before = lines[at][byte];
            while lines[at][byte] == before {
                lines[at][byte] = numbers.below(256) as u8;
            }
            (format!("byte {byte} of line {} edited", at + 1), at as i64 + 1)
        }
        1 => {
            let other = (at + 1 + numbers.below(lines.len() - 1)) % lines.len();
            lines.swap(at, other);
            (format!("lines {} and {} swapped", at + 1, other + 1), at.min(other) as i64 + 1)
        }
        2 => {
            lines.remove(at);
            (format!("line {} deleted", at + 1), at as i64 + 1)
        }
        _ => {
            let copy = lines[at].clone();
            lines.insert(at + 1, copy);
            (format!("line {} doubled", at + 1), at as i64 + 2)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_changes_are_found_where_they_are() {
    let recorded = Recorded::with(24).await;
    let folder = &recorded.bundle;
    assert_eq!(check(&Bundle::read(folder).unwrap(), Trusted::default()).faults, []);
    let events = folder.join("events.jsonl");
    let whole = fs::read(&events).unwrap();
    let lines: Vec<Vec<u8>> = whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(lines.len(), 24);
    let mut numbers = Numbers(0x5eed_0042);
    for n in 0..CHANGES {
        let (what, seq) = if numbers.below(5) == 0 {
            let at = numbers.below(lines.len()) + 1;
            let path = folder.join(format!("bodies/{at:06}.json"));
            let before = fs::read(&path).unwrap();
            let mut body = before.clone();
            let byte = numbers.below(body.len());
            body[byte] ^= 1 << numbers.below(8);
            fs::write(&path, body).unwrap();
            found(&recorded, n, &format!("byte {byte} of body {at} edited"), at as i64).await;
            fs::write(&path, before).unwrap();
            continue;
        } else {
            let mut lines = lines.clone();
            let told = change(&mut numbers, &mut lines);
            fs::write(&events, lines.concat()).unwrap();
            told
        };
        found(&recorded, n, &what, seq).await;
        fs::write(&events, &whole).unwrap();
    }
    assert_eq!(by_script(folder, &[]).await.0, 0, "all is as it was");
}

async fn found(recorded: &Recorded, n: usize, what: &str, seq: i64) {
    let report = check(&Bundle::read(&recorded.bundle).unwrap(), Trusted::default());
    let first = report.faults.first().unwrap_or_else(|| panic!("{n}: {what} is not found"));
    assert_eq!(first.seq, Some(seq), "{n}: {what}: {first:?}");
    if n.is_multiple_of(BY_SCRIPT) {
        let (status, text) = by_script(&recorded.bundle, &[]).await;
        assert_eq!(status, 1, "{n}: {what}: {text}");
        assert!(text.lines().next().unwrap().contains(&format!(" at entry {seq}:")), "{n}: {what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_change_has_its_name_also_where_the_rest_was_adapted() {
    let recorded = Recorded::with(8).await;
    let events = recorded.bundle.join("events.jsonl");
    let whole = fs::read_to_string(&events).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let mut swapped = lines.clone();
    swapped.swap(2, 5);
    let cases = [
        (lines.concat().replacen("\"seq\":4", "\"seq\":9", 1), 4, Tampering::Edited),
        ([&lines[..3], &lines[4..]].concat().concat(), 4, Tampering::Removed),
        ([&lines[..4], &lines[3..]].concat().concat(), 5, Tampering::Inserted),
        (swapped.concat(), 3, Tampering::Reordered),
        (lines[..6].concat(), 7, Tampering::Truncated),
    ];
    let manifest = recorded.bundle.join("manifest.json");
    let listed = fs::read_to_string(&manifest).unwrap();
    for (text, seq, kind) in cases {
        fs::write(&events, &text).unwrap();
        let first = check(&Bundle::read(&recorded.bundle).unwrap(), Trusted::default()).faults.remove(0);
        assert_eq!((first.seq, first.kind), (Some(seq), kind), "{first:?}");
        let name = serde_json::to_value(kind).unwrap();
        let (_, by_script) = by_script(&recorded.bundle, &[]).await;
        let expected = format!("{} at entry {seq}:", name.as_str().unwrap());
        assert!(by_script.starts_with(&expected), "{expected} {by_script}");
    }
    // Who cuts the record off and rewrites the manifest has the signature against him; who takes the
    // signatures as well, the chain over the ends of runs.
    let cut: Vec<serde_json::Value> =
        lines[..6].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let adapted = listed
        .replace("\"last_seq\": 8", "\"last_seq\": 6")
        .replace(&last_hash(&whole), cut[5]["hash"].as_str().unwrap());
    fs::write(&manifest, adapted).unwrap();
    for taken in ["", "checkpoints.jsonl"] {
        if !taken.is_empty() {
            fs::write(recorded.bundle.join(taken), "").unwrap();
        }
        let report = check(&Bundle::read(&recorded.bundle).unwrap(), Trusted::default());
        let first = &report.faults[0];
        assert_eq!((first.seq, first.kind), (Some(7), Tampering::Truncated), "{first:?}");
        let (_, by_script) = by_script(&recorded.bundle, &[]).await;
        assert!(by_script.starts_with("truncated at entry 7:"), "{by_script}");
    }
}

fn last_hash(events: &str) -> String {
    let last: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    last["hash"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_behind_the_journals_back_is_found_in_the_journal() {
    let recorded = Recorded::with(8).await;
    let database = recorded.database();
    let (status, told) = audit_json(&database, &["verify"]).await;
    assert_eq!((status, &told["ok"], &told["signed"]), (0, &true.into(), &true.into()), "{told}");
    let sql = |sql: &'static str| {
        let url = format!("sqlite:{}", database.display());
        async move {
            let mut attacker = sqlx::SqliteConnection::connect(&url).await.unwrap();
            attacker.execute(sqlx::raw_sql(sql)).await.unwrap();
            attacker.close().await.unwrap();
        }
    };
    sql("UPDATE log SET body = replace(body, 'number 4', 'number 5') WHERE seq = 4").await;
    let (status, told) = audit_json(&database, &["verify", recorded.run.as_str()]).await;
    assert_eq!((status, &told["first"]["seq"], &told["first"]["kind"]), (1, &4.into(), &"edited".into()));
    let (status, told) = audit_json(&database, &["verify"]).await;
    assert_eq!((status, &told["changed"][0]["faults"][0]["seq"]), (1, &4.into()), "{told}");
    sql("UPDATE log SET body = replace(body, 'number 5', 'number 4') WHERE seq = 4").await;
    assert_eq!(audit_json(&database, &["verify"]).await.0, 0);
    // A run that vanishes with all that is its own leaves its end behind.
    sql("PRAGMA foreign_keys = OFF; DELETE FROM log; DELETE FROM runs; DELETE FROM checkpoints").await;
    let (status, told) = audit_json(&database, &["verify"]).await;
    assert_eq!((status, &told["faults"][0]["kind"]), (1, &"removed".into()), "{told}");
}
