//! Signatures over the record.

use sqlx::Row as _;

use super::super::{Pool, Row};
use super::{Applied, Transaction};
use crate::journal::command::Answer;
use crate::journal::{Checkpoint, HEADS, Head, RecordKey, RunId, Unsigned};

impl Transaction<'_> {
    pub(super) async fn sign(&mut self, public_key: &str, checkpoints: &[Checkpoint]) -> Applied {
        for point in checkpoints {
            // Replicas may sign the same place; the first stays.
            let sql = "INSERT INTO checkpoints (chain, seq, hash, ts, key_id, signature) \
                       VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
            let query = sqlx::query(sql).bind(&point.chain).bind(point.seq).bind(&point.hash);
            query.bind(point.ts_us).bind(&point.key).bind(&point.signature).execute(self.db().await?).await?;
            let sql = "UPDATE runs SET signed_seq = $2, signed_at = $3 WHERE id = $1 AND signed_seq < $2";
            let query = sqlx::query(sql).bind(&point.chain).bind(point.seq).bind(point.ts_us);
            query.execute(self.db().await?).await?;
        }
        if let Some(point) = checkpoints.last() {
            let sql = "INSERT INTO record_keys (id, public_key, first_used, last_used) VALUES ($1, $2, $3, $3) \
                       ON CONFLICT (id) DO UPDATE SET last_used = excluded.last_used";
            let query = sqlx::query(sql).bind(&point.key).bind(public_key).bind(point.ts_us);
            query.execute(self.db().await?).await?;
        }
        Ok(Ok(Answer::Done(true)))
    }
}

pub(in crate::journal) async fn unsigned(
    db: &Pool,
    entries: i64,
    older_than: i64,
    limit: i64,
) -> Result<Vec<Unsigned>, sqlx::Error> {
    let sql = "SELECT id, last_seq, head FROM runs WHERE signed_seq < last_seq AND (last_seq - signed_seq >= $1 \
               OR signed_at <= $2 OR status IN ('done', 'refused', 'failed', 'cancelled', 'parked')) \
               ORDER BY signed_at LIMIT $3";
    let rows = sqlx::query(sql).bind(entries).bind(older_than).bind(limit).fetch_all(db).await?;
    let run =
        |row: &Row| Ok(Unsigned { chain: row.try_get(0)?, seq: row.try_get(1)?, hash: row.try_get(2)? });
    let mut places: Vec<Unsigned> = rows.iter().map(run).collect::<Result<_, sqlx::Error>>()?;
    let sql = "SELECT n, hash FROM heads WHERE n > (SELECT COALESCE(MAX(seq), 0) FROM checkpoints WHERE chain = $1) \
               ORDER BY n DESC LIMIT 1";
    if let Some(row) = sqlx::query(sql).bind(HEADS).fetch_optional(db).await? {
        places.push(Unsigned { chain: HEADS.to_owned(), seq: row.try_get(0)?, hash: row.try_get(1)? });
    }
    Ok(places)
}

pub(in crate::journal) async fn checkpoints(db: &Pool, chain: &str) -> Result<Vec<Checkpoint>, sqlx::Error> {
    let sql = "SELECT chain, seq, hash, ts, key_id, signature FROM checkpoints WHERE chain = $1 ORDER BY seq";
    let rows = sqlx::query(sql).bind(chain).fetch_all(db).await?;
    let read = |row: &Row| {
        Ok(Checkpoint {
            chain: row.try_get(0)?,
            seq: row.try_get(1)?,
            hash: row.try_get(2)?,
            ts_us: row.try_get(3)?,
            key: row.try_get(4)?,
            signature: row.try_get(5)?,
        })
    };
    rows.iter().map(read).collect()
}

pub(in crate::journal) async fn record_keys(db: &Pool) -> Result<Vec<RecordKey>, sqlx::Error> {
    let sql = "SELECT id, public_key, first_used, last_used FROM record_keys ORDER BY first_used, id";
    let rows = sqlx::query(sql).fetch_all(db).await?;
    let read = |row: &Row| {
        Ok(RecordKey {
            id: row.try_get(0)?,
            public_key: row.try_get(1)?,
            first_used_us: row.try_get(2)?,
            last_used_us: row.try_get(3)?,
        })
    };
    rows.iter().map(read).collect()
}

pub(in crate::journal) async fn heads(db: &Pool, after: i64, limit: i64) -> Result<Vec<Head>, sqlx::Error> {
    let sql = "SELECT n, run_id, seq, head, prev, hash FROM heads WHERE n > $1 ORDER BY n LIMIT $2";
    let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(db).await?;
    rows.iter().map(head_of).collect()
}

pub(in crate::journal) async fn newest_head(db: &Pool) -> Result<Option<Head>, sqlx::Error> {
    let sql = "SELECT n, run_id, seq, head, prev, hash FROM heads ORDER BY n DESC LIMIT 1";
    sqlx::query(sql).fetch_optional(db).await?.map(|row| head_of(&row)).transpose()
}

fn head_of(row: &Row) -> Result<Head, sqlx::Error> {
    Ok(Head {
        n: row.try_get(0)?,
        run: RunId(row.try_get(1)?),
        seq: row.try_get(2)?,
        head: row.try_get(3)?,
        prev: row.try_get(4)?,
        hash: row.try_get(5)?,
    })
}
