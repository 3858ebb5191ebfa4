//! Every SQL statement of the product, for SQLite.

use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Connection as _, Row as _};

use super::{
    Answer, approvals, Claim, Command, Entry, IntakeRow, IntakeStatus, JournalError, Logged, NewRun, Received, Recorded,
    RunId, RunRow, Source, Status, WaitingFor,
};
use crate::digest::Digest;
use crate::event::OutsideEvent;
use crate::policy::approval::Approval;
use crate::fault_point;

/// Domain of the hash chain of one run.
const LOG_DOMAIN: &str = "ado-coworker log v1";
/// Domain of the chain over the ends of runs.
const HEADS_DOMAIN: &str = "ado-coworker heads v1";

type Applied = Result<Result<Answer, JournalError>, sqlx::Error>;

/// Does one command inside the writer's transaction. The outer error aborts the whole batch; the
/// inner one is this command's own answer, and then the command has changed nothing.
pub(super) async fn apply(db: &mut SqliteConnection, command: Command) -> Applied {
    match command {
        Command::Create { id, run, ts } => create(db, &id, run, ts).await,
        Command::Append { run, fence, known, entries, ts } => {
            append(db, run, fence, known, entries, ts).await
        }
        Command::Claim { run, holder, ts, until } => claim(db, run.as_ref(), &holder, ts, until).await,
        Command::Renew { claim, until } => {
            let sql = "UPDATE runs SET lease_until = ?1 WHERE id = ?2 AND fence = ?3 AND holder IS NOT NULL";
            let done =
                sqlx::query(sql).bind(until).bind(claim.run.as_str()).bind(claim.fence).execute(db).await?;
            Ok(Ok(Answer::Done(done.rows_affected() == 1)))
        }
        Command::Release { claim } => {
            let sql = "UPDATE runs SET holder = NULL, lease_until = NULL, \
                       status = CASE status WHEN 'running' THEN 'queued' ELSE status END \
                       WHERE id = ?1 AND fence = ?2";
            let done = sqlx::query(sql).bind(claim.run.as_str()).bind(claim.fence).execute(db).await?;
            Ok(Ok(Answer::Done(done.rows_affected() == 1)))
        }
        Command::Receive { id, key, summary, event, refused, ts } => {
            receive(db, &id, &key, &summary, &event, refused, ts).await
        }
        Command::ClaimIntake { ts, until } => claim_intake(db, ts, until).await,
        Command::Settle { id, status, reason, run, ts } => {
            let sql = "UPDATE intake SET status = ?2, reason = ?3, run_id = ?4, updated_at = ?5, lease_until = NULL \
                       WHERE id = ?1";
            let run = run.as_ref().map(RunId::as_str);
            let query = sqlx::query(sql).bind(id).bind(status.as_str()).bind(reason).bind(run).bind(ts);
            Ok(Ok(Answer::Done(query.execute(db).await?.rows_affected() == 1)))
        }
        Command::Redeliver { id, ts } => {
            let sql = "UPDATE intake SET status = 'received', reason = NULL, run_id = NULL, lease_until = NULL, \
                       updated_at = ?2 WHERE id = ?1";
            let done = sqlx::query(sql).bind(id).bind(ts).execute(db).await?;
            Ok(Ok(Answer::Done(done.rows_affected() == 1)))
        }
    }
}

async fn create(db: &mut SqliteConnection, id: &RunId, run: NewRun, ts: i64) -> Applied {
    let sql = "INSERT INTO runs (id, status, instruction, source, requested_by, subject, created_at, updated_at, \
               last_seq, head) VALUES (?1, 'queued', ?2, ?3, ?4, ?5, ?6, ?6, 0, '')";
    sqlx::query(sql)
        .bind(id.as_str())
        .bind(&run.instruction)
        .bind(run.source.as_str())
        .bind(&run.requested_by.name)
        .bind(&run.subject)
        .bind(ts)
        .execute(&mut *db)
        .await?;
    let entries = vec![
        Entry::Created {
            source: run.source,
            requested_by: run.requested_by.clone(),
            project: run.project,
            repository: run.repository,
            subject: run.subject,
            trigger: run.trigger,
        },
        Entry::Message { from: run.requested_by, text: run.instruction },
    ];
    append(db, id.clone(), None, i64::MAX, entries, ts).await
}

