//! A copy of the journal, made while it is in use.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use sqlx::{ConnectOptions as _, Connection as _};

use super::store::sqlite;

/// Copies the SQLite journal that `url` names into `file`, which must not be there yet; gives its
/// size in bytes. The copy is one state of the journal, checked, and synced when this returns.
///
/// # Errors
/// When the journal is not SQLite or not there, or the copy cannot be made.
pub async fn backup(url: &str, file: &Path) -> anyhow::Result<u64> {
    if !url.starts_with("sqlite:") {
        bail!(
            "backup copies a SQLite journal, but DATABASE_URL names a PostgreSQL server; use pg_dump there: \
             pg_dump --format=custom --file={} \"$DATABASE_URL\"",
            file.display()
        );
    }
    let shown = file.display();
    ensure!(!file.exists(), "{shown} is there already and is left alone; name another file");
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(folder.is_dir(), "the folder {} is not there", folder.display());
    // Under another name until it is whole, so that a copy cut short is never taken for one.
    let partial = folder.join(format!(".{}.partial", uuid::Uuid::new_v4().simple()));
    let copied = copy(url, &partial).await.and_then(|()| publish(&partial, file, folder));
    // It is gone, or of no use.
    let _ = std::fs::remove_file(&partial);
    copied.with_context(|| format!("no backup was made in {shown}"))
}

async fn copy(url: &str, partial: &Path) -> anyhow::Result<()> {
    let text = partial.to_str().context("the path is not UTF-8")?;
    let options = sqlite::options(url)?;
    let source = options.get_filename().to_path_buf();
    ensure!(source.exists(), "there is no journal at {}", source.display());
    let mut journal = options.connect().await?;
    sqlx::query("VACUUM INTO $1").bind(text).execute(&mut journal).await?;
    journal.close().await?;
    let mut made =
        sqlx::sqlite::SqliteConnectOptions::new().filename(partial).read_only(true).connect().await?;
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut made).await?;
    made.close().await?;
    ensure!(found == "ok", "the copy is not sound: {found}");
    Ok(())
}

/// Gives the copy its name, unless something has that name by now.
fn publish(partial: &Path, file: &Path, folder: &Path) -> anyhow::Result<u64> {
    let made = std::fs::File::open(partial)?;
    made.sync_all()?;
    std::fs::hard_link(partial, file)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(made.metadata()?.len())
}
