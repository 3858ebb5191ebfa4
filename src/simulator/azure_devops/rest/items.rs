//! Files and folders: metadata, content, listings, blobs, trees.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Call, Query, Reply, zip};
use crate::simulator::azure_devops::git::store::{Entry, Store};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::render::{content_metadata, is_binary, item_path};
use crate::simulator::azure_devops::state::{Outcome, Repository};
use crate::simulator::azure_devops::wire_enum::wire_enum;

wire_enum! {
    /// What a version names.
    VersionType { Branch = 0 "branch", Tag = 1 "tag", Commit = 2 "commit" }
}
wire_enum! {
    /// How deep a listing goes.
    Recursion { None = 0 "none", OneLevel = 1 "oneLevel", OneLevelPlusNestedEmptyFolders = 4 "oneLevelPlusNestedEmptyFolders", Full = 120 "full" }
}

/// Entries one listing gives.
const LISTING: usize = 100_000;

/// A version that was resolved.
pub struct Resolved {
    /// The commit.
    pub commit: String,
    /// `Branch: main`, for messages.
    pub label: String,
    /// Query that addresses it.
    pub query: String,
}

/// Resolves a version text of a type in a repository.
///
/// # Errors
/// TF401175 when there is no such branch, tag or commit.
pub fn resolve(
    repository: &Repository,
    store: &Store,
    version: Option<&str>,
    kind: VersionType,
) -> Outcome<Resolved> {
    let default = repository.default_branch.as_deref().and_then(|b| b.strip_prefix("refs/heads/"));
    let version = version.map(str::to_owned).or_else(|| default.map(str::to_owned));
    let Some(version) = version else { return Err(Refusal::version("Branch: ", &repository.name)) };
    let (label, sha) = match kind {
        VersionType::Branch => {
            let name = format!("refs/heads/{}", version.trim_start_matches("refs/heads/"));
            ("Branch", repository.refs.get(&name).map(|r| r.sha.clone()))
        }
        VersionType::Tag => {
            let name = format!("refs/tags/{}", version.trim_start_matches("refs/tags/"));
            ("Tag", repository.refs.get(&name).and_then(|r| store.peel(&r.sha)))
        }
        VersionType::Commit => ("Commit", store.peel(&version)),
    };
    let label = format!("{label}: {version}");
    let commit = sha.ok_or_else(|| Refusal::version(&label, &repository.name))?;
    let escaped: String = url::form_urlencoded::byte_serialize(version.as_bytes()).collect();
    let kind = label.split(':').next().unwrap_or_default();
    let query = format!("versionType={kind}&version={escaped}&versionOptions=None");
    Ok(Resolved { commit, label, query })
}

/// The version that a query names under `prefix` (`versionDescriptor`), or by the older short names.
pub fn version_of(query: &Query, prefix: &str) -> Outcome<(Option<String>, VersionType)> {
    let value = |name: &str| {
        query.get(&format!("{prefix}.{name}")).or_else(|| query.get(&format!("{prefix}[{name}]")))
    };
    let version = value("version").or_else(|| query.get("version"));
    let kind = value("versionType").or_else(|| query.get("versionType"));
    let kind = match kind {
        Some(text) => VersionType::from_text(text).ok_or_else(|| Refusal::invalid("versionType"))?,
        None => VersionType::Branch,
    };
    Ok((version.map(str::to_owned), kind))
}

/// `GET items`.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let (repository, store, web) = opened(call)?;
    let (version, kind) = version_of(&call.query, "versionDescriptor")?;
    let resolved = resolve(&repository, &store, version.as_deref(), kind)?;
    let recursion = match call.query.get("recursionLevel") {
        Some(text) => Recursion::from_text(text).ok_or_else(|| Refusal::invalid("recursionLevel"))?,
        None => Recursion::None,
    };
    let scope = call.query.get("scopePath");
    let path = call.optional("path").or(call.query.get("path")).or(scope).unwrap_or("/");
    let missing = || Refusal::item(path, &repository.name, &resolved.label, &resolved.commit);
    let entry = store.entry(&resolved.commit, path).ok_or_else(missing)?;
    let lists = scope.is_some() && call.optional("path").is_none() && call.query.get("path").is_none();
    let format = wanted_format(call);
    if format == "zip" {
        return zipped(&store, &entry);
    }
    if lists || recursion != Recursion::None {
        return list(call, &repository, &store, &entry, &resolved, recursion);
    }
    match format {
        "json" => {
            let world = call.organisation.lock();
            let view = call.view(&world);
            let mut item = view.item(&repository, &entry, &resolved.commit, &resolved.query);
            let content = if entry.folder { None } else { Some(store.blob(&entry.sha)?) };
            if call.query.flag("includeContentMetadata") || call.query.flag("includeContent") {
                item["contentMetadata"] = content_metadata(&entry, content.as_deref());
            }
            if let Some(content) = content.filter(|_| call.query.flag("includeContent")) {
                if is_binary(&content) {
                    item["content"] =
                        json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &content));
                } else {
                    item["content"] = json!(String::from_utf8_lossy(&content));
                }
            }
            item["_links"] = json!({
                "self": {"href": item["url"]}, "repository": {"href": web},
                "blob": {"href": format!("{web}/blobs/{}", entry.sha)},
            });
            Ok(Reply::ok(item))
        }
        _ if entry.folder => {
            Err(Refusal::invalid("path (a folder has no content; ask for zip or a recursionLevel)"))
        }
        format => content(&entry, store.blob(&entry.sha)?, format, call.query.flag("download")),
    }
}

