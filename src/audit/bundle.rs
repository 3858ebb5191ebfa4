//! A run's record as files: what leaves the house, and what is checked.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::hex;
use crate::journal::{Checkpoint, HEADS, Head, Journal, JournalError, PAGE, RecordKey, Recorded, RunId};
use crate::mask;

/// Form of the bundle.
const FORMAT: &str = "ado-coworker record bundle v1";
/// Largest bundle that is read, in bytes.
const MAX_BUNDLE: u64 = 512 * 1024 * 1024;
/// Most files of a bundle.
const MAX_FILES: usize = 200_000;
/// The stand-alone check that goes with every bundle.
const VERIFY_PY: &str = include_str!("verify.py");
/// What a reader of the bundle needs to know.
const VERIFY_MD: &str = include_str!("VERIFY.md");

/// Why a bundle cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// There is no such run.
    #[error("there is no run {0}")]
    UnknownRun(RunId),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file cannot be read or written.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// It is not a bundle, or one of another form.
    #[error("this is not a record that can be read: {0}")]
    Unreadable(String),
}

/// What stands where an entry belongs.
#[derive(Clone, Debug)]
pub enum Line {
    /// An entry.
    Entry(Recorded),
    /// Something that no export ever wrote, and why it is not an entry.
    Broken(String),
}

/// The record of one run, in memory.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The run.
    pub run: RunId,
    /// Its newest entry when it was exported.
    pub last_seq: i64,
    /// Hash of that entry.
    pub head: String,
    /// Its entries, in the order in which they stand.
    pub lines: Vec<Line>,
    /// Signatures over it and over the chain of ends.
    pub checkpoints: Vec<Checkpoint>,
    /// The keys that signed.
    pub keys: Vec<RecordKey>,
    /// The chain of ends, from this run's on.
    pub heads: Vec<Head>,
    /// Files whose digest is not the one in the manifest.
    pub changed_files: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: String,
    run: RunId,
    last_seq: i64,
    head: String,
    /// Which program wrote it.
    program: String,
    /// Digest of the formats by which secrets were found.
    masker_rules: String,
    /// Digest of each file.
    files: BTreeMap<String, String>,
}

/// A line of `events.jsonl`. The text of an entry is one only, so that every changed byte shows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    seq: i64,
    ts_us: i64,
    prev: String,
    hash: String,
    commitment: String,
    salt: Option<String>,
    /// File that holds the body; none when it was erased.
    body: Option<String>,
}

impl Bundle {
    /// Reads the record of a run from the journal.
    ///
    /// # Errors
    /// [`BundleError`].
    pub async fn of_run(journal: &Journal, run: &RunId) -> Result<Self, BundleError> {
        let mut bundle = Self::alone(journal, run).await?;
        bundle.heads = heads_from(journal, run).await?;
        let known = |point: &Checkpoint| bundle.heads.iter().any(|end| end.n == point.seq);
        let of_heads: Vec<_> = journal.checkpoints(HEADS).await?.into_iter().filter(known).collect();
        bundle.checkpoints.extend(of_heads);
        bundle.keys = journal.record_keys().await?;
        bundle.keys.retain(|key| bundle.checkpoints.iter().any(|point| point.key == key.id));
        Ok(bundle)
    }

    /// The entries of a run with the signatures over them; no keys, no ends.
    pub(super) async fn alone(journal: &Journal, run: &RunId) -> Result<Self, BundleError> {
        let row = journal.run(run).await?.ok_or_else(|| BundleError::UnknownRun(run.clone()))?;
        let mut entries: Vec<Recorded> = Vec::new();
        loop {
            let page = journal.record(run, entries.last().map_or(0, |entry| entry.seq)).await?;
            let full = page.len() as i64 == PAGE;
            entries.extend(page);
            if !full {
                break;
            }
        }
        let mut checkpoints = journal.checkpoints(run.as_str()).await?;
        if let Some(now) = journal.run(run).await?.filter(|now| now.last_seq > row.last_seq) {
            // What was added since the row was read is of the next look. More than that was never
            // written by the journal, and stays to be found.
            entries.retain(|entry| entry.seq <= row.last_seq || entry.seq > now.last_seq);
            checkpoints.retain(|point| point.seq <= row.last_seq || point.seq > now.last_seq);
        }
        Ok(Self {
            run: run.clone(),
            last_seq: row.last_seq,
            head: row.head,
            lines: entries.into_iter().map(Line::Entry).collect(),
            checkpoints,
            keys: Vec::new(),
            heads: Vec::new(),
            changed_files: Vec::new(),
        })
    }

