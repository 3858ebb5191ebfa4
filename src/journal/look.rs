//! Looking at a journal from outside, as `doctor` does: nothing is made, brought up to date or taken over.

use super::JournalError;
use super::store::{in_time, postgres, sqlite};

/// What is found in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has no journal yet; the first start makes one.
    Empty,
    /// A journal of an older program; the next start brings it up to date.
    Older,
    /// A journal of a newer program, with the number of its schema.
    Newer {
        /// Number.
        schema: i64,
    },
    /// A journal of this program.
    Ready {
        /// Runs that have not ended.
        unfinished: i64,
    },
}

/// Looks at the database that `url` names.
///
/// # Errors
/// When it cannot be reached or read.
pub async fn look(url: &str) -> Result<Found, JournalError> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        let (pool, tables, known) = postgres::to_look(url).await?;
        in_time(postgres::statements::look(&pool, tables, known)).await
    } else {
        let (pool, tables, known) = sqlite::to_look(url).await?;
        in_time(sqlite::statements::look(&pool, tables, known)).await
    }
}