fn opened(call: &Call<'_>) -> Outcome<(Repository, Store, String)> {
    let world = call.organisation.lock();
    let repository = call.repository(&world)?.clone();
    let url = call.view(&world).repository_url(&repository);
    Ok((repository.clone(), world.store(repository.id)?, url))
}

/// `$format`, else what Accept prefers; JSON when nothing is said.
fn wanted_format(call: &Call<'_>) -> &'static str {
    let known = |text: &str| match text.to_ascii_lowercase().as_str() {
        "json" | "application/json" => Some("json"),
        "zip" | "application/zip" => Some("zip"),
        "text" | "text/plain" => Some("text"),
        "octetstream" | "application/octet-stream" => Some("bytes"),
        _ => None,
    };
    if let Some(format) = call.query.get("format").and_then(known) {
        return format;
    }
    let accept = call.headers.get("accept").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let first = accept.split(',').find_map(|part| known(part.split(';').next().unwrap_or_default().trim()));
    // Anything that is not asked for as JSON by name gets the content when a download is wanted.
    first.unwrap_or(if call.query.flag("download") { "bytes" } else { "json" })
}

fn content(entry: &Entry, content: Vec<u8>, format: &str, download: bool) -> Outcome<Reply> {
    let kind = if format == "text" { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    let name = entry.path.rsplit('/').next().unwrap_or_default();
    let reply = Reply::bytes(200, kind, content);
    Ok(if download {
        reply.header("content-disposition", format!("attachment; filename=\"{}\"", ascii(name)))
    } else {
        reply
    })
}

fn ascii(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() && c != '"' { c } else { '_' }).collect()
}

fn list(
    call: &Call<'_>,
    repository: &Repository,
    store: &Store,
    scope: &Entry,
    resolved: &Resolved,
    recursion: Recursion,
) -> Outcome<Reply> {
    let mut entries = vec![scope.clone()];
    if scope.folder && recursion != Recursion::None {
        entries.extend(store.below(scope, recursion == Recursion::Full)?);
    }
    entries.truncate(LISTING);
    let mut metadata = Vec::new();
    if call.query.flag("includeContentMetadata") {
        for entry in &entries {
            let content = if entry.folder { None } else { Some(store.blob(&entry.sha)?) };
            metadata.push(content_metadata(entry, content.as_deref()));
        }
    }
    // A listing may have tens of thousands of entries: they are written as they are, and without the state.
    let url = format!("{}/items", call.view(&call.organisation.lock()).repository_url(repository));
    let items = entries.iter().enumerate().map(|(at, entry)| Listed {
        object_id: &entry.sha,
        git_object_type: if entry.folder { "tree" } else { "blob" },
        commit_id: &resolved.commit,
        path: &entry.path,
        is_folder: entry.folder.then_some(true),
        url: format!("{url}{}?{}", item_path(&entry.path), resolved.query),
        content_metadata: metadata.get(at),
    });
    Reply::listed(&items.collect::<Vec<_>>())
}

/// GitItem of a listing, with the fields of a single one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    object_id: &'a str,
    git_object_type: &'static str,
    commit_id: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_folder: Option<bool>,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_metadata: Option<&'a Value>,
}