async fn append(
    db: &mut SqliteConnection,
    run: RunId,
    fence: Option<i64>,
    known: i64,
    entries: Vec<Entry>,
    ts: i64,
) -> Applied {
    let row = sqlx::query("SELECT last_seq, head, fence, holder FROM runs WHERE id = ?1")
        .bind(run.as_str())
        .fetch_optional(&mut *db)
        .await?;
    let Some(row) = row else { return Ok(Err(JournalError::UnknownRun(run))) };
    let (mut seq, mut head): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    let held: Option<String> = row.try_get(3)?;
    let current: i64 = row.try_get(2)?;
    let fenced = fence.is_some_and(|fence| held.is_none() || fence != current);
    if fenced && !fault_point::is_off("fence") {
        return Ok(Err(JournalError::Fenced(run)));
    }
    // What others added since the holder last looked comes first in its answer.
    let mut log = if seq > known { read_log(&mut *db, &run, known, seq - known).await? } else { Vec::new() };
    // A run is not ended or laid aside over words that its holder has not read.
    if fence.is_some() && !log.is_empty() && entries.iter().any(Entry::leaves_the_run) {
        return Ok(log.into_iter().collect::<Result<_, _>>().map(Answer::Log));
    }
    if let Err(error) = move_approvals(&mut *db, &run, &entries, ts).await? {
        return Ok(Err(error));
    }
    let mut change = StatusChange::default();
    for entry in entries {
        seq += 1;
        let body = serde_json::to_string(&entry).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
        let hash = entry_hash(&run, seq, ts, &body, &head);
        sqlx::query("INSERT INTO log (run_id, seq, ts, body, prev, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .bind(run.as_str())
            .bind(seq)
            .bind(ts)
            .bind(&body)
            .bind(&head)
            .bind(hash.as_str())
            .execute(&mut *db)
            .await?;
        head = hash.as_str().to_owned();
        change.take(&entry, fence.is_some());
        log.push(Ok(Logged { seq, ts, body, entry }));
    }
    sqlx::query("UPDATE runs SET last_seq = ?2, head = ?3, updated_at = ?4 WHERE id = ?1")
        .bind(run.as_str())
        .bind(seq)
        .bind(&head)
        .bind(ts)
        .execute(&mut *db)
        .await?;
    project(db, &run, seq, &head, &change, ts).await?;
    Ok(log.into_iter().collect::<Result<_, _>>().map(Answer::Log))
}

/// What new entries do to a run's row.
#[derive(Default)]
struct StatusChange {
    status: Option<Status>,
    waiting_for: Option<WaitingFor>,
    wake_at: Option<i64>,
    wake_now: bool,
}

impl StatusChange {
    fn take(&mut self, entry: &Entry, by_holder: bool) {
        match entry {
            Entry::Waiting { waiting_for, wake_at, .. } => {
                self.status = Some(Status::Waiting);
                self.waiting_for = Some(*waiting_for);
                self.wake_at = *wake_at;
            }
            Entry::Resumed {} => {
                self.status = Some(Status::Running);
                self.waiting_for = None;
            }
            Entry::Finished { status, .. } => self.status = Some(*status),
            // Words or a stop from outside wake a run that nobody holds, also one that had ended.
            Entry::Message { .. } | Entry::CancelRequested { .. } | Entry::ApprovalChanged { .. } if !by_holder => {
                self.wake_now = true;
            }
            _ => {}
        }
    }
}

async fn project(
    db: &mut SqliteConnection,
    run: &RunId,
    seq: i64,
    head: &str,
    change: &StatusChange,
    ts: i64,
) -> Result<(), sqlx::Error> {
    if let Some(status) = change.status {
        let sql = "UPDATE runs SET status = ?2, waiting_for = ?3, wake_at = ?4 WHERE id = ?1";
        let waiting_for = change.waiting_for.map(WaitingFor::as_str);
        let query = sqlx::query(sql).bind(run.as_str()).bind(status.as_str()).bind(waiting_for);
        query.bind(change.wake_at).execute(&mut *db).await?;
        if status == Status::Waiting || status.is_final() {
            let sql = "UPDATE runs SET holder = NULL, lease_until = NULL WHERE id = ?1";
            sqlx::query(sql).bind(run.as_str()).execute(&mut *db).await?;
        }
        if status.is_final() {
            chain_head(db, run, seq, head).await?;
        }
    }
    if change.wake_now {
        let sql = "UPDATE runs SET status = 'queued', wake_at = ?2 WHERE id = ?1 AND holder IS NULL \
                   AND status NOT IN ('queued', 'running')";
        sqlx::query(sql).bind(run.as_str()).bind(ts).execute(db).await?;
    }
    Ok(())
}

async fn chain_head(db: &mut SqliteConnection, run: &RunId, seq: i64, head: &str) -> Result<(), sqlx::Error> {
    let last =
        sqlx::query("SELECT n, hash FROM heads ORDER BY n DESC LIMIT 1").fetch_optional(&mut *db).await?;
    let (n, prev): (i64, String) = match last {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (0, String::new()),
    };
    let text = format!("{}\n{run}\n{seq}\n{head}", n + 1);
    let hash = Digest::chain(HEADS_DOMAIN, &prev, text.as_bytes());
    sqlx::query("INSERT INTO heads (n, run_id, seq, head, prev, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
        .bind(n + 1)
        .bind(run.as_str())
        .bind(seq)
        .bind(head)
        .bind(prev)
        .bind(hash.as_str())
        .execute(db)
        .await?;
    Ok(())
}

fn entry_hash(run: &RunId, seq: i64, ts: i64, body: &str, prev: &str) -> Digest {
    Digest::chain(LOG_DOMAIN, prev, format!("{run}\n{seq}\n{ts}\n{body}").as_bytes())
}

async fn claim(db: &mut SqliteConnection, run: Option<&RunId>, holder: &str, ts: i64, until: i64) -> Applied {
    let sql = "UPDATE runs SET status = 'running', holder = ?1, lease_until = ?3, fence = fence + 1, \
               waiting_for = NULL, wake_at = NULL \
               WHERE id = (SELECT id FROM runs WHERE (?4 IS NULL OR id = ?4) AND (status = 'queued' \
                           OR (status = 'running' AND (lease_until IS NULL OR lease_until < ?2)) \
                           OR (status = 'waiting' AND wake_at <= ?2)) \
                           ORDER BY created_at LIMIT 1) \
               RETURNING id, fence";
    let query = sqlx::query(sql).bind(holder).bind(ts).bind(until).bind(run.map(RunId::as_str));
    let row = query.fetch_optional(db).await?;
    let claim = match row {
        Some(row) => Some(Claim { run: RunId(row.try_get(0)?), fence: row.try_get(1)? }),
        None => None,
    };
    Ok(Ok(Answer::Claimed(claim)))
}

async fn receive(
    db: &mut SqliteConnection,
    id: &str,
    key: &str,
    summary: &str,
    event: &OutsideEvent,
    refused: Option<String>,
    ts: i64,
) -> Applied {
    let known: Option<SqliteRow> =
        sqlx::query("SELECT id FROM intake WHERE dedup_key = ?1").bind(key).fetch_optional(&mut *db).await?;
    if let Some(row) = known {
        return Ok(Ok(Answer::Received(Received { id: row.try_get(0)?, duplicate: true })));
    }
    let sql = "INSERT INTO intake (id, dedup_key, kind, summary, event, status, reason, received_at, updated_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)";
    let event = serde_json::to_string(event).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    let status = if refused.is_some() { IntakeStatus::Ignored } else { IntakeStatus::Received };
    let kind = key.split(':').next().unwrap_or_default();
    let query = sqlx::query(sql).bind(id).bind(key).bind(kind).bind(summary).bind(event);
    query.bind(status.as_str()).bind(refused).bind(ts).execute(db).await?;
    Ok(Ok(Answer::Received(Received { id: id.to_owned(), duplicate: false })))
}

const INTAKE: &str = "id, kind, summary, event, status, reason, run_id, received_at";

async fn claim_intake(db: &mut SqliteConnection, ts: i64, until: i64) -> Applied {
    let sql = "UPDATE intake SET lease_until = ?2 WHERE id = (SELECT id FROM intake WHERE status = 'received' \
               AND (lease_until IS NULL OR lease_until < ?1) ORDER BY received_at LIMIT 1) \
               RETURNING id, kind, summary, event, status, reason, run_id, received_at";
    let row = sqlx::query(sql).bind(ts).bind(until).fetch_optional(db).await?;
    Ok(Ok(Answer::Intake(row.map(|row| read_intake(&row)).transpose()?)))
}

fn read_intake(row: &SqliteRow) -> Result<IntakeRow, sqlx::Error> {
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

fn store(error: sqlx::Error) -> JournalError {
    JournalError::Store(error.to_string())
}

const RUN: &str = "SELECT id, status, waiting_for, instruction, source, requested_by, subject, created_at, \
                   updated_at, last_seq FROM runs ";

fn read_run(row: &SqliteRow) -> Result<RunRow, sqlx::Error> {
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
    })
}

pub(super) async fn run(db: &SqlitePool, id: &RunId) -> Result<Option<RunRow>, JournalError> {
    let sql = sqlx::AssertSqlSafe(format!("{RUN} WHERE id = ?1"));
    let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(db).await.map_err(store)?;
    row.map(|row| read_run(&row)).transpose().map_err(store)
}

pub(super) async fn runs(db: &SqlitePool, limit: i64, before: i64) -> Result<Vec<RunRow>, JournalError> {
    let sql = sqlx::AssertSqlSafe(format!("{RUN} WHERE created_at < ?1 ORDER BY created_at DESC LIMIT ?2"));
    let rows = sqlx::query(sql).bind(before).bind(limit).fetch_all(db).await.map_err(store)?;
    rows.iter().map(read_run).collect::<Result<_, _>>().map_err(store)
}

pub(super) async fn active_run_about(db: &SqlitePool, subject: &str) -> Result<Option<RunRow>, JournalError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "{RUN} WHERE subject = ?1 AND status IN ('queued', 'running', 'waiting') ORDER BY created_at DESC LIMIT 1"
    ));
    let row = sqlx::query(sql).bind(subject).fetch_optional(db).await.map_err(store)?;
    row.map(|row| read_run(&row)).transpose().map_err(store)
}

