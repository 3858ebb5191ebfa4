//! The queue, its leases and its timers in simulated time: workers that die, stand still and come
//! back, events that come twice, clocks that jump, a disk that fills up, people who approve, refuse,
//! come too late, twice or may not. Everything follows from a seed; a seed that fails becomes a named
//! test.

mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use ado_coworker::clock::{self, Clock};
use ado_coworker::event::OutsideEvent;
use ado_coworker::journal::{
    Claim, Entry, IntakeStatus, Journal, JournalError, Judging, Logged, NewRun, Person, RunId, Source,
    Status, WaitingFor,
};

/// Seeds in an ordinary run; `ADO_COWORKER_TEST_SEEDS` sets another number for the soak.
const SEEDS: u64 = 200;
const WORKERS: usize = 4;
/// Events of one seed; a third of them come more than once.
const EVENTS: u64 = 12;
/// Things that the events are about.
const SUBJECTS: u64 = 5;
/// Effects of one run.
const EFFECTS: u32 = 3;
/// Moves of one seed while there are faults.
const MOVES: u32 = 200;
/// Moves after the last fault in which everything must come to its end.
const PATIENCE: u32 = 2_500;
const LEASE: Duration = Duration::from_secs(10);
const JUDGING: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_secs(30);
/// Rows that are read of each kind.
const ROWS: i64 = 1_000;

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

use held::{HELD, Held, People};

/// What a worker is at.
enum At {
    Nothing,
    Events(Judging),
    Run { claim: Claim, log: Vec<Logged> },
}

struct Worker {
    name: String,
    at: At,
    /// Moves for which it stands still, its lease running out meanwhile.
    still: u32,
}

struct Simulation {
    dice: Dice,
    clock: Clock,
    folder: tempfile::TempDir,
    journal: Journal,
    workers: Vec<Worker>,
    /// The organisation: how often each effect of each run happened.
    effects: BTreeMap<(String, u32), u32>,
    fences: BTreeMap<RunId, i64>,
    /// When the lease of each run that is held ends, by the store's time.
    leases: BTreeMap<RunId, (i64, jiff::Timestamp)>,
    acknowledged: BTreeSet<u64>,
    sent: BTreeSet<u64>,
    settled: BTreeMap<String, IntakeStatus>,
    people: People,
    faults: u32,
    moves: u32,
    calm: bool,
}

fn url(folder: &Path, pages: Option<u32>) -> String {
    let limit = pages.map(|pages| format!("?max_page_count={pages}")).unwrap_or_default();
    format!("sqlite:{}{limit}", folder.join("journal.db").display())
}

fn mark(what: &str, n: u32) -> Entry {
    Entry::Trouble { what: format!("{what} {n}"), remedy: None }
}

/// The newest effect that the log says is intended, and the newest that it says is done.
fn progress(log: &[Logged]) -> (u32, u32) {
    let newest = |word: &str| {
        let numbers = log.iter().filter_map(|logged| match &logged.entry {
            Entry::Trouble { what, .. } => what.strip_prefix(word)?.trim().parse().ok(),
            _ => None,
        });
        numbers.max().unwrap_or(0)
    };
    (newest("intent"), newest("outcome"))
}

fn event(n: u64) -> OutsideEvent {
    OutsideEvent::PullRequestCommented {
        repository_id: "shop".into(),
        pull_request_id: u32::try_from(n % SUBJECTS).unwrap(),
        thread_id: Some(1),
        comment_id: u32::try_from(n).unwrap(),
    }
}

impl Simulation {
    async fn new(seed: u64) -> Self {
        let clock = Clock::stepped("2026-11-22T10:00:00Z".parse().unwrap());
        // Memory, where there is such a folder: what is simulated here is time, not the disk.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let journal = Journal::open(&url(folder.path(), None), clock.clone()).await.unwrap();
        let worker = |n| Worker { name: format!("worker-{n}"), at: At::Nothing, still: 0 };
        Self {
            dice: Dice(seed),
            clock,
            folder,
            journal,
            workers: (0..WORKERS).map(worker).collect(),
            effects: BTreeMap::new(),
            fences: BTreeMap::new(),
            leases: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            sent: BTreeSet::new(),
            settled: BTreeMap::new(),
            people: People::default(),
            faults: 0,
            moves: 0,
            calm: false,
        }
    }

