//! Git smart HTTP: `git http-backend` as a child process, with the state's rules around it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use uuid::Uuid;

use super::pkt_line;
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::rest::Reply;
use crate::simulator::azure_devops::state::{Actor, Organisation, RefUpdate, ZERO_SHA};

/// A child process that works longer is ended.
const CHILD_TIME: Duration = Duration::from_secs(300);

/// A request of a git client.
pub struct GitRequest {
    /// Method.
    pub method: Method,
    /// Project, when the address names one.
    pub project: Option<String>,
    /// Repository name.
    pub repository: String,
    /// `info/refs`, `git-upload-pack` or `git-receive-pack`.
    pub service: String,
    /// Query as it came.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Who asks.
    pub actor: Actor,
}

/// Answers a git client.
pub async fn answer(organisation: &Organisation, mut request: GitRequest) -> Reply {
    let found = {
        let world = organisation.lock();
        world
            .visible_repository(
                request.actor,
                request.project.as_deref().or(Some(&request.repository)),
                &request.repository,
            )
            .map(|r| (r.id, world.repository_folder(r.id)))
    };
    let (repository, folder) = match found {
        Ok(found) => found,
        // Clients show the text of a 404 to the person.
        Err(refusal) => return Reply::bytes(404, "text/plain; charset=utf-8", refusal.message.into_bytes()),
    };
    let push = request.service == "git-receive-pack";
    let mut commands = if push {
        if request.headers.contains_key("content-encoding") {
            return Reply::bytes(415, "text/plain", b"A push must not be compressed as a whole.".to_vec());
        }
        match pkt_line::commands(&request.body) {
            Ok(commands) => commands,
            Err(text) => return Reply::bytes(400, "text/plain", text.into_bytes()),
        }
    } else {
        pkt_line::Commands::default()
    };
    let mut refused = refusals(organisation, request.actor, repository, &commands.updates);
    if !refused.is_empty() && (commands.atomic || refused.len() == commands.updates.len()) {
        let told = |name: &String| refused.iter().any(|(refused, _)| refused == name);
        let others: Vec<String> =
            commands.updates.iter().map(|u| u.name.clone()).filter(|name| !told(name)).collect();
        let why = "another reference of this push was refused, and it is to be done as a whole";
        refused.extend(others.into_iter().map(|name| (name, why.to_owned())));
        let report = pkt_line::refused(&commands, &refused);
        return Reply::bytes(200, "application/x-git-receive-pack-result", report)
            .header("cache-control", "no-cache".into());
    }
    if !refused.is_empty() {
        request.body = pkt_line::without(&request.body, &refused).into();
        commands.updates.retain(|u| !refused.iter().any(|(name, _)| *name == u.name));
    }
    let actor = request.actor;
    let force = {
        let world = organisation.lock();
        commands.updates.iter().all(|u| u.old == ZERO_SHA || world.may_force(actor, repository, &u.name))
    };
    let mut reply = match backend(&folder, request, force).await {
        Ok(reply) => reply,
        Err(error) => {
            let text = format!("git http-backend could not be used: {error}. Is git installed?");
            return Reply::bytes(500, "text/plain; charset=utf-8", text.into_bytes());
        }
    };
    if !refused.is_empty()
        && let Some(body) = pkt_line::with_refused(&commands, &reply.body, &refused)
    {
        reply.headers.retain(|(name, _)| name != "content-length");
        reply.body = body;
    }
    if push {
        let outcome = after_push(organisation, actor, repository, &commands.updates);
        if let Err(refusal) = outcome {
            return Reply::refusal(&refusal);
        }
    }
    reply
}

/// The references that must not move, each with the reason.
fn refusals(
    organisation: &Organisation,
    actor: Actor,
    repository: Uuid,
    updates: &[RefUpdate],
) -> Vec<(String, String)> {
    let world = organisation.lock();
    let refused = |u: &RefUpdate| {
        let refusal = world.check_reference(actor, repository, u).err()?;
        Some((u.name.clone(), refusal.message))
    };
    updates.iter().filter_map(refused).collect()
}

