//! What is read, by the page and by workers.

use sqlx::{Connection as _, Row as _};

use super::super::{Connection, Pool, Row, SNAPSHOT};
use crate::event::OutsideEvent;
use crate::journal::chain::{commitment, entry_hash};
use crate::journal::{
    Backlog, Entry, IntakeRow, IntakeStatus, JournalError, Logged, PAGE, Recorded, RunId, RunRow, Source,
    Status, WaitingFor,
};

/// The columns of a run, to be followed by a condition.
macro_rules! select_run {
    ($condition:literal) => {
        concat!(
            "SELECT id, status, waiting_for, instruction, source, requested_by, subject, created_at, updated_at, \
             last_seq, head, signed_seq FROM runs ",
            $condition
        )
    };
}

/// The columns of an event, to be followed by a condition.
macro_rules! select_intake {
    ($condition:literal) => {
        concat!(
            "SELECT id, kind, summary, event, status, reason, run_id, received_at FROM intake ",
            $condition
        )
    };
}

fn run_of(row: &Row) -> Result<RunRow, sqlx::Error> {
    let status: String = row.try_get(1)?;
    let waiting_for: Option<String> = row.try_get(2)?;
    let source: String = row.try_get(4)?;
    Ok(RunRow {
        id: RunId(row.try_get(0)?),
        status: Status::parse(&status).unwrap_or(Status::Parked),
        waiting_for: waiting_for.as_deref().and_then(WaitingFor::parse),
        instruction: row.try_get(3)?,
        source: Source::parse(&source).unwrap_or(Source::Chat),
        requested_by: row.try_get(5)?,
        subject: row.try_get(6)?,
        created_at: row.try_get(7)?,
        updated_at: row.try_get(8)?,
        last_seq: row.try_get(9)?,
        head: row.try_get(10)?,
        signed_to: row.try_get(11)?,
    })
}

/// An event from its columns.
pub(super) fn intake_of(row: &Row) -> Result<IntakeRow, sqlx::Error> {
    let event: String = row.try_get(3)?;
    let status: String = row.try_get(4)?;
    let run: Option<String> = row.try_get(6)?;
    Ok(IntakeRow {
        id: row.try_get(0)?,
        kind: row.try_get(1)?,
        summary: row.try_get(2)?,
        // A kind that a newer program wrote is one that this program does not act on.
        event: serde_json::from_str(&event).unwrap_or(OutsideEvent::Other {}),
        status: IntakeStatus::parse(&status).unwrap_or(IntakeStatus::Failed),
        reason: row.try_get(5)?,
        run: run.map(RunId),
        received_at: row.try_get(7)?,
    })
}

pub(in crate::journal) async fn run(db: &Pool, id: &RunId) -> Result<Option<RunRow>, sqlx::Error> {
    let row = sqlx::query(select_run!("WHERE id = $1")).bind(id.as_str()).fetch_optional(db).await?;
    row.map(|row| run_of(&row)).transpose()
}

pub(in crate::journal) async fn runs(db: &Pool, limit: i64, before: i64) -> Result<Vec<RunRow>, sqlx::Error> {
    // The house's log was made before all time.
    let sql = select_run!("WHERE created_at < $1 AND created_at > 0 ORDER BY created_at DESC LIMIT $2");
    sqlx::query(sql).bind(before).bind(limit).fetch_all(db).await?.iter().map(run_of).collect()
}

pub(in crate::journal) async fn run_ids(db: &Pool) -> Result<Vec<RunId>, sqlx::Error> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM runs WHERE last_seq > 0 ORDER BY created_at, id")
            .fetch_all(db)
            .await?;
    Ok(ids.into_iter().map(RunId).collect())
}

pub(in crate::journal) async fn active_run_about(
    db: &Pool,
    subject: &str,
) -> Result<Option<RunRow>, sqlx::Error> {
    let sql = select_run!(
        "WHERE subject = $1 AND status IN ('queued', 'running', 'waiting') ORDER BY created_at DESC LIMIT 1"
    );
    let row = sqlx::query(sql).bind(subject).fetch_optional(db).await?;
    row.map(|row| run_of(&row)).transpose()
}