    /// The whole of it. An error says which invariant does not hold.
    async fn run(mut self) -> Result<(u32, u32), String> {
        for _ in 0..MOVES {
            self.step().await?;
        }
        self.calm = true;
        // The clock is right again: what a jump back put off is due.
        self.clock.advance(Duration::from_secs(24 * 3_600));
        self.reopen(None).await?;
        // A sender comes again until it has its answer.
        for n in 0..EVENTS {
            self.deliver(n).await?;
        }
        for _ in 0..PATIENCE {
            self.step().await?;
            if self.moves.is_multiple_of(50) && self.is_over().await? {
                self.judge().await?;
                return Ok((self.moves, self.faults));
            }
        }
        Err("9: not everything came to its end after the faults had stopped".into())
    }

    async fn step(&mut self) -> Result<(), String> {
        self.moves += 1;
        let ms = 1 + self.dice.below(1_500);
        self.clock.advance(Duration::from_millis(ms));
        if !self.calm && self.dice.one_in(12) {
            self.fault().await?;
        }
        if !self.calm && self.dice.one_in(8) {
            let n = self.dice.below(EVENTS);
            self.deliver(n).await?;
        }
        if self.dice.one_in(10) {
            self.somebody_decides().await?;
        }
        let at = self.dice.below(WORKERS as u64) as usize;
        if self.workers[at].still > 0 && !self.calm {
            self.workers[at].still -= 1;
            return Ok(());
        }
        self.work(at).await?;
        self.watch_events().await
    }

    /// Something goes wrong.
    async fn fault(&mut self) -> Result<(), String> {
        self.faults += 1;
        let at = self.dice.below(WORKERS as u64) as usize;
        match self.dice.below(7) {
            // It dies, and another of its name starts with nothing in its head.
            0 | 1 => self.workers[at].at = At::Nothing,
            2 => self.workers[at].still = 5 + u32::try_from(self.dice.below(60)).unwrap_or(0),
            3 => {
                let back = Duration::from_secs(1 + self.dice.below(3_600));
                let now = self.clock.now();
                self.clock.jump(now.checked_sub(back).unwrap_or(now));
            }
            4 => self.clock.advance(Duration::from_secs(1 + self.dice.below(3_600))),
            5 => self.reopen(None).await?,
            // The disk is full: what needs a new page is refused.
            _ => self.reopen(Some(1)).await?,
        }
        Ok(())
    }

    /// All processes begin anew, on a disk that has room or has none.
    async fn reopen(&mut self, pages: Option<u32>) -> Result<(), String> {
        let opened = Journal::open(&url(self.folder.path(), pages), self.clock.clone()).await;
        self.journal = opened.map_err(|error| format!("the journal does not open again: {error}"))?;
        for worker in &mut self.workers {
            worker.at = At::Nothing;
        }
        self.leases.clear();
        Ok(())
    }

    async fn deliver(&mut self, n: u64) -> Result<(), String> {
        self.sent.insert(n);
        let key = format!("comment:{n}");
        let refused = (n % 7 == 6).then(|| "not acted on".to_owned());
        let subject = format!("pull_request:{}", n % SUBJECTS);
        let wait = Duration::from_secs(n % 4);
        let received = self.journal.receive_about(&key, "x", event(n), refused, Some(&subject), wait).await;
        match received {
            Ok(_) => {
                self.acknowledged.insert(n);
                Ok(())
            }
            Err(JournalError::Full | JournalError::Store(_)) if !self.calm => Ok(()),
            Err(error) => Err(format!("an event could not be received: {error}")),
        }
    }

    /// A worker makes one move.
    async fn work(&mut self, at: usize) -> Result<(), String> {
        let doing = std::mem::replace(&mut self.workers[at].at, At::Nothing);
        let next = match doing {
            At::Nothing => self.look(at).await,
            At::Events(judging) => self.decide(judging).await,
            At::Run { claim, log } => self.advance(claim, log).await,
        };
        match next {
            Ok(next) => self.workers[at].at = next,
            Err(Stop::Lost) => {}
            Err(Stop::Wrong(why)) => return Err(why),
        }
        Ok(())
    }

    async fn look(&mut self, at: usize) -> Result<At, Stop> {
        if self.dice.one_in(2)
            && let Some(judging) = self.journal.claim_intake(JUDGING).await?
        {
            return Ok(At::Events(judging));
        }
        let (name, now) = (self.workers[at].name.clone(), self.clock.now());
        let Some(claim) = self.journal.claim(&name, LEASE).await? else { return Ok(At::Nothing) };
        let newest = self.fences.get(&claim.run).copied().unwrap_or(0);
        if claim.fence <= newest {
            return Err(wrong(format!("5: fence {} was given after {newest}", claim.fence)));
        }
        if let Some((fence, until)) = self.leases.get(&claim.run)
            && *until > now
        {
            return Err(wrong(format!("5: a run was taken while the lease of fence {fence} held")));
        }
        self.fences.insert(claim.run.clone(), claim.fence);
        self.leases.insert(claim.run.clone(), (claim.fence, clock::add(now, LEASE)));
        let log = self.journal.whole_log(&claim.run).await?;
        Ok(At::Run { claim, log })
    }

