//! Goes through the steps: looks, makes what is missing, waits until it is seen, writes down.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::files::{Folder, Written};
use super::request::{Answer, Request};
use super::session::{Problem, Session};
use super::{Context, Found, Step, Wanted, steps};
use crate::digest::Digest;

/// First and longest wait between two looks.
const WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// The part of the patience that is waited for something that an interrupted set-up may have made.
const INTERRUPTED: u32 = 6;
/// How often one step may be changed before it must be right.
const MAX_CHANGES: u32 = 4;
/// Refusals that mean that something made before is not seen everywhere yet (SETUP.md §4).
const NOT_YET: [&str; 4] = [
    "Request_ResourceNotFound",
    "AgentBlueprintPrincipal_RequireAgentBlueprint",
    "AgentIdentity_AgentBlueprintPrincipalDoesNotExist",
    "IdentityNotFoundException",
];

/// By which a changed password is noticed; the password is long and random.
fn digest_of(password: &SecretString) -> String {
    Digest::of("webhook-password", password.expose_secret().as_bytes()).as_str().to_owned()
}

/// How a step ended, or what a survey found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was there.
    There,
    /// It was made.
    Made,
    /// It was changed.
    Changed,
    /// A survey found it missing.
    Missing,
}

impl Done {
    /// The word for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Made => "made",
            Self::Changed => "changed",
            Self::Missing => "missing",
        }
    }
}

/// One line of a plan or of its outcome.
pub struct Line {
    /// Id of the step.
    pub id: String,
    /// What it is.
    pub title: String,
    /// How it stands.
    pub done: Done,
    /// The requests that look and make.
    pub requests: Vec<Request>,
}

/// One set-up.
pub struct Setup {
    pub(super) context: Context,
    pub(super) folder: Folder,
    password: Option<SecretString>,
    patience: Duration,
    /// The step during which an earlier attempt ended.
    interrupted: Option<String>,
}

impl Setup {
    /// The set-up of `wanted`, as far as `folder` says it has come. Waits at most `patience` for
    /// each thing to be seen.
    ///
    /// # Errors
    /// [`Problem::File`].
    pub fn open(
        wanted: Wanted,
        folder: Folder,
        now: jiff::Timestamp,
        patience: Duration,
    ) -> Result<Self, Problem> {
        let known = folder.known()?;
        let secret_on_disk = folder.secret_id()?;
        let interrupted = known.begun.clone();
        let context = Context {
            webhook_digest: folder.password(&wanted)?.as_ref().map(digest_of),
            wanted,
            known,
            now,
            secret_on_disk,
            fresh_secret: None,
        };
        Ok(Self { context, folder, password: None, patience, interrupted })
    }

    /// Where its administrator signs in.
    pub fn authority(&self) -> url::Url {
        self.context.wanted.authority.clone()
    }

    /// The tenant.
    pub fn tenant(&self) -> String {
        self.context.wanted.tenant.clone()
    }

    /// The public client that administrators sign in with.
    pub fn client_id(&self) -> String {
        self.context.wanted.client_id.clone()
    }

    /// What lies in its folder for people to use.
    pub fn written(&self) -> Vec<Written> {
        self.folder.written()
    }

    /// Every step with its requests, without asking anybody.
    pub fn plan(&self) -> Vec<Line> {
        let requests = |step: &dyn Step| {
            let look = step.look(&self.context);
            std::iter::once(look).chain(step.make(&self.context)).collect()
        };
        let line = |step: Box<dyn Step>| Line {
            id: step.id(),
            title: step.title(&self.context),
            done: Done::Missing,
            requests: requests(step.as_ref()),
        };
        steps(&self.context.wanted).into_iter().map(line).collect()
    }

    /// What is there and what is missing, by reading only; the requests are those that would be made.
    ///
    /// # Errors
    /// [`Problem`].
    pub async fn survey(&mut self, session: &mut Session) -> Result<Vec<Line>, Problem> {
        let kept = self.context.known.clone();
        let lines = self.look_around(session).await?;
        // What it saw is looked at again before anything is made.
        self.context.known = kept;
        Ok(lines)
    }

    /// The same, and keeps the ids that it saw.
    pub(super) async fn look_around(&mut self, session: &mut Session) -> Result<Vec<Line>, Problem> {
        let mut lines = Vec::new();
        for step in steps(&self.context.wanted) {
            let look = step.look(&self.context);
            let found = match look.is_complete() {
                true => {
                    let answer = session.send(&look).await?;
                    step.read(&mut self.context, &answer)?
                }
                false => Found::Absent,
            };
            let make = step.make(&self.context);
            let (done, requests) = match found {
                Found::There => (Done::There, Vec::new()),
                Found::Differs(change) => (Done::Changed, vec![change]),
                Found::Absent => (Done::Missing, make.into_iter().collect()),
            };
            lines.push(Line { id: step.id(), title: step.title(&self.context), done, requests });
        }
        Ok(lines)
    }

