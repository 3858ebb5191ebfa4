//! Searching the code of the default branch.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Desk, Fault, Tool, Work, read, schema, words};
use crate::action::ItemPath;
use crate::azure_devops::{CodeHit, Error, Version, limits};
use crate::journal::Outcome;

/// Most files that are listed.
const MAX_FILES: usize = 25;
/// Files whose matching lines are shown; each costs a request.
const SHOWN_FILES: usize = 8;
/// Most matching lines that are shown of one file.
const MAX_LINES: usize = 6;
/// Longest line that is shown, in characters.
const MAX_LINE: usize = 200;

pub(super) const CODE: Tool = Tool {
    name: "search_code",
    description: "Finds files of the default branch that contain all the given words, with the matching lines. A word \
                  may end with *; \"…\" finds a phrase; ext:ts narrows down. path is a folder, or null.",
    parameters: schema::strict::<Search>,
    run: |desk, arguments| Box::pin(search(desk, arguments)) as Work<'_>,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    text: String,
    path: Option<String>,
}

async fn search(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Search = read(arguments)?;
    let root = args.path.as_deref().is_none_or(|path| path.trim_matches('/').is_empty());
    let folder = match args.path.as_deref().filter(|_| !root) {
        Some(path) => Some(ItemPath::new(path.trim_end_matches('/'))?),
        None => None,
    };
    desk.gate.read("git.read").await?;
    let served = &desk.toolbox.served;
    let found = match desk.toolbox.azure.search_code(served, &args.text, folder.as_ref(), MAX_FILES).await {
        // The extension is not installed, or this Server has no search.
        Err(Error::NotFound(_)) => {
            return Err(words(
                "This organisation has no code search.",
                "Use list_files with recursive, and read_file.",
            ));
        }
        other => other?,
    };
    let mut files = Vec::with_capacity(found.hits.len());
    for (i, hit) in found.hits.iter().enumerate() {
        let lines = if i < SHOWN_FILES { lines(desk, hit).await? } else { Vec::new() };
        files.push(json!({ "path": hit.path, "lines": lines }));
    }
    let mut content = json!({ "total_files": found.total, "files": files });
    if let Some(branch) = found.hits.first().and_then(|hit| hit.branch.as_deref()) {
        content["branch"] = json!(branch);
    }
    if found.hits.is_empty() {
        content["note"] = json!(
            "Nothing found. Search knows whole words of the default branch, and may lag behind \
                                 the last push: try fewer words, a word with *, or list_files and read_file."
        );
    }
    // The index holds the default branch.
    let searched = desk.toolbox.repository().await?.default_branch.clone();
    desk.saw_files(format!("search for {}", args.text), &content.to_string(), searched.as_ref());
    let summary = match found.total {
        0 => format!("No file contains '{}'", args.text),
        1 => format!("1 file contains '{}'", args.text),
        n => format!("{n} files contain '{}'", args.text),
    };
    Ok(Outcome { ok: true, content: content.to_string(), summary, ..Outcome::default() })
}

/// The lines that match, from the file itself: the service names characters only.
async fn lines(desk: &Desk<'_>, hit: &CodeHit) -> Result<Vec<Value>, Fault> {
    let (Some(commit), Ok(path)) = (hit.commit.clone(), ItemPath::new(&hit.path)) else {
        return Ok(Vec::new());
    };
    let version = Version::Commit(commit);
    let (azure, served) = (&desk.toolbox.azure, &desk.toolbox.served);
    match azure.file(served, &version, &path, limits::FILE_BYTES).await {
        Ok(bytes) => Ok(matching(&String::from_utf8_lossy(&bytes), hit)),
        // The index knows what is not there any more.
        Err(Error::NotFound(_) | Error::TooLarge(_)) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn matching(text: &str, hit: &CodeHit) -> Vec<Value> {
    let mut shown: Vec<Value> = Vec::new();
    let mut offsets: Vec<usize> = hit.matches.iter().map(|found| found.offset).collect();
    offsets.sort_unstable();
    let mut offsets = offsets.into_iter().peekable();
    let mut end = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        end += line.chars().count();
        let mut here = false;
        while offsets.next_if(|offset| *offset < end).is_some() {
            here = true;
        }
        if here {
            let line: String = line.trim_end().chars().take(MAX_LINE).collect();
            shown.push(json!({ "line": i + 1, "text": line }));
        }
        if shown.len() == MAX_LINES || offsets.peek().is_none() {
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure_devops::CodeMatch;

    #[test]
    fn characters_become_lines() {
        let text = "é one\ntwo\n  one one\n";
        let matches = [2, 12, 16].map(|offset| CodeMatch { offset, length: 3 }).to_vec();
        let hit = CodeHit { path: "/a".into(), branch: None, commit: None, matches };
        let expected = [json!({"line": 1, "text": "é one"}), json!({"line": 3, "text": "  one one"})];
        assert_eq!(matching(text, &hit), expected);
        let far = CodeHit { matches: vec![CodeMatch { offset: 900, length: 1 }], ..hit };
        assert!(matching(text, &far).is_empty());
    }
}
