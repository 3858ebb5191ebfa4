//! How a database is, without a change to it.

use super::super::Pool;
use super::unfinished;
use crate::journal::Found;

/// Looks at a database. `tables` counts the tables that a journal's schema is noted in; `known` is the
/// newest schema of this program.
pub(in crate::journal) async fn look(
    db: &Pool,
    tables: &'static str,
    known: i64,
) -> Result<Found, sqlx::Error> {
    let noted: i64 = sqlx::query_scalar(tables).fetch_one(db).await?;
    if noted == 0 {
        return Ok(Found::Empty);
    }
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(db).await?;
    match newest.unwrap_or_default() {
        schema if schema > known => Ok(Found::Newer { schema }),
        schema if schema < known => Ok(Found::Older),
        _ => Ok(Found::Ready { unfinished: unfinished(db).await? }),
    }
}