    /// The entries that can be read.
    pub fn entries(&self) -> impl Iterator<Item = &Recorded> {
        self.lines.iter().filter_map(|line| match line {
            Line::Entry(entry) => Some(entry),
            Line::Broken(_) => None,
        })
    }

    /// The files of the bundle. `policy` is the rule file in force.
    fn files(&self, policy: &str) -> Result<Vec<(String, Vec<u8>)>, BundleError> {
        let unreadable = |error: serde_json::Error| BundleError::Unreadable(error.to_string());
        let mut files = Vec::new();
        let mut events = Vec::new();
        for entry in self.entries() {
            let name = entry.body.as_ref().map(|_| body_file(entry.seq));
            if let (Some(name), Some(body)) = (&name, &entry.body) {
                files.push((name.clone(), body.clone().into_bytes()));
            }
            let line = Written {
                seq: entry.seq,
                ts_us: entry.ts,
                prev: entry.prev.clone(),
                hash: entry.hash.clone(),
                commitment: entry.commitment.clone(),
                salt: entry.salt.clone(),
                body: name,
            };
            serde_json::to_writer(&mut events, &line).map_err(unreadable)?;
            events.push(b'\n');
        }
        files.push(("events.jsonl".to_owned(), events));
        files.push(("checkpoints.jsonl".to_owned(), json_lines(&self.checkpoints)?));
        files.push(("heads.jsonl".to_owned(), json_lines(&self.heads)?));
        files.push(("keys.json".to_owned(), serde_json::to_vec_pretty(&self.keys).map_err(unreadable)?));
        files.push(("policy.toml".to_owned(), policy.as_bytes().to_vec()));
        files.push(("verify.py".to_owned(), VERIFY_PY.as_bytes().to_vec()));
        files.push(("VERIFY.md".to_owned(), VERIFY_MD.as_bytes().to_vec()));
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            run: self.run.clone(),
            last_seq: self.last_seq,
            head: self.head.clone(),
            program: concat!("ado-coworker ", env!("CARGO_PKG_VERSION")).to_owned(),
            masker_rules: digest(mask::RULES.concat().as_bytes()),
            files: files.iter().map(|(name, bytes)| (name.clone(), digest(bytes))).collect(),
        };
        let manifest = serde_json::to_vec_pretty(&manifest).map_err(unreadable)?;
        files.insert(0, ("manifest.json".to_owned(), manifest));
        Ok(files)
    }

    /// Reads a bundle from a tar file or from the folder into which one was unpacked.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        let files = if path.is_dir() { read_folder(path)? } else { read_tar(path)? };
        Self::from_files(&files)
    }

    fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, BundleError> {
        let get =
            |name: &str| files.get(name).ok_or_else(|| BundleError::Unreadable(format!("{name} is missing")));
        let unreadable =
            |name: &str, error: &dyn std::fmt::Display| BundleError::Unreadable(format!("{name}: {error}"));
        let manifest: Manifest = serde_json::from_slice(get("manifest.json")?)
            .map_err(|error| unreadable("manifest.json", &error))?;
        if manifest.format != FORMAT {
            return Err(BundleError::Unreadable(format!("its form is {:?}", manifest.format)));
        }
        let changed = |(name, wanted): &(&String, &String)| {
            files.get(*name).is_none_or(|bytes| digest(bytes) != **wanted)
        };
        let changed_files = manifest.files.iter().filter(changed).map(|(name, _)| name.clone()).collect();
        let lines = split(get("events.jsonl")?).map(|line| read_line(line, files)).collect();
        Ok(Self {
            run: manifest.run,
            last_seq: manifest.last_seq,
            head: manifest.head,
            lines,
            checkpoints: json_of_lines("checkpoints.jsonl", get("checkpoints.jsonl")?)?,
            keys: serde_json::from_slice(get("keys.json")?).map_err(|e| unreadable("keys.json", &e))?,
            heads: json_of_lines("heads.jsonl", get("heads.jsonl")?)?,
            changed_files,
        })
    }
}

