//! The tenant in a folder, beside the state of the organisation: `entra.json`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;

use super::directory::Directory;
use super::{Entra, seed};

/// Name of the file.
const FILE: &str = "entra.json";
/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How often changes are written.
const SAVE_EVERY: Duration = Duration::from_millis(500);

/// The tenant kept in a folder; none when there is none.
///
/// # Errors
/// When the file is too large or not a tenant.
pub fn load(folder: &Path) -> anyhow::Result<Option<Directory>> {
    let path = folder.join(FILE);
    let Ok(size) = fs::metadata(&path).map(|found| found.len()) else { return Ok(None) };
    anyhow::ensure!(size <= MAX_BYTES, "{} is larger than {MAX_BYTES} bytes", path.display());
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let wrong = || format!("{} is not a tenant of the simulator", path.display());
    serde_json::from_slice(&text).map(Some).with_context(wrong)
}

/// Copies a saved tenant to `data`; an older folder without one is fine.
///
/// # Errors
/// When it cannot be copied.
pub fn bring(from: &Path, data: &Path) -> anyhow::Result<()> {
    let source = from.join(FILE);
    if from == data || !source.is_file() {
        return Ok(());
    }
    fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    let target = data.join(FILE);
    fs::copy(&source, &target).with_context(|| format!("cannot write {}", target.display()))?;
    Ok(())
}

/// A kept tenant whose seeded blueprint takes this start's secret.
pub fn renewed(mut kept: Directory, now: Timestamp, secret: &str) -> Directory {
    let fresh = seed::blueprint_secret(now, secret);
    for application in &mut kept.applications {
        for own in application.secrets.iter_mut().filter(|own| own.id == fresh.id) {
            // One that a test has ended stays ended.
            *own = super::directory::Secret { ends: own.ends, ..fresh.clone() };
        }
    }
    kept
}

impl Entra {
    /// Writes the tenant into `folder`, by a new file that takes the old one's place. Secrets are not
    /// in it, only their hashes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, folder: &Path) -> anyhow::Result<()> {
        write(&self.snapshot()?, folder)
    }

    fn snapshot(&self) -> anyhow::Result<Vec<u8>> {
        let directory = self.lock().directory.clone();
        Ok(serde_json::to_vec(&directory)?)
    }
}

fn write(text: &[u8], folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (new, path) = (folder.join("entra.json.new"), folder.join(FILE));
    fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the tenant into `folder` whenever it has changed, without end.
pub async fn keep(entra: Arc<Entra>, folder: std::path::PathBuf) {
    let mut written = Vec::new();
    loop {
        let (entra, folder) = (entra.clone(), folder.clone());
        let before = std::mem::take(&mut written);
        let saved = tokio::task::spawn_blocking(move || {
            let text = entra.snapshot()?;
            if text != before {
                write(&text, &folder)?;
            }
            anyhow::Ok(text)
        });
        match saved.await {
            Ok(Ok(text)) => written = text,
            Ok(Err(error)) => tracing::warn!(%error, "the simulated tenant could not be saved"),
            Err(error) => tracing::warn!(%error, "saving the simulated tenant failed"),
        }
        tokio::time::sleep(SAVE_EVERY).await;
    }
}
