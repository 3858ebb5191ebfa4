//! Erasing of bodies.

use sqlx::Row as _;

use super::super::{Pool, Row};
use super::{Applied, Transaction};
use crate::journal::command::Answer;
use crate::journal::{Class, Erasable, RunId};

/// Bodies whose run has ended and is not held.
macro_rules! of_ended_runs {
    ($what:literal, $condition:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM log l JOIN runs r ON r.id = l.run_id WHERE l.body IS NOT NULL AND r.held = 0 \
             AND r.status IN ('done', 'refused', 'failed', 'cancelled', 'parked') AND ",
            $condition
        )
    };
}

/// The first five patterns of a class, and the last one again for those it does not have.
fn patterns(class: Class) -> [&'static str; 5] {
    let all = class.begins();
    let last = all.last().copied().unwrap_or("%");
    std::array::from_fn(|at| all.get(at).copied().unwrap_or(last))
}

pub(in crate::journal) async fn erasable(db: &Pool, what: &Erasable) -> Result<i64, sqlx::Error> {
    match what {
        Erasable::Old(class, before) => {
            let sql = of_ended_runs!(
                "COUNT(*)",
                "l.ts < $1 AND (l.body LIKE $2 OR l.body LIKE $3 OR l.body LIKE $4 OR l.body LIKE $5 OR l.body LIKE $6)"
            );
            let query = sqlx::query_scalar(sql).bind(before);
            patterns(*class).into_iter().fold(query, |query, pattern| query.bind(pattern)).fetch_one(db).await
        }
        Erasable::Runs(runs) => {
            let mut count = 0;
            for run in runs {
                let sql = of_ended_runs!("COUNT(*)", "l.run_id = $1");
                count += sqlx::query_scalar::<_, i64>(sql).bind(run.as_str()).fetch_one(db).await?;
            }
            Ok(count)
        }
    }
}

/// Entries that name `id` and say who ordered or said something.
pub(in crate::journal) async fn naming(db: &Pool, id: &str) -> Result<Vec<(RunId, i64)>, sqlx::Error> {
    let sql = of_ended_runs!(
        "l.run_id, l.seq",
        "(l.body LIKE '{\"type\":\"created\"%' OR l.body LIKE '{\"type\":\"message\"%') AND LOWER(l.body) LIKE $1"
    );
    let rows = sqlx::query(sql).bind(format!("%\"{id}\"%")).fetch_all(db).await?;
    rows.iter().map(|row: &Row| Ok((RunId(row.try_get(0)?), row.try_get(1)?))).collect()
}

impl Transaction<'_> {
    pub(super) async fn erase(&mut self, what: &Erasable, most: i64) -> Applied {
        match what {
            Erasable::Old(class, before) => self.erase_old(*class, *before, most).await,
            Erasable::Runs(runs) => {
                let mut gone = 0;
                for run in runs {
                    gone += self.erase_run(run).await?;
                }
                Ok(Ok(Answer::Gone(gone)))
            }
        }
    }

    async fn erase_old(&mut self, class: Class, before: i64, most: i64) -> Applied {
        let sql = of_ended_runs!(
            "l.run_id, l.seq",
            "l.ts < $1 AND (l.body LIKE $2 OR l.body LIKE $3 OR l.body LIKE $4 OR l.body LIKE $5 OR l.body LIKE $6) \
             ORDER BY l.ts LIMIT $7"
        );
        let query = sqlx::query(sql).bind(before);
        let query = patterns(class).into_iter().fold(query, |query, pattern| query.bind(pattern));
        let rows = query.bind(most).fetch_all(self.db().await?).await?;
        for row in &rows {
            let (run, seq): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            sqlx::query("UPDATE log SET body = NULL, salt = NULL WHERE run_id = $1 AND seq = $2")
                .bind(&run)
                .bind(seq)
                .execute(self.db().await?)
                .await?;
            // The list shows the first words, and approvals hold the action whole.
            let beside = match class {
                Class::Transcripts => "UPDATE runs SET instruction = '(erased)' WHERE id = $1",
                Class::Bodies => continue,
                Class::Decisions => "DELETE FROM approvals WHERE run_id = $1",
            };
            sqlx::query(beside).bind(&run).execute(self.db().await?).await?;
        }
        Ok(Ok(Answer::Gone(rows.len() as u64)))
    }

    async fn erase_run(&mut self, run: &RunId) -> Result<u64, sqlx::Error> {
        let sql = "UPDATE log SET body = NULL, salt = NULL WHERE run_id = $1 AND body IS NOT NULL \
                   AND EXISTS (SELECT 1 FROM runs r WHERE r.id = $1 AND r.held = 0 \
                   AND r.status IN ('done', 'refused', 'failed', 'cancelled', 'parked'))";
        let gone = sqlx::query(sql).bind(run.as_str()).execute(self.db().await?).await?.rows_affected();
        if gone > 0 {
            for sql in [
                "UPDATE runs SET instruction = '(erased)', requested_by = '(erased)' WHERE id = $1",
                "DELETE FROM approvals WHERE run_id = $1",
            ] {
                sqlx::query(sql).bind(run.as_str()).execute(self.db().await?).await?;
            }
        }
        Ok(gone)
    }

    pub(super) async fn keep(&mut self, run: &RunId, held: bool) -> Applied {
        let sql = "UPDATE runs SET held = $2 WHERE id = $1";
        let query = sqlx::query(sql).bind(run.as_str()).bind(i32::from(held));
        Ok(Ok(Answer::Done(query.execute(self.db().await?).await?.rows_affected() == 1)))
    }
}