/// Writes the bundle of a run to `path`, which must not be there yet.
///
/// # Errors
/// [`BundleError`].
pub async fn export(
    journal: &Journal,
    run: &RunId,
    policy: &str,
    path: &Path,
) -> Result<Bundle, BundleError> {
    let bundle = Bundle::of_run(journal, run).await?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut tar = tar::Builder::new(file);
    for (name, bytes) in bundle.files(policy)? {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, &name, bytes.as_slice())?;
    }
    tar.into_inner()?.sync_all()?;
    Ok(bundle)
}

async fn heads_from(journal: &Journal, run: &RunId) -> Result<Vec<Head>, JournalError> {
    let (mut heads, mut after): (Vec<Head>, i64) = (Vec::new(), 0);
    loop {
        let page = journal.heads(after).await?;
        let Some(last) = page.last() else { return Ok(heads) };
        after = last.n;
        heads.extend(page);
        // Ends before the run's own say nothing about it.
        match heads.iter().position(|end| end.run == *run) {
            Some(first) => drop(heads.drain(..first)),
            None => heads.clear(),
        }
    }
}

/// The file that holds the body of an entry.
fn body_file(seq: i64) -> String {
    format!("bodies/{seq:06}.json")
}

/// The lines of a file, each without its end; the last one has it where it was cut off.
fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n')
}

fn read_line(line: &[u8], files: &BTreeMap<String, Vec<u8>>) -> Line {
    let Some(text) = line.strip_suffix(b"\n") else { return Line::Broken("it is cut off".to_owned()) };
    let read: Written = match serde_json::from_slice(text) {
        Ok(read) => read,
        Err(error) => return Line::Broken(error.to_string()),
    };
    if serde_json::to_vec(&read).ok().as_deref() != Some(text) {
        return Line::Broken("it is written in another way".to_owned());
    }
    if read.body.as_ref().is_some_and(|name| *name != body_file(read.seq)) {
        return Line::Broken("it names another file for its body".to_owned());
    }
    // Bytes that are no text are no body, and differ from what was bound.
    let body = read.body.and_then(|name| files.get(&name));
    Line::Entry(Recorded {
        seq: read.seq,
        ts: read.ts_us,
        body: body.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        salt: read.salt,
        commitment: read.commitment,
        prev: read.prev,
        hash: read.hash,
    })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn json_lines<T: Serialize>(values: &[T]) -> Result<Vec<u8>, BundleError> {
    let mut out = Vec::new();
    for value in values {
        serde_json::to_writer(&mut out, value).map_err(|e| BundleError::Unreadable(e.to_string()))?;
        out.push(b'\n');
    }
    Ok(out)
}

fn json_of_lines<T: for<'a> Deserialize<'a>>(name: &str, bytes: &[u8]) -> Result<Vec<T>, BundleError> {
    let fault = |n: usize, error: &dyn std::fmt::Display| {
        BundleError::Unreadable(format!("{name}, line {}: {error}", n + 1))
    };
    let text = std::str::from_utf8(bytes).map_err(|error| fault(0, &error))?;
    text.lines()
        .enumerate()
        .map(|(n, line)| serde_json::from_str(line).map_err(|error| fault(n, &error)))
        .collect()
}

fn read_tar(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.len() > MAX_BUNDLE {
        return Err(BundleError::Unreadable(format!("it is larger than {MAX_BUNDLE} bytes")));
    }
    let mut archive = tar::Archive::new(file);
    let mut files = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(name, bytes);
        if files.len() > MAX_FILES {
            return Err(BundleError::Unreadable(format!("it has more than {MAX_FILES} files")));
        }
    }
    Ok(files)
}

fn read_folder(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    let mut files = BTreeMap::new();
    for (folder, prefix) in [(path.to_owned(), ""), (path.join("bodies"), "bodies/")] {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                files.insert(name, std::fs::read(entry.path())?);
            }
        }
    }
    Ok(files)
}
