//! Code search over the default branches.

use serde_json::{Value, json};

use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::render::is_binary;
use crate::simulator::azure_devops::state::access::Permission;
use crate::simulator::azure_devops::state::{Outcome, Repository};

/// Files looked at in one search.
const FILES: usize = 20_000;
/// Matches told of one file.
const MATCHES: usize = 100;
/// Results of one page.
const RESULTS: usize = 1_000;
/// Largest file that is searched, in bytes.
const FILE_BYTES: usize = 1_000_000;

/// What is looked for.
struct Wanted {
    words: Vec<String>,
    path: Option<String>,
    extension: Option<String>,
    file: Option<String>,
}

/// Reads `searchText`: words that must all occur, with `path:`, `ext:` and `file:` filters.
fn wanted(text: &str) -> Wanted {
    let mut wanted = Wanted { words: Vec::new(), path: None, extension: None, file: None };
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, tail) = match rest.strip_prefix('"').and_then(|r| r.split_once('"')) {
            Some((quoted, tail)) => (quoted, tail),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        let lower = word.trim_matches('"').to_lowercase();
        match lower.split_once(':') {
            Some(("path", value)) => wanted.path = Some(value.trim_matches('"').to_owned()),
            Some(("ext", value)) => wanted.extension = Some(value.to_owned()),
            Some(("file", value)) => wanted.file = Some(value.to_owned()),
            _ if !lower.is_empty() && lower != "and" => {
                wanted.words.push(lower.trim_end_matches('*').to_owned())
            }
            _ => {}
        }
        rest = tail.trim_start();
    }
    wanted
}

/// `POST search/codesearchresults`.
pub fn code(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let text = body["searchText"].as_str().unwrap_or_default();
    if text.trim().is_empty() {
        return Err(Refusal::new(400, "InvalidSearchRequestException", "searchText must not be empty."));
    }
    let wanted = wanted(text);
    let world = call.organisation.lock();
    let project = call.optional_project(&world)?.map(|p| p.id);
    let filter = |key: &str| -> Vec<String> {
        let list = body["filters"][key].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_lowercase).collect()
    };
    let (projects, repositories, paths) = (filter("Project"), filter("Repository"), filter("Path"));
    let mut results = Vec::new();
    let mut budget = FILES;
    for repository in world.repositories.values() {
        let home = world.projects.get(&repository.project);
        let name = home.map_or(String::new(), |p| p.name.to_lowercase());
        let skipped = project.is_some_and(|p| p != repository.project)
            || !world.may(call.actor.id, repository.project, Some(repository.id), Permission::GenericRead)
            || !(projects.is_empty() || projects.contains(&name))
            || !(repositories.is_empty() || repositories.contains(&repository.name.to_lowercase()));
        if skipped {
            continue;
        }
        let project = json!({"name": home.map(|p| p.name.clone()), "id": repository.project});
        results.extend(in_repository(&world, repository, &wanted, &paths, &project, &mut budget)?);
    }
    let count = |key: &str| body[key].as_u64().and_then(|n| usize::try_from(n).ok());
    let total = results.len();
    let top = count("$top").unwrap_or(RESULTS).min(RESULTS);
    let page: Vec<Value> = results.into_iter().skip(count("$skip").unwrap_or(0)).take(top).collect();
    Ok(Reply::ok(json!({"count": total, "results": page, "infoCode": 0, "facets": {}})))
}

fn in_repository(
    world: &crate::simulator::azure_devops::state::World,
    repository: &Repository,
    wanted: &Wanted,
    paths: &[String],
    project: &Value,
    budget: &mut usize,
) -> Outcome<Vec<Value>> {
    let Some(branch) = &repository.default_branch else { return Ok(Vec::new()) };
    let Some(tip) = repository.refs.get(branch) else { return Ok(Vec::new()) };
    let store = world.store(repository.id)?;
    let Some(root) = store.entry(&tip.sha, "/") else { return Ok(Vec::new()) };
    let mut results = Vec::new();
    for entry in store.below(&root, true)?.into_iter().filter(|e| !e.folder) {
        let path = entry.path.to_lowercase();
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let fits = paths.iter().all(|p| path.starts_with(p.as_str()))
            && wanted
                .path
                .as_ref()
                .is_none_or(|p| path.starts_with(&format!("/{}", p.trim_start_matches('/'))))
            && wanted.extension.as_ref().is_none_or(|e| path.ends_with(&format!(".{e}")))
            && wanted.file.as_ref().is_none_or(|f| name.contains(f.trim_matches('*')));
        if !fits || *budget == 0 {
            continue;
        }
        *budget -= 1;
        let text = world.searched().text(&entry.sha, || {
            let bytes = store.blob(&entry.sha)?;
            let searched = bytes.len() <= FILE_BYTES && !is_binary(&bytes);
            Ok(searched.then(|| String::from_utf8_lossy(&bytes).to_lowercase()))
        })?;
        let Some(text) = text else { continue };
        if !wanted.words.iter().all(|w| text.contains(w) || name.contains(w)) {
            continue;
        }
        let mut content: Vec<Value> = Vec::new();
        for word in &wanted.words {
            content.extend(text.match_indices(word).take(MATCHES).map(|(at, found)| {
                let before = &text[..at];
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                json!({
                    "charOffset": before.chars().count(), "length": found.chars().count(), "line": line, "column": column,
                    "type": "content",
                })
            }));
        }
        let shown = entry.path.rsplit('/').next().unwrap_or_default();
        let in_name = wanted.words.iter().any(|w| name.contains(w));
        let named = if in_name { json!([{"charOffset": 0, "length": -1}]) } else { json!([]) };
        let branch = branch.trim_start_matches("refs/heads/");
        results.push(json!({
            "fileName": shown,
            "path": entry.path,
            "matches": {"content": content, "fileName": named},
            "collection": {"name": world.organization},
            "project": project,
            "repository": {"name": repository.name, "id": repository.id, "type": "git"},
            "versions": [{"branchName": branch, "changeId": tip.sha}],
            "contentId": entry.sha,
        }));
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_filters_are_told_apart() {
        let found = wanted("Timeout ext:ts path:/src \"two words\" file:login*");
        assert_eq!(found.words, ["timeout", "two words"]);
        assert_eq!(
            (found.extension.as_deref(), found.path.as_deref(), found.file.as_deref()),
            (Some("ts"), Some("/src"), Some("login*"))
        );
    }
}
