//! `run`: one order from the command line.

use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{App, cli, login};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::journal::{Journal, NewRun, Notice, Person, RunId, RunView, Source, Status, StepKind, WaitingFor};

/// Pause between two looks at a run.
const LOOK: Duration = Duration::from_millis(400);
/// Longest time for one request to a server.
const REQUEST: Duration = Duration::from_secs(30);

/// Works an order here, or has a server work it. Gives the exit status.
pub(super) async fn run(options: cli::Run, stop: CancellationToken) -> anyhow::Result<u8> {
    if options.instruction.trim().is_empty() {
        bail!("the order is empty; say what is to be done");
    }
    match options.url.clone() {
        Some(url) => at_server(&url, &options, &stop).await,
        None => here(&options, stop).await,
    }
}

async fn here(options: &cli::Run, stop: CancellationToken) -> anyhow::Result<u8> {
    let config = config::Settings::read()?.check()?;
    let public_url = super::public_url(&config, config.web.listen_address);
    let new = order(options, &config);
    let app = App::build(config, public_url, Clock::Real).await?;
    let id = app.journal.create(new).await?;
    eprintln!("run {id}");
    let progress = tokio::spawn(tell(app.journal.clone(), id.clone()));
    let status = loop {
        app.worker.work_only(&id, &stop).await?;
        let row = app.journal.run(&id).await?.context("the run is gone from the journal")?;
        let wakes_by_itself = row.waiting_for == Some(WaitingFor::RateLimit);
        if row.status.is_final() || (row.status == Status::Waiting && !wakes_by_itself) {
            break row.status;
        }
        if stop.is_cancelled() {
            bail!("stopped; `ado-coworker serve` or the same database goes on with run {id}");
        }
        tokio::time::sleep(LOOK).await;
    };
    progress.abort();
    if let Some(notary) = &app.notary
        && let Err(error) = notary.sign_what_is_new().await
    {
        tracing::warn!(%error, "the record of this run is not signed; a serving process signs it later");
    }
    let view = RunView::of(&app.journal.whole_log(&id).await?);
    if options.json {
        let links: Vec<Value> = view.links.iter().map(|link| json!(link)).collect();
        println!("{}", json!({ "id": id, "status": status, "answer": view.answer, "links": links }));
    } else {
        print_end(status, view.answer.as_deref(), view.waiting_reason.as_deref(), view.remedy.as_deref());
    }
    Ok(exit_status(status))
}

fn order(options: &cli::Run, config: &Config) -> NewRun {
    NewRun {
        instruction: options.instruction.trim().to_owned(),
        source: Source::CommandLine,
        requested_by: Person::named(&config.web.local_person),
        project: config.azure_devops.project.clone(),
        repository: config.azure_devops.repository.clone(),
        subject: None,
        trigger: None,
    }
}

/// Tells each finished tool call on standard error.
async fn tell(journal: Journal, run: RunId) {
    let (_, mut notices) = journal.watch(&run);
    let (mut view, mut told) = (RunView::default(), 0);
    loop {
        let Ok(log) = journal.log(&run, view.last_seq).await else { return };
        log.iter().for_each(|logged| view.apply(logged));
        for step in view.steps.iter().filter(|step| step.changed > told && step.duration_ms.is_some()) {
            if step.kind == StepKind::Tool {
                eprintln!("  {}: {}", step.tool.as_deref().unwrap_or_default(), step.text);
            }
        }
        told = view.last_seq;
        while let Ok(notice) = notices.recv().await {
            if matches!(notice, Notice::Appended { .. }) {
                break;
            }
        }
    }
}

fn print_end(status: Status, answer: Option<&str>, waiting: Option<&str>, remedy: Option<&str>) {
    match (status, waiting) {
        (Status::Waiting, Some(reason)) => println!("Waiting: {reason}"),
        _ => println!("{}", answer.unwrap_or_default()),
    }
    if let Some(remedy) = remedy {
        eprintln!("{remedy}");
    }
}

/// CONTRACTS: 0 done, 1 failed, 3 waiting for a person, refused or parked.
fn exit_status(status: Status) -> u8 {
    match status {
        Status::Done => 0,
        Status::Failed | Status::Cancelled => 1,
        Status::Waiting | Status::Refused | Status::Parked | Status::Queued | Status::Running => 3,
    }
}

async fn at_server(base: &Url, options: &cli::Run, stop: &CancellationToken) -> anyhow::Result<u8> {
    let person = login::whoever().await?;
    let token = person.map(|person| person.token).filter(|_| is_private(base));
    let server = Server { http: config::http_client()?, token };
    let base = base.as_str().trim_end_matches('/');
    let body = json!({ "instruction": options.instruction.trim() });
    let request = server.http.post(format!("{base}/api/runs")).json(&body);
    let made = server.answer(request, base).await?;
    let id = made["id"].as_str().context("the server's answer has no run id")?.to_owned();
    eprintln!("run {id} at {}", made["url"].as_str().unwrap_or(base));
    loop {
        let shown = server.answer(server.http.get(format!("{base}/api/runs/{id}")), base).await?;
        let status = shown["status"].as_str().and_then(Status::parse).context("the server sent no status")?;
        let wakes_by_itself = shown["waiting_for"].as_str() == Some(WaitingFor::RateLimit.as_str());
        if status.is_final() || (status == Status::Waiting && !wakes_by_itself) {
            match options.json {
                true => println!("{shown}"),
                false => print_end(status, shown["answer"].as_str(), None, None),
            }
            return Ok(exit_status(status));
        }
        tokio::select! {
            () = stop.cancelled() => bail!("stopped looking; the run goes on at the server"),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Whether a token may go there: over https, or to this machine.
fn is_private(url: &Url) -> bool {
    let here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || here
}

/// A server, and the person who asks it where somebody is signed in.
struct Server {
    http: reqwest::Client,
    token: Option<SecretString>,
}

impl Server {
    async fn answer(&self, request: reqwest::RequestBuilder, base: &str) -> anyhow::Result<Value> {
        let request = request.timeout(REQUEST);
        match &self.token {
            Some(token) => answer(request.bearer_auth(token.expose_secret()), base).await,
            None => answer(request, base).await,
        }
    }
}

async fn answer(request: reqwest::RequestBuilder, base: &str) -> anyhow::Result<Value> {
    let response = request.send().await.with_context(|| format!("asking {base}"))?;
    let status = response.status();
    let body: Value = response.json().await.with_context(|| format!("{base} did not answer with JSON"))?;
    if status.is_success() {
        return Ok(body);
    }
    let said = ["detail", "title"].iter().find_map(|name| body[name].as_str()).unwrap_or("no reason given");
    bail!("{base} answered {status}: {said} {}", body["remedy"].as_str().unwrap_or_default())
}
