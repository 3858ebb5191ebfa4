//! The state in a folder: `state.json` beside the bare repositories.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::state::{Data, Organisation};

/// Name of the state file.
const STATE: &str = "state.json";
/// Name of the folder with the repositories.
const REPOSITORIES: &str = "repositories";
/// Largest state file that is read.
const STATE_BYTES: u64 = 1024 * 1024 * 1024;

/// The folder of the repositories below a data folder.
pub fn repositories(data: &Path) -> std::path::PathBuf {
    data.join(REPOSITORIES)
}

/// Whether a folder holds a state.
pub fn exists(data: &Path) -> bool {
    data.join(STATE).is_file()
}

/// Reads the state of a folder.
///
/// # Errors
/// When the file is missing, too large, or not a state.
pub fn load(data: &Path) -> anyhow::Result<Data> {
    let path = data.join(STATE);
    let size = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    anyhow::ensure!(size <= STATE_BYTES, "{} is larger than {STATE_BYTES} bytes", path.display());
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a state of the simulator", path.display()))
}

/// Writes `state.json` into the organisation's own folder, by a new file that takes its place.
///
/// # Errors
/// When it cannot be written.
pub fn save(organisation: &Organisation, data: &Path) -> anyhow::Result<()> {
    let text = {
        let world = organisation.lock();
        let data: &Data = &world;
        serde_json::to_vec(data)?
    };
    fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    let (new, path) = (data.join("state.json.new"), data.join(STATE));
    fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the state and copies the repositories into another folder.
///
/// # Errors
/// When it cannot be written.
pub fn save_to(organisation: &Organisation, folder: &Path) -> anyhow::Result<()> {
    let root = organisation.lock().root().to_path_buf();
    if root != repositories(folder) {
        copy(&root, &repositories(folder))?;
    }
    save(organisation, folder)
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
    copy(&repositories(from), &repositories(data))?;
    fs::create_dir_all(data)?;
    fs::copy(from.join(STATE), data.join(STATE))
        .with_context(|| format!("cannot copy to {}", data.display()))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            // Objects of git are read-only; an old one in the way is the same object.
            if target.exists() {
                fs::remove_file(&target)?;
            }
            fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