fn zipped(store: &Store, scope: &Entry) -> Outcome<Reply> {
    let entries = if scope.folder { store.below(scope, true)? } else { vec![scope.clone()] };
    let cut = if scope.folder {
        scope.path.trim_end_matches('/').len() + 1
    } else {
        scope.path.rfind('/').map_or(0, |at| at + 1)
    };
    let mut archive = zip::Archive::default();
    for entry in entries.iter().filter(|e| !e.folder) {
        archive.add(&entry.path[cut..], &store.blob(&entry.sha)?)?;
    }
    Ok(Reply::bytes(200, "application/zip", archive.finish()))
}

/// `POST itemsbatch`: one list for each descriptor.
pub fn batch(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let (repository, store, _) = opened(call)?;
    let metadata = body["includeContentMetadata"].as_bool().unwrap_or(false);
    let descriptors = body["itemDescriptors"].as_array().filter(|l| l.len() <= super::PAGE_MAX);
    let descriptors = descriptors.ok_or_else(|| Refusal::invalid("itemDescriptors (a list is needed)"))?;
    let mut lists = Vec::new();
    for wanted in descriptors {
        let kind = VersionType::from_json(&wanted["versionType"]).unwrap_or(VersionType::Branch);
        let resolved = resolve(&repository, &store, wanted["version"].as_str(), kind)?;
        let path = wanted["path"].as_str().unwrap_or("/");
        let missing = || Refusal::item(path, &repository.name, &resolved.label, &resolved.commit);
        let entry = store.entry(&resolved.commit, path).ok_or_else(missing)?;
        let recursion = Recursion::from_json(&wanted["recursionLevel"]).unwrap_or(Recursion::None);
        let mut entries = vec![entry.clone()];
        if entry.folder && recursion != Recursion::None {
            entries.extend(store.below(&entry, recursion == Recursion::Full)?);
        }
        let world = call.organisation.lock();
        let view = call.view(&world);
        let render = |e: &Entry| {
            let mut item = view.item(&repository, e, &resolved.commit, &resolved.query);
            if metadata {
                item["contentMetadata"] = content_metadata(e, None);
            }
            item
        };
        lists.push(entries.iter().take(LISTING).map(render).collect::<Vec<Value>>());
    }
    Ok(Reply::ok(json!({"count": lists.len(), "value": lists})))
}

/// `GET blobs/{sha}`.
pub fn blob(call: &Call<'_>) -> Outcome<Reply> {
    let (repository, store, url) = opened(call)?;
    let sha = call.text("sha1");
    let bytes = store.blob(sha).map_err(|_| Refusal::object(sha, &repository.name))?;
    let entry = Entry { path: format!("/{sha}"), sha: sha.to_owned(), folder: false, mode: 0 };
    match wanted_format(call) {
        "json" => Ok(Reply::ok(json!({
            "objectId": sha,
            "size": bytes.len(),
            "url": format!("{url}/blobs/{sha}"),
            "_links": {"self": {"href": format!("{url}/blobs/{sha}")}, "repository": {"href": url}},
        }))),
        "zip" => {
            let mut archive = zip::Archive::default();
            archive.add(sha, &bytes)?;
            Ok(Reply::bytes(200, "application/zip", archive.finish()))
        }
        format => content(&entry, bytes, format, call.query.flag("download")),
    }
}

/// `GET trees/{sha}`.
pub fn tree(call: &Call<'_>) -> Outcome<Reply> {
    let (repository, store, url) = opened(call)?;
    let sha = call.text("sha1");
    let tree = store.tree(sha).map_err(|_| Refusal::object(sha, &repository.name))?;
    if wanted_format(call) == "zip" {
        return zipped(&store, &tree);
    }
    let entries = store.below(&tree, call.query.flag("recursive"))?;
    let render = |entry: &Entry| {
        let kind = if entry.folder { "tree" } else { "blob" };
        let size = if entry.folder { None } else { store.blob(&entry.sha).ok().map(|b| b.len()) };
        json!({
            "objectId": entry.sha,
            "relativePath": entry.path.trim_start_matches('/'),
            "mode": format!("{:o}", entry.mode),
            "gitObjectType": kind,
            "url": format!("{url}/{kind}s/{}", entry.sha),
            "size": size.unwrap_or(0),
        })
    };
    let entries: Vec<Value> = entries.iter().take(LISTING).map(render).collect();
    Ok(Reply::ok(json!({
        "objectId": tree.sha,
        "url": format!("{url}/trees/{}", tree.sha),
        "treeEntries": entries,
        "size": entries.len(),
        "_links": {"self": {"href": format!("{url}/trees/{}", tree.sha)}, "repository": {"href": url}},
    })))
}