    /// Makes everything that is missing; `tell` hears of each step as it ends.
    ///
    /// # Errors
    /// [`Problem`]; what was made until then is written down.
    pub async fn apply(
        &mut self,
        session: &mut Session,
        tell: &mut (dyn FnMut(&Line) + Send),
    ) -> Result<(), Problem> {
        if self.context.wanted.webhook.is_some() {
            let password = self.folder.keep_password(&self.context.wanted)?;
            self.context.webhook_digest = Some(digest_of(&password));
            self.password = Some(password);
        }
        for step in steps(&self.context.wanted) {
            let done = self.settle(step.as_ref(), session).await?;
            let line = Line { id: step.id(), title: step.title(&self.context), done, requests: Vec::new() };
            tell(&line);
        }
        self.folder.write_sidecar(&self.context)?;
        self.folder.write_agent(&self.context)?;
        Ok(())
    }

    /// Looks until the step is as it should be, making and changing on the way.
    async fn settle(&mut self, step: &dyn Step, session: &mut Session) -> Result<Done, Problem> {
        let clock = session.clock().clone();
        let began = clock.now();
        let (mut done, mut changes, mut looks) = (Done::There, 0, 0);
        // What an earlier attempt made, or may have made, is perhaps only not seen yet.
        let remembered = self.context.known.get(&step.id()).is_some();
        let interrupted = step.doubles() && (remembered || self.interrupted.as_deref() == Some(&step.id()));
        loop {
            let answer = session.send(&step.look(&self.context)).await?;
            let found = step.read(&mut self.context, &answer)?;
            let waited = clock.now().duration_since(began);
            let waited = Duration::try_from(waited).unwrap_or_default();
            match found {
                Found::There => {
                    self.context.known.begun = None;
                    self.folder.keep(&self.context.known)?;
                    return Ok(done);
                }
                Found::Differs(change) if changes < MAX_CHANGES => {
                    changes += 1;
                    let answer = self.send(session, &change).await?;
                    step.made(&mut self.context, &answer).or_else(|problem| match problem {
                        // What was only removed has nothing to tell.
                        Problem::Unreadable(_) => Ok(()),
                        other => Err(other),
                    })?;
                    done = if done == Done::Made { Done::Made } else { Done::Changed };
                }
                Found::Absent
                    if done != Done::Made && (!interrupted || waited > self.patience / INTERRUPTED) =>
                {
                    let Some(make) = step.make(&self.context) else {
                        if waited > self.patience / INTERRUPTED {
                            return Err(Problem::Missing { what: step.title(&self.context) });
                        }
                        self.pause(session, &mut looks).await;
                        continue;
                    };
                    if self.make(step, &make, session).await? {
                        done = Done::Made;
                    } else if waited > self.patience {
                        return Err(self.not_seen(step));
                    } else {
                        self.pause(session, &mut looks).await;
                    }
                }
                _ if waited > self.patience => return Err(self.not_seen(step)),
                _ => self.pause(session, &mut looks).await,
            }
        }
    }

    fn not_seen(&self, step: &dyn Step) -> Problem {
        Problem::NotSeen { what: step.title(&self.context), seconds: self.patience.as_secs() }
    }

    async fn pause(&self, session: &Session, looks: &mut u32) {
        *looks += 1;
        let wait = crate::http::backoff(*looks, WAIT.0, WAIT.1);
        session.clock().sleep(wait).await;
    }

    /// Makes the step. False when what it builds on is not seen yet, or it turned out to be there.
    async fn make(
        &mut self,
        step: &dyn Step,
        make: &Request,
        session: &mut Session,
    ) -> Result<bool, Problem> {
        self.context.known.begun = Some(step.id());
        self.folder.keep(&self.context.known)?;
        match self.send(session, make).await {
            Ok(answer) if answer.status == 404 => Ok(false),
            Ok(answer) => {
                step.made(&mut self.context, &answer)?;
                if self.context.fresh_secret.is_some() {
                    // It is told once: first of all it must be on disk.
                    self.folder.write_sidecar(&self.context)?;
                }
                self.context.known.begun = None;
                self.folder.keep(&self.context.known)?;
                Ok(true)
            }
            Err(Problem::Refused { status: 409, .. }) => Ok(false),
            Err(Problem::Refused { status: 400 | 403 | 404, code, .. })
                if NOT_YET.contains(&code.as_str()) =>
            {
                Ok(false)
            }
            Err(problem) => Err(problem),
        }
    }

    async fn send(&self, session: &mut Session, request: &Request) -> Result<Answer, Problem> {
        let password = self.password.as_ref().map(|own| own.expose_secret().to_owned()).unwrap_or_default();
        let filled = request.filled(&password);
        if !filled.is_complete() {
            return Err(Problem::Unreadable(format!("{} {} lacks an id", request.method, request.url)));
        }
        session.send(&filled).await
    }
}