pub(in crate::journal) async fn newest_run_about(
    db: &Pool,
    subject: &str,
) -> Result<Option<RunRow>, sqlx::Error> {
    let sql = select_run!("WHERE subject = $1 ORDER BY created_at DESC LIMIT 1");
    let row = sqlx::query(sql).bind(subject).fetch_optional(db).await?;
    row.map(|row| run_of(&row)).transpose()
}

pub(in crate::journal) async fn unfinished(db: &Pool) -> Result<i64, sqlx::Error> {
    let sql = "SELECT COUNT(*) FROM runs WHERE status IN ('queued', 'running', 'waiting')";
    sqlx::query_scalar(sql).fetch_one(db).await
}

pub(in crate::journal) async fn backlog(db: &Pool, now: i64) -> Result<Backlog, sqlx::Error> {
    let mut backlog = Backlog::default();
    let sql = "SELECT status, waiting_for, COUNT(*) FROM runs WHERE status IN ('queued', 'running', 'waiting') \
               GROUP BY status, waiting_for";
    for row in sqlx::query(sql).fetch_all(db).await? {
        let (status, waiting_for): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        if let Some(status) = Status::parse(&status) {
            let waiting_for = waiting_for.as_deref().and_then(WaitingFor::parse);
            backlog.unfinished.push((status, waiting_for, row.try_get(2)?));
        }
    }
    let due = sqlx::query("SELECT COUNT(*), MIN(due_at) FROM runs WHERE due_at <= $1").bind(now);
    let due = due.fetch_one(db).await?;
    (backlog.due, backlog.due_since) = (due.try_get(0)?, due.try_get(1)?);
    let events = sqlx::query_scalar("SELECT COUNT(*) FROM intake WHERE status = 'received'");
    backlog.events = events.fetch_one(db).await?;
    Ok(backlog)
}

