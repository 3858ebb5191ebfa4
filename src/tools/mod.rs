//! Everything the model can do, behind one gate.
//!
//! Purpose: offers the tools to the model and works on its calls.
//! Invariant: nothing is read or written outside but through [`gate::Gate`]; every call has
//! exactly one result; what goes wrong reaches the model as words that say what to do.
//! Must never know: prompts, turns, who is watching.

mod anchor;
mod asking;
mod branch;
mod builds;
mod classes;
mod code;
mod edit;
mod ending;
mod facts;
mod gate;
mod glass;
mod membership;
mod named;
mod notify;
mod obeyed;
mod outgoing;
mod people;
mod pull_requests;
mod quotes;
mod recover;
mod repository;
mod results;
mod schema;
mod search;
mod spoken;
mod standing;
mod target;
#[cfg(test)]
mod tests;
mod text;
mod threads;
mod trust;
mod update;
mod veil;
mod work_items;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::action::RepositoryRef;
use crate::azure_devops::{self, Client, Me, Repository};
use crate::clock::Clock;
use crate::journal::{Entry, Holder, Outcome, Person};
use crate::mask::Masker;
use crate::mask::sanitise::Hosts;
use crate::meter;
use crate::model::{ToolSchema, ToolSchemas};
use crate::policy::approval::Approval;
use crate::policy::{InForce, Label, Policy, TaintSource};
use crate::trace::{self, Span};

pub use asking::NOTICES as FIRST_NOTICE;
pub use ending::Interrupted;
use ending::{Fault, words};
pub use gate::EarlierWrite;
use gate::Gate;
pub use notify::Notifier;
pub use repository::{RepositorySettings, RepositoryWords};
use results::{failure, limited, refused, waits};
pub use spoken::Spoken;
pub use standing::{MAX_SAME_CALLS, Standing};
use veil::Veil;

/// The tool that asks the person; the run then waits for an answer.
pub const ASK_PERSON: &str = "ask_person";
/// Most people that are remembered by id.
const MAX_KNOWN_PEOPLE: usize = 2_000;
/// What becomes of a call in which the run ended.
const ENDED_IN_IT: &str = "The run ended in this call, and it was not made again.";
/// What is left to do then.
const NOT_AGAIN: &str = "Read what is there now. Call the tool again only if it is still wanted.";

/// The tools of one co-worker: one organisation, one project, one repository.
pub struct Toolbox {
    azure: Client,
    policy: Arc<InForce>,
    served: RepositoryRef,
    public_url: Url,
    clock: Clock,
    veil: Veil,
    notifier: Option<Notifier>,
    me: OnceCell<Me>,
    repository: OnceCell<Repository>,
    obeyed: obeyed::Cache,
    memberships: membership::Cache,
    people: Mutex<HashMap<String, azure_devops::Person>>,
}

/// The call that is worked on.
pub struct Call<'a> {
    /// Number of the call in the run, from 1.
    pub step: u32,
    /// Whether work on it began before, in this process or another.
    pub again: bool,
    /// The run ends or had ended in it: it is not made again, only what it had begun is looked up.
    pub closing: bool,
    /// The model's id of the call.
    pub id: &'a str,
    /// Tool name, as the model gave it.
    pub name: &'a str,
    /// Arguments, as the model gave them.
    pub arguments: &'a str,
    /// Who asked for the run.
    pub requested_by: &'a Person,
    /// Writes of this step that were written down before, after a crash or a wait.
    pub earlier: Vec<EarlierWrite>,
    /// Stops the call between two outside requests.
    pub cancel: &'a CancellationToken,
    /// What else of the run matters where people are asked.
    pub of_run: OfRun<'a>,
}

/// What the gate needs to know of a run to ask people.
pub struct OfRun<'a> {
    /// Who gave the order.
    pub requested_by: &'a Person,
    /// The approval that this call carries out.
    pub carries: Option<&'a Approval>,
    /// Every approval of the run.
    pub approvals: Vec<Approval>,
    /// What the model said before its calls.
    pub said: &'a str,
    /// Where a notice belongs: kind (`pull_request`, `work_item`) and number.
    pub place: Option<(String, u32)>,
    /// What it has done and read so far.
    pub standing: &'a Standing,
}

/// What a tool works with: the organisation, the gate, and who asked.
struct Desk<'a> {
    toolbox: &'a Toolbox,
    gate: Gate<'a>,
    requested_by: &'a Person,
    /// The texts that this call has read.
    sources: Vec<TaintSource>,
}