    /// Says what events mean.
    async fn decide(&mut self, judging: Judging) -> Result<At, Stop> {
        if !self.calm && self.dice.one_in(5) {
            self.journal.postpone(&judging, PAUSE).await?;
            return Ok(At::Nothing);
        }
        if self.dice.one_in(3) {
            let status = IntakeStatus::Ignored;
            self.journal.settle(&judging, status, Some("nothing follows".into()), None).await?;
            return Ok(At::Nothing);
        }
        let OutsideEvent::PullRequestCommented { pull_request_id, .. } = judging.events[0].event else {
            return Err(wrong("an event came back as another".into()));
        };
        let run = NewRun {
            instruction: "work".into(),
            source: Source::Webhook,
            requested_by: Person::named("alice"),
            project: format!("P{}", pull_request_id % 2),
            repository: "shop".into(),
            subject: Some(format!("pull_request:{pull_request_id}")),
            trigger: None,
        };
        self.journal.order(run, &judging).await?;
        Ok(At::Nothing)
    }

    /// One thing of a run: an intent, an effect, an outcome, a wait or the end.
    async fn advance(&mut self, claim: Claim, mut log: Vec<Logged>) -> Result<At, Stop> {
        if self.dice.one_in(6) {
            let held = self.journal.renew(&claim, LEASE).await?;
            let newest = self.fences.get(&claim.run) == Some(&claim.fence);
            if held && !newest {
                return Err(wrong("5: a lease was renewed with an old fence".into()));
            }
            if held {
                let until = clock::add(self.clock.now(), LEASE);
                self.leases.insert(claim.run.clone(), (claim.fence, until));
            }
            return Ok(if held { At::Run { claim, log } } else { At::Nothing });
        }
        let (intended, done) = progress(&log);
        let run = claim.run.to_string();
        let ends = |entry: &Entry| matches!(entry, Entry::Waiting { .. } | Entry::Finished { .. });
        let now = self.clock.now().as_microsecond();
        let finished = |status| vec![Entry::Finished { status, answer: "it is over".into(), remedy: None }];
        let entries = if intended > done {
            let happened = self.effects.contains_key(&(run.clone(), intended));
            // Between its intent and its outcome stands only the holder, as far as leases go.
            let is_ours = self.fences.get(&claim.run) == Some(&claim.fence);
            if !happened && is_ours {
                if intended == HELD && !self.is_let(&log) {
                    return Err(wrong("3: an effect that nobody approved".into()));
                }
                *self.effects.entry((run, intended)).or_default() += 1;
                return Ok(At::Run { claim, log });
            }
            let held = if intended == HELD { held::after(&log) } else { Vec::new() };
            [mark("outcome", intended)].into_iter().chain(held).collect()
        } else if done == EFFECTS {
            finished(Status::Done)
        } else if !self.calm && self.dice.one_in(6) {
            let wake_at = Some(clock::add(self.clock.now(), PAUSE).as_microsecond());
            vec![Entry::Waiting { waiting_for: WaitingFor::RateLimit, reason: "wait".into(), wake_at }]
        } else if done + 1 == HELD {
            match held::before(&run, &log, now) {
                Held::Wait(entries) | Held::Go(entries) => entries,
                Held::GiveUp => finished(Status::Refused),
            }
        } else {
            vec![mark("intent", done + 1)]
        };
        let leaves = entries.last().is_some_and(ends);
        let known = log.last().map_or(0, |logged| logged.seq);
        let newest = self.fences.get(&claim.run) == Some(&claim.fence);
        let added = self.journal.append(&claim, known, entries).await?;
        if !newest {
            return Err(wrong(format!("5: fence {} was accepted after a newer one", claim.fence)));
        }
        log.extend(added);
        if leaves && log.last().is_some_and(|last| ends(&last.entry)) {
            self.leases.remove(&claim.run);
            return Ok(At::Nothing);
        }
        Ok(At::Run { claim, log })
    }

