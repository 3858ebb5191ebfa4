//! What runs use, added up beside the logs.

use sqlx::Row as _;

use super::super::{Database, Pool, Row};
use super::Transaction;
use crate::journal::chain::Draft;
use crate::journal::spent::{Used, day, month, undone};
use crate::journal::{Entry, RunId};
use crate::policy::{Scope, SpentBy, Tokens};

/// How far back the intent of a write is looked for that was not done: a call writes a few things.
const LOOK_BACK: i64 = 100;

impl Transaction<'_> {
    /// What new entries use, by name. `before` is the sequence number of the entry before the first.
    pub(super) async fn used(
        &mut self,
        run: &RunId,
        before: i64,
        drafts: &[Draft],
    ) -> Result<Vec<Used>, sqlx::Error> {
        let mut all = Vec::new();
        for draft in drafts {
            if let Some(used) = Used::by(&draft.entry) {
                used.add_to(&mut all);
            }
            if let Some(write) = undone(&draft.entry)
                && let Some(kind) = self.intended(run, before, write, drafts).await?
            {
                Used::writes(kind, -1).add_to(&mut all);
            }
        }
        Ok(all)
    }

    /// Adds what a run used to everything that it counts in.
    pub(super) fn spend(&mut self, run: &RunId, all: Vec<Used>) {
        for used in all {
            let add = self.ahead.next(
                "INSERT INTO used (scope, key, period, name, writer, \
                 turns, steps, worked_ms, input, cached, output, writes) \
                 SELECT s.scope, CASE s.scope WHEN 'run' THEN r.id \
                 WHEN 'thread' THEN r.project || '/' || r.repository || '/' || r.subject \
                 WHEN 'day' THEN '' ELSE r.project END, \
                 CASE s.scope WHEN 'run' THEN 0 WHEN 'project' THEN ",
            );
            add.push_bind(month(self.now)).push(" ELSE ").push_bind(day(self.now));
            add.push(" END, COALESCE(").push_bind(used.name).push(", r.model, ''), ");
            add.push_bind(self.store.writer());
            for more in
                [used.turns, used.steps, used.worked_ms, used.input, used.cached, used.output, used.writes]
            {
                add.push(", ").push_bind(more);
            }
            add.push(
                " FROM (SELECT 'run' AS scope UNION ALL SELECT 'thread' UNION ALL SELECT 'day' \
                 UNION ALL SELECT 'project') s JOIN runs r ON r.id = ",
            );
            add.push_bind(run.as_str());
            add.push(
                " WHERE s.scope <> 'thread' OR r.subject IS NOT NULL \
                 ON CONFLICT (scope, key, period, name, writer) DO UPDATE SET \
                 turns = used.turns + excluded.turns, steps = used.steps + excluded.steps, \
                 worked_ms = used.worked_ms + excluded.worked_ms, input = used.input + excluded.input, \
                 cached = used.cached + excluded.cached, output = used.output + excluded.output, \
                 writes = used.writes + excluded.writes",
            );
        }
    }

    /// What was used by a run and all that it counts in, with what this transaction adds.
    pub(super) async fn spent(&mut self, run: &RunId) -> Result<SpentBy, sqlx::Error> {
        let mut statements = std::mem::take(self.ahead);
        ask(statements.next(""), run, day(self.now), month(self.now));
        added_up(&statements.rows(self.db).await?)
    }

    /// The action of a write that was intended a moment ago.
    async fn intended(
        &mut self,
        run: &RunId,
        before: i64,
        write: (u32, u32),
        drafts: &[Draft],
    ) -> Result<Option<&'static str>, sqlx::Error> {
        let kind = |entry: &Entry| match entry {
            Entry::Intended { step, write: number, action, .. } if (*step, *number) == write => {
                Some(action.kind())
            }
            _ => None,
        };
        if let Some(kind) = drafts.iter().rev().find_map(|draft| kind(&draft.entry)) {
            return Ok(Some(kind));
        }
        let log = super::read::log_rows(self.db().await?, run, before - LOOK_BACK, LOOK_BACK).await?;
        Ok(log.iter().rev().flatten().find_map(|logged| kind(&logged.entry)))
    }
}

/// Asks what was used by a run, by its thread today, by all runs today and by its project since `month`.
fn ask(query: &mut sqlx::QueryBuilder<Database>, run: &RunId, today: i64, month: i64) {
    query.push(
        "SELECT u.scope, u.name, CAST(SUM(u.turns) AS BIGINT), CAST(SUM(u.steps) AS BIGINT), \
         CAST(SUM(u.worked_ms) AS BIGINT), CAST(SUM(u.input) AS BIGINT), CAST(SUM(u.cached) AS BIGINT), \
         CAST(SUM(u.output) AS BIGINT), CAST(SUM(u.writes) AS BIGINT) \
         FROM runs r JOIN used u ON u.scope = 'run' AND u.key = r.id AND u.period = 0 \
         OR u.scope = 'thread' AND u.key = r.project || '/' || r.repository || '/' || r.subject AND u.period = ",
    );
    query.push_bind(today).push(" OR u.scope = 'day' AND u.key = '' AND u.period = ").push_bind(today);
    query.push(" OR u.scope = 'project' AND u.key = r.project AND u.period = ").push_bind(month);
    query.push(" WHERE r.id = ").push_bind(run.as_str()).push(" GROUP BY u.scope, u.name");
}

/// The answer to [`ask`].
fn added_up(rows: &[Row]) -> Result<SpentBy, sqlx::Error> {
    let mut found = SpentBy::default();
    for row in rows {
        let scope: String = row.try_get(0)?;
        let Some(scope) = Scope::ALL.into_iter().find(|known| known.as_str() == scope) else { continue };
        let amount = |column: usize| row.try_get(column).map(|n: i64| u64::try_from(n).unwrap_or(0));
        let (name, spent): (String, _) = (row.try_get(1)?, found.of_mut(scope));
        spent.turns += amount(2)?;
        spent.steps += amount(3)?;
        spent.worked_ms += amount(4)?;
        let tokens = Tokens { input: amount(5)?, cached: amount(6)?, output: amount(7)? };
        let writes = amount(8)?;
        if tokens != Tokens::default() {
            let known = spent.tokens.entry(name.clone()).or_default();
            known.input += tokens.input;
            known.cached += tokens.cached;
            known.output += tokens.output;
        }
        if writes > 0 {
            *spent.writes.entry(name).or_default() += writes;
        }
    }
    Ok(found)
}

/// What was used by a run, by its thread today, by all runs today and by its project since `month`.
pub(in crate::journal) async fn spent(
    db: &Pool,
    run: &RunId,
    today: i64,
    month: i64,
) -> Result<SpentBy, sqlx::Error> {
    let mut query = sqlx::QueryBuilder::default();
    ask(&mut query, run, today, month);
    added_up(&query.build().fetch_all(db).await?)
}