type Work<'a> = BoxFuture<'a, Result<Outcome, Fault>>;

struct Tool {
    name: &'static str,
    description: &'static str,
    parameters: fn() -> Value,
    run: for<'a> fn(&'a mut Desk<'_>, Value) -> Work<'a>,
}

/// One line per tool; the order is the order in which the model sees them.
const TOOLS: &[Tool] = &[
    work_items::QUERY,
    work_items::GET,
    work_items::CREATE,
    work_items::UPDATE,
    work_items::COMMENT,
    code::LIST,
    code::READ,
    search::CODE,
    code::PUSH,
    pull_requests::GET,
    pull_requests::CREATE,
    update::PULL_REQUEST,
    threads::REPLY,
    threads::CREATE,
    builds::GET,
    builds::QUEUE,
    people::FIND,
    people::ASK,
];

impl Toolbox {
    /// The tools over `azure`, judged by `policy`, for the repository that is served. Runs are
    /// seen at `public_url`; `masker` hides what must not be seen.
    pub fn new(
        azure: Client,
        policy: Arc<InForce>,
        served: RepositoryRef,
        public_url: Url,
        clock: Clock,
        masker: Arc<Masker>,
    ) -> Self {
        Self {
            azure,
            policy,
            served,
            public_url,
            clock,
            veil: Veil::new(masker),
            notifier: None,
            me: OnceCell::new(),
            repository: OnceCell::new(),
            obeyed: obeyed::Cache::default(),
            memberships: membership::Cache::default(),
            people: Mutex::default(),
        }
    }

    /// The same tools, which tell of approvals at an address.
    #[must_use]
    pub fn notifying(mut self, notifier: Option<Notifier>) -> Self {
        self.notifier = notifier;
        self
    }

    /// What the model is told of the tools.
    ///
    /// # Errors
    /// When a schema is not fit for strict mode; a fault of ours that a test finds.
    pub fn schemas() -> anyhow::Result<ToolSchemas> {
        let describe = |tool: &Tool| ToolSchema {
            name: tool.name.to_owned(),
            description: tool.description.to_owned(),
            parameters: (tool.parameters)(),
        };
        ToolSchemas::new(&TOOLS.iter().map(describe).collect::<Vec<_>>())
    }

    fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// The rules in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.get()
    }

    /// Hosts that outgoing text may point to: the organisation's, the page's, and those of the rules.
    fn hosts(&self) -> Result<Hosts, Fault> {
        let (policy, own) =
            (self.policy.get(), [self.azure.host(), self.public_url.host_str().unwrap_or_default()]);
        let listed = policy.egress().iter().map(String::as_str);
        Hosts::new(own.into_iter().filter(|host| !host.is_empty()).chain(listed)).map_err(|error| {
            words(
                format!("The list of hosts cannot be read: {error}."),
                "Say so in your answer; an operator has to look.",
            )
        })
    }

    /// Keeps who people are, so that their ids can be told apart later.
    fn remember(&self, people: &[azure_devops::Person]) {
        let mut known = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MAX_KNOWN_PEOPLE {
            known.clear();
        }
        known.extend(people.iter().map(|person| (person.id.clone(), person.clone())));
    }

    /// A person who was looked up before, by identity id.
    fn known_person(&self, id: &str) -> Option<azure_devops::Person> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Who the co-worker is in the organisation; asked once.
    ///
    /// # Errors
    /// As every request.
    pub async fn me(&self) -> Result<&Me, azure_devops::Error> {
        self.me.get_or_try_init(|| self.azure.who_am_i()).await
    }

    /// The repository that is served; asked once.
    ///
    /// # Errors
    /// As every request.
    pub async fn repository(&self) -> Result<&Repository, azure_devops::Error> {
        self.repository.get_or_try_init(|| self.azure.repository(&self.served)).await
    }

    /// What is served.
    pub fn served(&self) -> &RepositoryRef {
        &self.served
    }

    /// The client, for judging events: whoever holds it can only read, because writing wants a permit.
    pub fn reads(&self) -> &Client {
        &self.azure
    }

    /// Works on one call. Whatever the model wrote, there is a result.
    ///
    /// # Errors
    /// [`Interrupted`], when the call has to be made again later or the run must stop.
    pub async fn run(&self, holder: &mut Holder, call: Call<'_>) -> Result<Outcome, Interrupted> {
        // A name that the model made up is no label.
        let tool = TOOLS.iter().find(|tool| tool.name == call.name).map_or("unknown", |tool| tool.name);
        let span = Span::of_step(call.step, !call.again, format!("execute_tool {tool}"), || {
            vec![
                trace::attribute(trace::OPERATION, "execute_tool"),
                trace::attribute(trace::TOOL, tool),
                trace::attribute(trace::TOOL_TYPE, "function"),
                trace::attribute(trace::TOOL_CALL, results::plain_id(call.id)),
                trace::attribute(trace::STEP, i64::from(call.step)),
            ]
        });
        if let Some(approval) = call.of_run.carries {
            span.decided(&approval.request.id, approval.changed_at.saturating_sub(approval.requested_at));
        }
        let since = Instant::now();
        let step = call.step;
        let (result, outside) = span.over(trace::collecting(Box::pin(self.work_on(holder, call)))).await;
        let outcome = match &result {
            Ok(outcome) if outcome.ok => "ok",
            Ok(_) => "failed",
            Err(Interrupted::Later { .. }) => "later",
            Err(_) => "interrupted",
        };
        meter::tool_call(tool, outcome, since.elapsed());
        if outcome != "ok" {
            span.failed(outcome);
        }
        if !outside.is_empty() {
            holder.defer(Entry::Exchanged { step, exchanges: outside });
        }
        result
    }

    async fn work_on(&self, holder: &mut Holder, call: Call<'_>) -> Result<Outcome, Interrupted> {
        let Some(tool) = TOOLS.iter().find(|tool| tool.name == call.name) else {
            let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
            let error = format!("There is no tool called '{}'.", call.name);
            return Ok(failure(&error, &format!("Use one of: {}.", names.join(", "))));
        };
        let arguments = match serde_json::from_str::<Value>(call.arguments) {
            Ok(arguments) => arguments,
            Err(error) => {
                let error = format!("The arguments are not JSON: {error}.");
                return Ok(failure(&error, "Call the tool again with one JSON object as its schema says."));
            }
        };
        if call.of_run.standing.same_calls() > MAX_SAME_CALLS {
            let error = format!("The same call was made {MAX_SAME_CALLS} times in a row.");
            return Ok(failure(
                &error,
                "Its result will not change: go on with something else, or end your work.",
            ));
        }
        let (step, standing, closing) = (call.step, call.of_run.standing, call.closing);
        let session = self.veil.of(holder.run());
        let requested_by = call.requested_by;
        let gate = Gate::new(self, holder, session.clone(), call);
        let mut desk = Desk { toolbox: self, gate, requested_by, sources: Vec::new() };
        let result = match closing {
            false => (tool.run)(&mut desk, arguments).await,
            true => Err(words(ENDED_IN_IT, NOT_AGAIN)),
        };
        if let Err(Fault::Azure(error)) = &result {
            let said =
                trust::source(&desk, "error", tool.name.to_owned(), &error.to_string(), Label::Untrusted);
            desk.saw(said);
        }
        let (sources, flags) = (std::mem::take(&mut desk.sources), std::mem::take(&mut desk.gate.flags));
        // Who is interrupted comes back to what was begun.
        let (done, left) = match &result {
            Err(Fault::Interrupted(_)) => (Vec::new(), Ok(())),
            _ => Box::pin(desk.gate.left_behind()).await,
        };
        let result = match left {
            Ok(()) => result,
            // The run ends all the same, or a person has looked and sent it on.
            Err(Interrupted::Unclear(why)) if closing => {
                Err(words(format!("{ENDED_IN_IT} {}.", why.trim_end_matches('.')), NOT_AGAIN))
            }
            Err(interrupted) => return Err(interrupted),
        };
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(Fault::Words { error, remedy }) => failure(&error, &remedy),
            Err(Fault::Refused(verdict)) => refused(&verdict),
            Err(Fault::Waits(approval)) => waits(&approval),
            Err(Fault::NotCarried(why)) => failure(&why, "Nothing was done."),
            Err(Fault::Azure(error)) => ending::settle(error)?,
            Err(Fault::Interrupted(interrupted)) => return Err(interrupted),
        };
        let outcome = results::with_done(outcome, done);
        let hidden = veil::hide(&session, tool.name, outcome, flags);
        if let Some(entry) = trust::changed(standing, step, sources, hidden.secret, &hidden.flags) {
            // It shares the commit of the result that it is about.
            holder.defer(entry);
        }
        Ok(veil::wrapped(limited(hidden.outcome), &hidden.flags))
    }
}

/// Reads the arguments of a tool.
fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, Fault> {
    serde_json::from_value(arguments).map_err(|error| {
        words(format!("The arguments do not fit: {error}."), "Call the tool again as its schema says.")
    })
}
