//! The state in a folder: `state.json`, the log that goes on from it, and the bare repositories.
//!
//! `state.json` holds everything as it was at some moment and names the log, `state.N.log`, to which each
//! change since then was appended before anybody was told of it. A new `state.json` is written when
//! the log has become long, and takes the place of both.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::state::{Data, Organisation};

/// Name of the state file.
const STATE: &str = "state.json";
/// Name of the folder with the repositories.
const REPOSITORIES: &str = "repositories";
/// Largest state file or log that is read.
const STATE_BYTES: u64 = 1024 * 1024 * 1024;
/// A log that is longer is followed by a new state file.
const LOG_BYTES: u64 = 64 * 1024 * 1024;

/// The folder of the repositories below a data folder.
pub fn repositories(data: &Path) -> PathBuf {
    data.join(REPOSITORIES)
}

/// Whether a folder holds a state.
pub fn exists(data: &Path) -> bool {
    data.join(STATE).is_file()
}

/// Takes away the repositories of a first start that did not come to its end: no state names them.
///
/// # Errors
/// When one cannot be removed.
pub fn clear(root: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))? {
        let path = entry?.path();
        // Only what the simulator makes has such a name.
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|e| e == "git") && uuid::Uuid::try_parse(name).is_ok() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Takes away the locks that a killed process left in its repositories. Nothing else of git has a name
/// that ends so.
///
/// # Errors
/// When a folder cannot be read or a lock not be removed.
pub fn break_locks(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() {
            // Objects are many, and are never locked.
            if name != "objects" {
                break_locks(&path)?;
            }
        } else if path.extension().is_some_and(|e| e == "lock") {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn log_path(data: &Path, generation: u64) -> PathBuf {
    data.join(format!("state.{generation}.log"))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    anyhow::ensure!(size <= STATE_BYTES, "{} is larger than {STATE_BYTES} bytes", path.display());
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads the state of a folder.
///
/// # Errors
/// When the file is missing, too large, or not a state.
pub fn load(data: &Path) -> anyhow::Result<Data> {
    let path = data.join(STATE);
    let mut state: Data = serde_json::from_slice(&read(&path)?)
        .with_context(|| format!("{} is not a state of the simulator", path.display()))?;
    loop {
        let path = log_path(data, state.generation);
        if path.is_file() {
            for line in read(&path)?.split_inclusive(|b| *b == b'\n') {
                // A last line without its end was being written when the process was killed.
                let Some(line) = line.strip_suffix(b"\n") else { break };
                let line = serde_json::from_slice(line).and_then(|line| state.apply(line));
                line.with_context(|| format!("{} is not a log of the simulator", path.display()))?;
            }
        }
        // A kill between a new log and its state file leaves both logs.
        if !log_path(data, state.generation + 1).is_file() {
            return Ok(state);
        }
        state.generation += 1;
    }
}

/// Goes on with the log of the state that was read from `data`, or begins one.
///
/// # Errors
/// When it cannot be written.
pub fn attach(organisation: &Organisation, data: &Path) -> anyhow::Result<()> {
    if !exists(data) {
        return save(organisation, data);
    }
    let generation = organisation.lock().generation;
    let path = log_path(data, generation);
    let text = if path.is_file() { read(&path)? } else { Vec::new() };
    let bytes = u64::try_from(text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1))?;
    organisation.lock().log_to(appended(&path, bytes)?, bytes, generation);
    Ok(())
}

/// A log that is cut after `bytes`, to be written on at its end.
fn appended(path: &Path, bytes: u64) -> anyhow::Result<File> {
    let open = || {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(bytes).map(|()| file)
    };
    open().with_context(|| format!("cannot write {}", path.display()))
}

/// Whether the log has become so long that a new state file is due.
pub fn is_due(organisation: &Organisation) -> bool {
    organisation.lock().logged() > LOG_BYTES
}

/// Writes `state.json` into the organisation's own folder and begins a new log.
///
/// # Errors
/// When it cannot be written.
pub fn save(organisation: &Organisation, data: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    let (text, generation) = {
        let mut world = organisation.lock();
        let generation = world.generation + 1;
        let path = log_path(data, generation);
        world.log_to(appended(&path, 0)?, 0, generation);
        let state: &Data = &world;
        (serde_json::to_vec(state)?, generation)
    };
    write(data, &text)?;
    for old in (0..generation).rev().map(|n| log_path(data, n)).take_while(|p| p.is_file()) {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    Ok(())
}

/// Writes the state file by a new one that takes its place.
fn write(folder: &Path, text: &[u8]) -> anyhow::Result<()> {
    let (new, path) = (folder.join("state.json.new"), folder.join(STATE));
    fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the state and copies the repositories into another folder.
///
/// # Errors
/// When it cannot be written, or is the folder of another organisation's log.
pub fn save_to(organisation: &Organisation, folder: &Path) -> anyhow::Result<()> {
    // Held all the while: what is saved fits together.
    let world = organisation.lock();
    let root = world.root().to_path_buf();
    if root == repositories(folder) {
        drop(world);
        return save(organisation, folder);
    }
    copy(&root, &repositories(folder), false)?;
    let state: &Data = &world;
    let text = serde_json::to_vec(state)?;
    drop(world);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // The log of what was saved here before does not go on from this state.
        if path.extension().is_some_and(|e| e == "log") {
            fs::remove_file(path)?;
        }
    }
    write(folder, &text)
}

/// Copies a saved folder to `data`.
///
/// # Errors
/// When `data` already holds another state, or something cannot be copied.
pub fn bring(from: &Path, data: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(exists(from), "{} holds no {STATE}", from.display());
    if from == data {
        return Ok(());
    }
    anyhow::ensure!(
        !exists(data),
        "{} already holds a state; choose an empty data folder to load {} into",
        data.display(),
        from.display()
    );
    copy(&repositories(from), &repositories(data), false)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.extension().is_some_and(|e| e == "log") {
            fs::copy(&path, data.join(name)).with_context(|| format!("cannot copy to {}", data.display()))?;
        }
    }
    // Last, and whole: while it is not there the folder holds no state.
    write(data, &read(&from.join(STATE))?)
}

/// Copies a folder. Objects of git never change, so those are linked where the file system can.
fn copy(from: &Path, to: &Path, objects: bool) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, objects || entry.file_name() == "objects")?;
            continue;
        }
        if objects && (fs::hard_link(entry.path(), &target).is_ok() || target.exists()) {
            continue;
        }
        fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
}