/// Compares the references on disk with the known ones and gives the moves to the state.
fn after_push(
    organisation: &Organisation,
    actor: Actor,
    repository: Uuid,
    asked: &[RefUpdate],
) -> Result<(), Refusal> {
    let mut world = organisation.lock();
    let on_disk = world.store(repository)?.references()?;
    let known = |name: &str| {
        world.repositories.get(&repository).and_then(|r| r.refs.get(name)).map(|r| r.sha.clone())
    };
    let moved: Vec<RefUpdate> = asked
        .iter()
        .filter_map(|update| {
            let new = on_disk.get(&update.name).map_or(ZERO_SHA, String::as_str);
            let old = known(&update.name).unwrap_or_else(|| ZERO_SHA.to_owned());
            (new != old && new == update.new).then(|| RefUpdate {
                name: update.name.clone(),
                old,
                new: new.to_owned(),
            })
        })
        .collect();
    if !moved.is_empty() {
        world.references_moved(actor, repository, moved)?;
    }
    Ok(())
}

#[allow(
    clippy::disallowed_methods,
    reason = "git http-backend is the only child process of the product, for the simulator"
)]
fn command() -> Command {
    Command::new("git")
}

async fn backend(folder: &std::path::Path, request: GitRequest, force: bool) -> std::io::Result<Reply> {
    let root: PathBuf = folder.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let header =
        |key: &str| request.headers.get(key).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let settings = [
        ("http.receivepack", "true"),
        ("uploadpack.allowFilter", "true"),
        ("uploadpack.allowAnySHA1InWant", "true"),
        ("receive.denyNonFastForwards", if force { "false" } else { "true" }),
        ("receive.fsckObjects", "true"),
        ("receive.denyDeleteCurrent", "ignore"),
        ("gc.auto", "0"),
        ("safe.directory", "*"),
    ];
    let mut child = command();
    child
        .arg("http-backend")
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for key in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"] {
        child.env_remove(key);
    }
    child
        .env("GIT_PROJECT_ROOT", root.canonicalize()?)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH_INFO", format!("/{name}/{}", request.service))
        .env("REQUEST_METHOD", request.method.as_str())
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_USER", request.actor.id.to_string())
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (at, (key, value)) in settings.iter().enumerate() {
        child.env(format!("GIT_CONFIG_KEY_{at}"), key).env(format!("GIT_CONFIG_VALUE_{at}"), value);
    }
    let mut child = child.spawn()?;
    let mut input = child.stdin.take().ok_or_else(|| std::io::Error::other("no standard input"))?;
    let body = request.body;
    let writer = tokio::spawn(async move {
        // The child may stop reading early; its answer says why.
        let _ = input.write_all(&body).await;
        let _ = input.shutdown().await;
    });
    let output = tokio::time::timeout(CHILD_TIME, child.wait_with_output())
        .await
        .map_err(|_| std::io::Error::other("it took too long"))??;
    let _ = writer.await;
    if !output.stderr.is_empty() {
        tracing::debug!(text = %String::from_utf8_lossy(&output.stderr), "git http-backend said");
    }
    cgi(&output.stdout).ok_or_else(|| std::io::Error::other("its answer had no headers"))
}

/// Reads the answer of a CGI program.
fn cgi(output: &[u8]) -> Option<Reply> {
    let (end, skip) = output
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| (at, 4))
        .or_else(|| output.windows(2).position(|w| w == b"\n\n").map(|at| (at, 2)))?;
    let head = std::str::from_utf8(&output[..end]).ok()?;
    let mut reply = Reply { status: 200, headers: Vec::new(), body: output[end + skip..].to_vec() };
    for line in head.lines() {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            reply.status = value.split(' ').next()?.parse().ok()?;
        } else {
            reply.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgi_answer_is_read() {
        let reply = cgi(b"Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nno").unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (404, &b"no"[..]));
        assert_eq!(cgi(b"Content-Type: a/b\r\n\r\n").unwrap().status, 200);
        assert!(cgi(b"nothing").is_none());
    }
}