pub(super) async fn unfinished(db: &SqlitePool) -> Result<i64, JournalError> {
    let sql = "SELECT COUNT(*) FROM runs WHERE status IN ('queued', 'running', 'waiting')";
    sqlx::query_scalar(sql).fetch_one(db).await.map_err(store)
}

async fn read_log(
    db: &mut SqliteConnection,
    run: &RunId,
    after: i64,
    limit: i64,
) -> Result<Vec<Result<Logged, JournalError>>, sqlx::Error> {
    let sql = "SELECT seq, ts, body FROM log WHERE run_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    let rows = sqlx::query(sql).bind(run.as_str()).bind(after).bind(limit).fetch_all(db).await?;
    rows.iter()
        .map(|row| {
            let (seq, ts, body): (i64, i64, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(match serde_json::from_str(&body) {
                Ok(entry) => Ok(Logged { seq, ts, body, entry }),
                Err(e) => Err(JournalError::Corrupt { run: run.clone(), seq, reason: e.to_string() }),
            })
        })
        .collect()
}

pub(super) async fn log(
    db: &SqlitePool,
    run: &RunId,
    after: i64,
    limit: i64,
) -> Result<Vec<Logged>, JournalError> {
    let mut connection = db.acquire().await.map_err(store)?;
    read_log(&mut connection, run, after, limit).await.map_err(store)?.into_iter().collect()
}

pub(super) async fn intake(db: &SqlitePool, limit: i64) -> Result<Vec<IntakeRow>, JournalError> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT {INTAKE} FROM intake ORDER BY received_at DESC LIMIT ?1"));
    let rows = sqlx::query(sql).bind(limit).fetch_all(db).await.map_err(store)?;
    rows.iter().map(read_intake).collect::<Result<_, _>>().map_err(store)
}

