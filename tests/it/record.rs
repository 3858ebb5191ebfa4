//! The record: signed, exported, checked by us and by a script of its own, and every change found.

mod kill;
mod reconcile;
mod retention;
mod tampering;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use ado_coworker::audit::{Key, Notary, export};
use ado_coworker::clock::Clock;
use ado_coworker::journal::{Entry, Journal, NewRun, Person, RunId, Source, Status};
use serde_json::Value;

use crate::harness::{Demo, command, eventually};

/// Starts one of the product's commands on a journal, and gives its exit status and what it printed.
async fn audit(database: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = command(&[&["audit"], arguments].concat());
    command.env("DATABASE_URL", format!("sqlite:{}", database.display())).stderr(Stdio::piped());
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

async fn audit_json(database: &Path, arguments: &[&str]) -> (i32, Value) {
    let (status, text) = audit(database, &[arguments, &["--json"]].concat()).await;
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{text}"));
    (status, serde_json::from_str(line).unwrap())
}

/// Checks an unpacked bundle with the script that lies in it.
#[allow(clippy::disallowed_methods, reason = "the test does what an auditor does")]
async fn by_script(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut script = tokio::process::Command::new("python3");
    script.arg("-I").arg(folder.join("verify.py")).args(arguments).stdin(Stdio::null());
    let output = script.output().await.expect("python3 is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

fn unpack(tar: &Path, folder: &Path) {
    tar::Archive::new(std::fs::File::open(tar).unwrap()).unpack(folder).unwrap();
}

/// A journal with a run that has ended, its record signed, and a bundle of it, unpacked.
struct Recorded {
    folder: tempfile::TempDir,
    journal: Journal,
    run: RunId,
    key: String,
    bundle: PathBuf,
}

impl Recorded {
    async fn with(entries: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("journal.db").display());
        let journal = Journal::open(&url, Clock::Real).await.unwrap();
        let (key, _) = Key::read_or_make(&folder.path().join("record-key.pem")).unwrap();
        let public_key = key.public_key();
        let notary = Notary::new(journal.clone(), key, Clock::Real);
        let run = ended(&journal, entries).await;
        assert!(notary.sign_what_is_new().await.unwrap() >= 2, "the run and the chain over the ends");
        assert_eq!(notary.sign_what_is_new().await.unwrap(), 0, "nothing is signed twice");
        let bundle = folder.path().join("bundle");
        export(&journal, &run, "# rules", &folder.path().join("bundle.tar")).await.unwrap();
        unpack(&folder.path().join("bundle.tar"), &bundle);
        Self { folder, journal, run, key: public_key, bundle }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }
}

/// A run with this many entries that has ended.
async fn ended(journal: &Journal, entries: usize) -> RunId {
    let new = NewRun {
        instruction: "List the open work items — größer, 日本語, \"quoted\"".into(),
        source: Source::Chat,
        requested_by: Person::named("bob"),
        project: "Fabrikam".into(),
        repository: "web-shop".into(),
        subject: None,
        trigger: None,
    };
    let run = journal.create(new).await.unwrap();
    let claim = journal.claim("a", std::time::Duration::from_secs(60)).await.unwrap().unwrap();
    // Two entries come with the run, and one ends it.
    for n in 3..entries {
        let entry = Entry::Trouble { what: format!("number {n} {}", "x".repeat(n * 7 % 90)), remedy: None };
        journal.append(&claim, i64::MAX, vec![entry]).await.unwrap();
    }
    let end = Entry::Finished { status: Status::Done, answer: "Done.".into(), remedy: None };
    journal.append(&claim, i64::MAX, vec![end]).await.unwrap();
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_listed_exported_and_checked_without_this_program() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let made = demo.order("List the open work items").await;
    let run = made["id"].as_str().unwrap();
    let database = folder.path().join("ado-coworker.db");
    // Signed soon after its end, while the demo runs.
    let list = eventually("the signature", async || {
        let (status, list) = audit_json(&database, &["list"]).await;
        assert_eq!(status, 0);
        let row = list["runs"].as_array().unwrap().iter().find(|row| row["id"] == run).unwrap().clone();
        (row["signed_to"] == row["entries"]).then_some(list)
    })
    .await;
    let head = list["head"]["hash"].as_str().unwrap();
    let key = list["keys"][0]["public_key"].as_str().unwrap();
    let bundle = folder.path().join("bundle.tar");
    let (status, text) = audit(&database, &["export", run, "-o", bundle.to_str().unwrap()]).await;
    assert_eq!(status, 0, "{text}");
    let (status, text) = audit(&database, &["export", run, "-o", bundle.to_str().unwrap()]).await;
    assert_eq!(status, 2, "a file that is there is left alone: {text}");

    let unpacked = folder.path().join("bundle");
    unpack(&bundle, &unpacked);
    for name in
        ["manifest.json", "events.jsonl", "bodies/000001.json", "policy.toml", "keys.json", "VERIFY.md"]
    {
        assert!(unpacked.join(name).is_file(), "{name}");
    }
    let (status, text) = by_script(&unpacked, &["--pubkey", key, "--head", head]).await;
    assert_eq!(status, 0, "{text}");
    assert!(
        text.starts_with("sound: ") && text.contains(", anchored") && !text.contains("warning"),
        "{text}"
    );
    for what in [run, bundle.to_str().unwrap(), unpacked.to_str().unwrap()] {
        let (status, told) = audit_json(&database, &["verify", what, "--pubkey", key, "--head", head]).await;
        assert_eq!((status, &told["signed"], &told["anchored"]), (0, &true.into(), &true.into()), "{told}");
        let (status, text) = audit(&database, &["verify", what]).await;
        assert!(status == 0 && text.contains("warning: not anchored"), "{text}");
    }
    let (status, told) = audit_json(&database, &["verify", "--head", head]).await;
    assert_eq!((status, &told["ok"], &told["anchored"]), (0, &true.into(), &true.into()), "{told}");
    let (status, text) = audit(&database, &["show", run]).await;
    assert!(status == 0 && text.contains("created") && text.contains("finished"), "{text}");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strange_key_a_strange_head_and_no_signature_are_told_apart() {
    let recorded = Recorded::with(6).await;
    let (database, bundle) = (recorded.database(), recorded.bundle.clone());
    let path = bundle.to_str().unwrap();
    let strange = Key::read_or_make(&recorded.folder.path().join("other.pem")).unwrap().0.public_key();
    let (status, told) = audit_json(&database, &["verify", path, "--pubkey", &strange]).await;
    assert_eq!(status, 1, "{told}");
    let (status, text) = by_script(&bundle, &["--pubkey", &strange]).await;
    assert_eq!(status, 1, "{text}");
    let (status, text) = by_script(&bundle, &["--pubkey", &recorded.key]).await;
    assert_eq!(status, 0, "{text}");
    let head = format!("sha256:{}", "0".repeat(64));
    let (status, told) = audit_json(&database, &["verify", path, "--head", &head]).await;
    assert_eq!((status, &told["first"]["kind"]), (1, &"truncated".into()), "{told}");
    assert_eq!(by_script(&bundle, &["--head", &head]).await.0, 1);

    let new = ended(&recorded.journal, 4).await;
    let (status, told) = audit_json(&database, &["verify", new.as_str()]).await;
    assert_eq!((status, &told["signed"]), (0, &false.into()), "not signed is no change: {told}");
    let (status, text) = audit(&database, &["verify", new.as_str()]).await;
    assert!(status == 0 && text.contains("warning: entries after 0 are not under a signature"), "{text}");
    assert_eq!(audit(&database, &["verify", "/nowhere"]).await.0, 2);
    std::fs::write(bundle.join("manifest.json"), "{").unwrap();
    assert_eq!(audit(&database, &["verify", path]).await.0, 2);
    assert_eq!(by_script(&bundle, &[]).await.0, 2);
}