/// Entries of a log, each as it reads back.
pub(super) async fn log_rows(
    db: &mut Connection,
    run: &RunId,
    after: i64,
    limit: i64,
) -> Result<Vec<Result<Logged, JournalError>>, sqlx::Error> {
    let sql = "SELECT seq, ts, body FROM log WHERE run_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    let rows = sqlx::query(sql).bind(run.as_str()).bind(after).bind(limit).fetch_all(db).await?;
    rows.iter().map(|row| Ok(logged(run, row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

fn logged(run: &RunId, seq: i64, ts: i64, body: Option<String>) -> Result<Logged, JournalError> {
    let Some(body) = body else {
        return Ok(Logged { seq, ts, body: String::new(), entry: Entry::Erased });
    };
    match serde_json::from_str(&body) {
        Ok(entry) => Ok(Logged { seq, ts, body, entry }),
        Err(error) => Err(JournalError::Corrupt { run: run.clone(), seq, reason: error.to_string() }),
    }
}

pub(in crate::journal) async fn log(
    db: &Pool,
    run: &RunId,
    after: i64,
    limit: i64,
) -> Result<Vec<Result<Logged, JournalError>>, sqlx::Error> {
    let mut connection = db.acquire().await?;
    log_rows(&mut connection, run, after, limit).await
}

pub(in crate::journal) async fn intake(
    db: &Pool,
    limit: i64,
    status: Option<&str>,
    before: Option<&str>,
) -> Result<Vec<IntakeRow>, sqlx::Error> {
    // Several can have come in at the same instant: the id decides between them.
    let sql = select_intake!(
        "WHERE ($1 IS NULL OR status = $1) AND ($2 IS NULL OR (received_at, id) < \
         (SELECT x.received_at, x.id FROM intake x WHERE x.id = $2)) ORDER BY received_at DESC, id DESC LIMIT $3"
    );
    let query = sqlx::query(sql).bind(status).bind(before).bind(limit);
    query.fetch_all(db).await?.iter().map(intake_of).collect()
}

pub(in crate::journal) async fn intake_row(db: &Pool, id: &str) -> Result<Option<IntakeRow>, sqlx::Error> {
    let row = sqlx::query(select_intake!("WHERE id = $1")).bind(id).fetch_optional(db).await?;
    row.map(|row| intake_of(&row)).transpose()
}

fn recorded(row: &Row) -> Result<Recorded, sqlx::Error> {
    let salt: Option<Vec<u8>> = row.try_get(3)?;
    Ok(Recorded {
        seq: row.try_get(0)?,
        ts: row.try_get(1)?,
        body: row.try_get(2)?,
        salt: salt.map(|salt| crate::digest::hex(&salt)),
        commitment: row.try_get(4)?,
        prev: row.try_get(5)?,
        hash: row.try_get(6)?,
    })
}

/// Entries of all logs that were written after `after` and until `until`, and with the last of them all
/// that were written at the same instant.
pub(in crate::journal) async fn since(
    db: &Pool,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<(RunId, Result<Logged, JournalError>)>, sqlx::Error> {
    let sql = "SELECT run_id, seq, ts, body FROM log WHERE ts > $1 AND ts <= COALESCE((SELECT ts FROM log \
               WHERE ts > $1 AND ts <= $2 ORDER BY ts LIMIT 1 OFFSET $3), $2) ORDER BY ts, run_id, seq";
    let rows = sqlx::query(sql).bind(after).bind(until).bind(limit).fetch_all(db).await?;
    let read = |row: &Row| {
        let run = RunId(row.try_get(0)?);
        let entry = logged(&run, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok((run, entry))
    };
    rows.iter().map(read).collect()
}

async fn record_rows(
    db: &mut Connection,
    run: &RunId,
    after: i64,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let sql = "SELECT seq, ts, body, salt, commitment, prev, hash FROM log \
               WHERE run_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    sqlx::query(sql).bind(run.as_str()).bind(after).bind(limit).fetch_all(db).await
}

pub(in crate::journal) async fn record(
    db: &Pool,
    run: &RunId,
    after: i64,
    limit: i64,
) -> Result<Vec<Recorded>, sqlx::Error> {
    let mut connection = db.acquire().await?;
    record_rows(&mut connection, run, after, limit).await?.iter().map(recorded).collect()
}

/// The first entry whose place, commitment or hash is wrong, or the one that is missing at the end;
/// none when all is well. The outer option is none when there is no such run.
pub(in crate::journal) async fn first_fault(
    db: &Pool,
    run: &RunId,
) -> Result<Option<Option<i64>>, sqlx::Error> {
    let mut connection = db.acquire().await?;
    let mut snapshot = connection.begin_with(SNAPSHOT).await?;
    let stored = sqlx::query("SELECT last_seq, head FROM runs WHERE id = $1").bind(run.as_str());
    let Some(stored) = stored.fetch_optional(&mut *snapshot).await? else { return Ok(None) };
    let (last_seq, stored_head): (i64, String) = (stored.try_get(0)?, stored.try_get(1)?);
    let (mut seq, mut head) = (0, String::new());
    loop {
        let rows = record_rows(&mut snapshot, run, seq, PAGE).await?;
        for row in &rows {
            let entry = recorded(row)?;
            let salt: Option<Vec<u8>> = row.try_get(3)?;
            seq += 1;
            if !is_sound(run, seq, &head, &entry, salt.as_deref()) {
                return Ok(Some(Some(seq)));
            }
            head = entry.hash;
        }
        if (rows.len() as i64) < PAGE {
            break;
        }
    }
    Ok(Some((last_seq != seq || stored_head != head).then_some(seq + 1)))
}

fn is_sound(run: &RunId, seq: i64, head: &str, entry: &Recorded, salt: Option<&[u8]>) -> bool {
    // A body is erased together with its salt, and then only its commitment is left.
    let body_is_sound = match (&entry.body, salt) {
        (Some(body), Some(salt)) => commitment(salt, body) == entry.commitment,
        (None, None) => true,
        _ => false,
    };
    body_is_sound
        && entry.seq == seq
        && entry.prev == head
        && entry_hash(run, seq, entry.ts, &entry.commitment, head).as_str() == entry.hash
}