pub(super) async fn intake_row(db: &SqlitePool, id: &str) -> Result<Option<IntakeRow>, JournalError> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT {INTAKE} FROM intake WHERE id = ?1"));
    let row = sqlx::query(sql).bind(id).fetch_optional(db).await.map_err(store)?;
    row.map(|row| read_intake(&row)).transpose().map_err(store)
}

pub(super) async fn record(
    db: &SqlitePool,
    run: &RunId,
    after: i64,
    limit: i64,
) -> Result<Vec<Recorded>, JournalError> {
    let sql =
        "SELECT seq, ts, body, prev, hash FROM log WHERE run_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    let query = sqlx::query(sql).bind(run.as_str()).bind(after).bind(limit);
    let rows = query.fetch_all(db).await.map_err(store)?;
    let read = |row: &SqliteRow| {
        Ok(Recorded {
            seq: row.try_get(0)?,
            ts: row.try_get(1)?,
            body: row.try_get(2)?,
            prev: row.try_get(3)?,
            hash: row.try_get(4)?,
        })
    };
    rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(store)
}

pub(super) async fn first_fault(db: &SqlitePool, run: &RunId) -> Result<Option<i64>, JournalError> {
    let mut connection = db.acquire().await.map_err(store)?;
    let mut snapshot = connection.begin().await.map_err(store)?;
    let sql = "SELECT seq, ts, body, prev, hash FROM log WHERE run_id = ?1 ORDER BY seq";
    let rows = sqlx::query(sql).bind(run.as_str()).fetch_all(&mut *snapshot).await.map_err(store)?;
    let (mut expected, mut head) = (0, String::new());
    for row in &rows {
        let read = || -> Result<(i64, i64, String, String, String), sqlx::Error> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?))
        };
        let (seq, ts, body, prev, hash) = read().map_err(store)?;
        expected += 1;
        if seq != expected || prev != head || entry_hash(run, seq, ts, &body, &prev).as_str() != hash {
            return Ok(Some(expected));
        }
        head = hash;
    }
    let stored = sqlx::query("SELECT last_seq, head FROM runs WHERE id = ?1").bind(run.as_str());
    let Some(row) = stored.fetch_optional(&mut *snapshot).await.map_err(store)? else {
        return Err(JournalError::UnknownRun(run.clone()));
    };
    let (last_seq, stored): (i64, String) = (row.try_get(0).map_err(store)?, row.try_get(1).map_err(store)?);
    Ok((last_seq != expected || stored != head).then_some(expected + 1))
}

