//! The one writer of a process: takes commands from everywhere and commits them together.
//!
//! The store syncs once per commit, so commands that arrive while a commit is under way share the
//! next one. A command is answered only when its commit is on disk. When the store cannot be reached
//! the writer tries again for a while; a command whose asker has gone by then is left out. A disk
//! that failed to write is not tried again: what is on it is not known any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::command::{Answer, Command};
use super::feed::Bus;
use super::store::{Backend, Committed, Fault, Unsure};
use super::{JournalError, MAX_SILENCE};
use crate::meter;

/// Commands that may wait for the writer; senders beyond that wait themselves.
const QUEUE: usize = 1_024;
/// Most commands in one commit.
const BATCH: usize = 256;
/// Pause before the second try at a commit; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

type Request = (Command, oneshot::Sender<Result<Answer, JournalError>>);

/// The handle to the writer.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Request>,
    failed: watch::Receiver<Option<String>>,
}

impl Writer {
    /// Starts the writer. It ends when the last handle goes.
    pub(super) fn start<B: Backend>(store: B, bus: Arc<Bus>) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        let (failing, failed) = watch::channel(None);
        let writing = Writing { store, connection: None, unsure: None, bus };
        tokio::spawn(writing.work(requests, failing));
        Self { queue, failed }
    }

    /// Does one command, durably.
    pub(super) async fn write(&self, command: Command) -> Result<Answer, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send((command, reply)).await.map_err(|_| JournalError::Closed)?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    /// Ends when the writer gave up for good, with the reason.
    pub(super) async fn failure(&self) -> String {
        let mut failed = self.failed.clone();
        // Cloned out: what is watched is not held while this waits for ever.
        let why = failed.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            // The writer ended with the journal: nothing failed.
            None => std::future::pending().await,
        }
    }
}

struct Writing<B: Backend> {
    store: B,
    connection: Option<B::Connection>,
    unsure: Option<Unsure>,
    bus: Arc<Bus>,
}

impl<B: Backend> Writing<B> {
    async fn work(mut self, mut requests: mpsc::Receiver<Request>, failing: watch::Sender<Option<String>>) {
        let mut batch = Vec::with_capacity(BATCH);
        while requests.recv_many(&mut batch, BATCH).await > 0 {
            if let Err(why) = self.write(&mut batch).await {
                tracing::error!(%why, "the disk failed: the journal writes no more, and the process must end");
                failing.send_replace(Some(why));
                return;
            }
            batch.clear();
        }
    }

    /// Writes a batch and answers it. An error is final.
    async fn write(&mut self, batch: &mut Vec<Request>) -> Result<(), String> {
        let (since, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            if self.unsure.is_none() {
                // Nobody was told that it was done, and nobody waits for it any more.
                batch.retain(|(_, reply)| !reply.is_closed());
            }
            if batch.is_empty() {
                return Ok(());
            }
            let begun = Instant::now();
            let error = match self.attempt(batch).await {
                Ok(committed) => {
                    meter::commit(batch.len(), begun.elapsed());
                    self.bus.tell(&committed.told);
                    for ((command, reply), answer) in batch.drain(..).zip(committed.answers) {
                        drop(command);
                        // The asker may have gone meanwhile; what it asked for is done all the same.
                        let _ = reply.send(answer);
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            let fault = match B::judge(&error) {
                // Before it is known whether the commit took place, nobody can be told that it did not.
                Fault::Refused if self.unsure.is_some() => Fault::Passing,
                fault => fault,
            };
            match fault {
                Fault::Fatal => return Err(error.to_string()),
                Fault::Full => return self.refuse(batch, || JournalError::Full),
                Fault::Refused if batch.len() > 1 => return self.one_by_one(batch).await,
                Fault::Passing if since.elapsed() < MAX_SILENCE => {
                    if pause == FIRST_PAUSE {
                        tracing::warn!(%error, "the journal cannot commit now; trying again");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Fault::Refused | Fault::Passing => {
                    let text = error.to_string();
                    tracing::error!(error = text, "the journal could not commit");
                    return self.refuse(batch, || JournalError::Store(text.clone()));
                }
            }
        }
    }

    fn refuse(&mut self, batch: &mut Vec<Request>, why: impl Fn() -> JournalError) -> Result<(), String> {
        self.unsure = None;
        for (_, reply) in batch.drain(..) {
            let _ = reply.send(Err(why()));
        }
        Ok(())
    }

    /// One command that the store refuses must not take the others with it.
    async fn one_by_one(&mut self, batch: &mut Vec<Request>) -> Result<(), String> {
        for request in batch.drain(..) {
            Box::pin(self.write(&mut vec![request])).await?;
        }
        Ok(())
    }

    async fn attempt(&mut self, batch: &[Request]) -> Result<Committed, sqlx::Error> {
        let outcome = match B::COMMIT_TIMEOUT {
            Some(limit) => {
                let attempt = tokio::time::timeout(limit, self.attempt_once(batch)).await;
                attempt.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            }
            None => self.attempt_once(batch).await,
        };
        if outcome.is_err() {
            // Whatever state the connection is in, a new one has none.
            self.connection = None;
        }
        outcome
    }

    async fn attempt_once(&mut self, batch: &[Request]) -> Result<Committed, sqlx::Error> {
        if self.connection.is_none() {
            self.connection = Some(self.store.connect().await?);
        }
        let Some(connection) = self.connection.as_mut() else { return Err(sqlx::Error::PoolClosed) };
        if let Some(unsure) = &self.unsure {
            let happened = self.store.happened(connection, &unsure.transaction).await?;
            match (happened, self.unsure.take()) {
                (Some(true), Some(unsure)) => return Ok(unsure.committed),
                (Some(false), _) => {}
                (_, unsure) => {
                    self.unsure = unsure;
                    return Err(sqlx::Error::PoolTimedOut);
                }
            }
        }
        let commands: Vec<&Command> = batch.iter().map(|(command, _)| command).collect();
        self.store.commit(connection, &commands, &mut self.unsure).await
    }
}