    /// An event that has its fate keeps it.
    async fn watch_events(&mut self) -> Result<(), String> {
        if !self.moves.is_multiple_of(20) {
            return Ok(());
        }
        for row in self.journal.intake(ROWS).await.map_err(|error| error.to_string())? {
            let is_final =
                !matches!(row.status, IntakeStatus::Received | IntakeStatus::Running | IntakeStatus::Merged);
            match self.settled.get(&row.id) {
                Some(before) if *before != row.status => {
                    return Err(format!("2: an event was {before:?} and then {:?}", row.status));
                }
                None if is_final => {
                    self.settled.insert(row.id, row.status);
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn is_over(&self) -> Result<bool, String> {
        let read = |error: JournalError| error.to_string();
        let open = self.journal.unfinished().await.map_err(read)?;
        let intake = self.journal.intake(ROWS).await.map_err(read)?;
        Ok(open == 0 && intake.iter().all(|row| row.status != IntakeStatus::Received))
    }

    /// What must hold at the end.
    async fn judge(&self) -> Result<(), String> {
        let read = |error: JournalError| error.to_string();
        let intake = self.journal.intake(ROWS).await.map_err(read)?;
        if self.acknowledged.len() != self.sent.len() || intake.len() != self.sent.len() {
            let (sent, stored) = (self.sent.len(), intake.len());
            return Err(format!("2: {sent} events were sent and acknowledged, {stored} are stored"));
        }
        let open = |status| matches!(status, IntakeStatus::Received | IntakeStatus::Running);
        if let Some(row) = intake.iter().find(|row| open(row.status)) {
            return Err(format!("2: an event ended as {:?}", row.status));
        }
        for row in self.journal.runs(ROWS, None).await.map_err(read)? {
            let log = self.journal.whole_log(&row.id).await.map_err(read)?;
            if self.journal.first_fault(&row.id).await.map_err(read)?.is_some()
                || log.iter().zip(1..).any(|(logged, seq)| logged.seq != seq)
            {
                return Err("4: a log is not whole".into());
            }
            if !intake.iter().any(|event| event.run.as_ref() == Some(&row.id)) {
                return Err("2: a run was started by no event: one event started two".into());
            }
            for n in 1..=EFFECTS {
                let times = self.effects.get(&(row.id.to_string(), n)).copied().unwrap_or(0);
                if times > 1 || (times == 0 && row.status == Status::Done) {
                    return Err(format!(
                        "1: effect {n} of a run that is {:?} happened {times} times",
                        row.status
                    ));
                }
            }
            let ended = [Status::Done, Status::Refused, Status::Parked].contains(&row.status);
            if !ended {
                return Err(format!("9: a run ended as {:?}", row.status));
            }
        }
        Ok(())
    }
}

/// Why a worker does not go on.
enum Stop {
    /// It is no longer its work, or the disk is full.
    Lost,
    /// An invariant does not hold.
    Wrong(String),
}

fn wrong(why: String) -> Stop {
    Stop::Wrong(why)
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Fenced(_)
            // Somebody answered, or its time was over, between its reading and its writing.
            | JournalError::Approval(_)
            | JournalError::Superseded
            | JournalError::Full
            | JournalError::Store(_) => Self::Lost,
            other => Self::Wrong(other.to_string()),
        }
    }
}

/// One line: seed, moves, faults, verdict.
fn told(seed: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let verdict = runtime.block_on(async { Simulation::new(seed).await.run().await });
    match &verdict {
        Ok((moves, faults)) => println!("seed {seed}: {moves} moves, {faults} faults, holds"),
        Err(why) => println!("seed {seed}: {why}"),
    }
    verdict.map(|_| ()).map_err(|why| format!("seed {seed}: {why}"))
}

fn seeds(from: u64, to: u64) {
    let broken: Vec<String> = (from..to).filter_map(|seed| told(seed).err()).collect();
    assert!(broken.is_empty(), "{} of {} seeds:\n{}", broken.len(), to - from, broken.join("\n"));
}

#[test]
fn two_hundred_seeds_hold() {
    // Two threads: one seed is one thread's work.
    let half = SEEDS / 2;
    let other = std::thread::spawn(move || seeds(0, half));
    seeds(half, SEEDS);
    other.join().unwrap();
}

#[test]
#[ignore = "scripts/soak.sh"]
#[allow(clippy::disallowed_methods, reason = "a switch of the tests, not a setting of the product")]
fn soak_seeds() {
    let many = std::env::var("ADO_COWORKER_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let half = many / 2;
    let other = std::thread::spawn(move || seeds(SEEDS, SEEDS + half));
    seeds(SEEDS + half, SEEDS + many);
    other.join().unwrap();
}