async fn move_approvals(
    db: &mut SqliteConnection,
    run: &RunId,
    entries: &[Entry],
    ts: i64,
) -> Result<Result<(), JournalError>, sqlx::Error> {
    let mut kept = std::collections::BTreeMap::new();
    for id in approvals::named(entries.iter()) {
        let sql = "SELECT run_id, body FROM approvals WHERE id = ?1";
        if let Some(row) = sqlx::query(sql).bind(id).fetch_optional(&mut *db).await? {
            let (run, approval) = read_approval(&row)?;
            kept.insert(id.to_owned(), approvals::Kept { run, approval });
        }
    }
    if let Err(error) = approvals::fold(run, entries.iter(), &mut kept, ts) {
        return Ok(Err(error));
    }
    for (id, kept) in kept {
        let sql = "INSERT INTO approvals (id, run_id, state, requested_at, expires_at, grant_until, body) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO UPDATE SET \
                   state = excluded.state, grant_until = excluded.grant_until, body = excluded.body";
        let body = serde_json::to_string(&kept.approval).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
        sqlx::query(sql)
            .bind(&id)
            .bind(kept.run.as_str())
            .bind(kept.approval.state.as_str())
            .bind(kept.approval.requested_at)
            .bind(kept.approval.request.expires_at)
            .bind(approvals::grant_until(&kept.approval))
            .bind(&body)
            .execute(&mut *db)
            .await?;
    }
    Ok(Ok(()))
}

fn read_approval(row: &SqliteRow) -> Result<(RunId, Approval), sqlx::Error> {
    let body: String = row.try_get(1)?;
    let approval = serde_json::from_str(&body).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
    Ok((RunId(row.try_get(0)?), approval))
}

pub(super) async fn approval(db: &SqlitePool, id: &str) -> Result<Option<(RunId, Approval)>, JournalError> {
    let sql = "SELECT run_id, body FROM approvals WHERE id = ?1";
    let row = sqlx::query(sql).bind(id).fetch_optional(db).await.map_err(store)?;
    row.map(|row| read_approval(&row)).transpose().map_err(store)
}

pub(super) async fn approvals(
    db: &SqlitePool,
    state: Option<&str>,
    limit: i64,
) -> Result<Vec<(RunId, Approval)>, JournalError> {
    let sql = "SELECT run_id, body FROM approvals WHERE ?1 IS NULL OR state = ?1 \
               ORDER BY requested_at DESC LIMIT ?2";
    let rows = sqlx::query(sql).bind(state).bind(limit).fetch_all(db).await.map_err(store)?;
    rows.iter().map(read_approval).collect::<Result<_, _>>().map_err(store)
}

pub(super) async fn asked_since(db: &SqlitePool, ts: i64) -> Result<(i64, Option<i64>), JournalError> {
    let sql = "SELECT COUNT(*), MIN(requested_at) FROM approvals WHERE requested_at > ?1";
    let row = sqlx::query(sql).bind(ts).fetch_one(db).await.map_err(store)?;
    Ok((row.try_get(0).map_err(store)?, row.try_get(1).map_err(store)?))
}

pub(super) async fn open_grants(db: &SqlitePool, now: i64, limit: i64) -> Result<Vec<Approval>, JournalError> {
    let sql = "SELECT run_id, body FROM approvals WHERE grant_until > ?1 ORDER BY requested_at DESC LIMIT ?2";
    let rows = sqlx::query(sql).bind(now).bind(limit).fetch_all(db).await.map_err(store)?;
    rows.iter().map(|row| read_approval(row).map(|(_, approval)| approval)).collect::<Result<_, _>>().map_err(store)
}
