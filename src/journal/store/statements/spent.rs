//! What runs use, added up beside the logs.

use sqlx::Row as _;

use super::super::Pool;
use super::Transaction;
use crate::journal::chain::Draft;
use crate::journal::spent::{Item, day, undone, used};
use crate::journal::{Entry, RunId};
use crate::policy::{Scope, Spent, SpentBy};

/// How far back the intent of a write is looked for that was not done: a call writes a few things.
const LOOK_BACK: i64 = 100;

impl Transaction<'_> {
    /// Adds what new entries use. `before` is the sequence number of the entry before the first.
    pub(super) async fn spend(
        &mut self,
        run: &RunId,
        before: i64,
        drafts: &[Draft],
    ) -> Result<(), sqlx::Error> {
        let mut items: Vec<(Item, &'static str, i64)> = Vec::new();
        let mut add = |(item, name, amount): (Item, &'static str, i64)| match items
            .iter_mut()
            .find(|known| (known.0, known.1) == (item, name))
        {
            Some(known) => known.2 = known.2.saturating_add(amount),
            None => items.push((item, name, amount)),
        };
        for draft in drafts {
            used(&draft.entry).into_iter().for_each(&mut add);
            if let Some(write) = undone(&draft.entry)
                && let Some(kind) = self.intended(run, before, write, drafts).await?
            {
                add((Item::Writes, kind, -1));
            }
        }
        for (item, name, amount) in items.into_iter().filter(|(.., amount)| *amount != 0) {
            let name = (!item.is_of_deployment()).then_some(name);
            let sql = "INSERT INTO spent (run_id, day, item, name, amount, project, repository, subject) \
                       SELECT id, $2, $3, COALESCE($4, model, ''), $5, project, repository, subject FROM runs \
                       WHERE id = $1 ON CONFLICT (run_id, day, item, name) DO UPDATE SET \
                       amount = spent.amount + excluded.amount";
            sqlx::query(sql)
                .bind(run.as_str())
                .bind(day(self.now))
                .bind(item.as_str())
                .bind(name)
                .bind(amount)
                .execute(&mut *self.db)
                .await?;
        }
        Ok(())
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
        let log = super::read::log_rows(&mut *self.db, run, before - LOOK_BACK, LOOK_BACK).await?;
        Ok(log.iter().rev().flatten().find_map(|logged| kind(&logged.entry)))
    }
}

/// What was used by a run, by its thread today, by all runs today and by its project since `month`.
pub(in crate::journal) async fn spent(
    db: &Pool,
    run: &RunId,
    today: i64,
    month: i64,
) -> Result<SpentBy, sqlx::Error> {
    let sql = "SELECT 0, item, name, CAST(SUM(amount) AS BIGINT) FROM spent WHERE run_id = $1 GROUP BY item, name \
               UNION ALL \
               SELECT 1, s.item, s.name, CAST(SUM(s.amount) AS BIGINT) FROM runs r JOIN spent s \
               ON s.subject = r.subject AND s.project = r.project AND s.repository = r.repository AND s.day = $2 \
               WHERE r.id = $1 GROUP BY s.item, s.name \
               UNION ALL \
               SELECT 2, item, name, CAST(SUM(amount) AS BIGINT) FROM spent WHERE day = $2 GROUP BY item, name \
               UNION ALL \
               SELECT 3, s.item, s.name, CAST(SUM(s.amount) AS BIGINT) FROM runs r JOIN spent s \
               ON s.day >= $3 AND s.project = r.project WHERE r.id = $1 GROUP BY s.item, s.name";
    let rows = sqlx::query(sql).bind(run.as_str()).bind(today).bind(month).fetch_all(db).await?;
    let mut found = SpentBy::default();
    for row in rows {
        let (scope, item): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
        let scope = usize::try_from(scope).ok().and_then(|at| Scope::ALL.get(at).copied());
        if let (Some(scope), Some(item)) = (scope, Item::parse(&item)) {
            add(found.of_mut(scope), item, row.try_get(2)?, row.try_get(3)?);
        }
    }
    Ok(found)
}

fn add(spent: &mut Spent, item: Item, name: String, amount: i64) {
    let amount = u64::try_from(amount).unwrap_or(0);
    match item {
        Item::Turns => spent.turns += amount,
        Item::Steps => spent.steps += amount,
        Item::WorkedMs => spent.worked_ms += amount,
        Item::Input => spent.tokens.entry(name).or_default().input += amount,
        Item::Cached => spent.tokens.entry(name).or_default().cached += amount,
        Item::Output => spent.tokens.entry(name).or_default().output += amount,
        Item::Writes => *spent.writes.entry(name).or_default() += amount,
    }
}
