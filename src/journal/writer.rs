//! The one writer: takes commands from everywhere and commits them together.
//!
//! SQLite syncs once per commit, so commands that arrive while a commit is under way share the
//! next one. A command is answered only when its commit is on disk. When the store fails, every
//! command of that batch is refused and nothing of it remains.

use sqlx::sqlite::SqlitePool;
use tokio::sync::{mpsc, oneshot};

use super::{Answer, Command, JournalError, sqlite};
use crate::fault_point;

/// Commands that may wait for the writer; senders beyond that wait themselves.
const QUEUE: usize = 1_024;
/// Most commands in one commit.
const BATCH: usize = 256;

type Request = (Command, oneshot::Sender<Result<Answer, JournalError>>);

/// The handle to the writer.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Request>,
}

impl Writer {
    /// Starts the writer on a pool of exactly one connection. It ends when the last handle goes.
    pub(super) fn start(pool: SqlitePool) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        tokio::spawn(work(pool, requests));
        Self { queue }
    }

    /// Does one command, durably.
    pub(super) async fn write(&self, command: Command) -> Result<Answer, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send((command, reply)).await.map_err(|_| JournalError::Closed)?;
        answer.await.map_err(|_| JournalError::Closed)?
    }
}

async fn work(pool: SqlitePool, mut requests: mpsc::Receiver<Request>) {
    let mut batch = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let (commands, replies): (Vec<Command>, Vec<_>) = batch.drain(..).unzip();
        match commit(&pool, commands).await {
            Ok(answers) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // The asker may have gone; what it asked for is done all the same.
                    let _ = reply.send(answer);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the journal could not commit");
                let text = error.to_string();
                for reply in replies {
                    let _ = reply.send(Err(JournalError::Store(text.clone())));
                }
            }
        }
    }
}

async fn commit(
    pool: &SqlitePool,
    commands: Vec<Command>,
) -> Result<Vec<Result<Answer, JournalError>>, sqlx::Error> {
    // IMMEDIATE: a deferred transaction that reads first and then writes fails at once when it is busy.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let mut answers = Vec::with_capacity(commands.len());
    for command in commands {
        answers.push(sqlite::apply(&mut transaction, command).await?);
    }
    fault_point::pass("journal.before_commit");
    transaction.commit().await?;
    fault_point::pass("journal.after_commit");
    Ok(answers)
}
