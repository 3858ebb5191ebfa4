//! What kinds of files a push touches: those that builds, rules, git or package managers obey.

use icu_normalizer::ComposingNormalizerBorrowed;
use yaml_rust2::parser::{Event, Parser};

use crate::action::{Content, FileChange};

/// Keys of the outermost level of a build definition.
const CI_KEYS: [&str; 8] = ["trigger", "pr", "stages", "jobs", "steps", "extends", "pool", "schedules"];

/// A path as rules compare it: NFC, lower case, without the leading slash.
pub(super) fn canonical(path: &str) -> String {
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(path).to_lowercase();
    // Lowering can leave marks uncomposed again.
    ComposingNormalizerBorrowed::new_nfc().normalize(composed.trim_start_matches('/')).into_owned()
}

/// Everything that is known of the files of a push.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Classes {
    pub(super) paths: Vec<String>,
    pub(super) added: u32,
    pub(super) deleted: u32,
    pub(super) renamed: u32,
    pub(super) bytes: u64,
    pub(super) touches_ci: bool,
    pub(super) touches_policy: bool,
    pub(super) special: Vec<String>,
    pub(super) hidden_characters: bool,
}

/// Looks at every change. `obeyed` are the paths that build definitions name.
pub(super) fn of(changes: &[FileChange], obeyed: &[String]) -> Classes {
    let mut found = Classes::default();
    for change in changes {
        let paths: Vec<String> = change.paths().into_iter().map(|path| canonical(path.as_str())).collect();
        let text = text_of(change);
        match change {
            FileChange::Add { .. } => found.added += 1,
            FileChange::Delete { .. } => found.deleted += 1,
            FileChange::Rename { .. } => found.renamed += 1,
            // A file without content is as good as deleted.
            FileChange::Edit { .. } if text.is_some_and(|text| text.trim().is_empty()) => found.deleted += 1,
            FileChange::Edit { .. } => {}
        }
        found.bytes = found.bytes.saturating_add(size(change));
        found.hidden_characters |=
            text.is_some_and(|text| !crate::mask::sanitise::hidden_characters(text).is_empty());
        for path in &paths {
            // What a moved file holds is not known here: a move onto a name that could be a build
            // definition counts as one.
            let moved = matches!(change, FileChange::Rename { .. });
            found.touches_ci |= is_ci(path, text, moved) || obeyed.iter().any(|other| other == path);
            found.touches_policy |= is_policy(path);
            for kind in special(path, text) {
                if !found.special.iter().any(|known| known == kind) {
                    found.special.push(kind.to_owned());
                }
            }
        }
        found.paths.extend(paths);
    }
    found.special.sort_unstable();
    found
}

fn text_of(change: &FileChange) -> Option<&str> {
    match change {
        FileChange::Add { content: Content::Text(text), .. }
        | FileChange::Edit { content: Content::Text(text), .. } => Some(text),
        _ => None,
    }
}

fn size(change: &FileChange) -> u64 {
    match change {
        FileChange::Add { content, .. } | FileChange::Edit { content, .. } => match content {
            Content::Text(text) | Content::Base64(text) => text.len() as u64,
            Content::Digest(_) => 0,
        },
        _ => 0,
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_ci(path: &str, text: Option<&str>, moved: bool) -> bool {
    let name = file_name(path);
    let in_folder =
        |folder: &str| path.starts_with(&format!("{folder}/")) || path.contains(&format!("/{folder}/"));
    let yaml = name.ends_with(".yml") || name.ends_with(".yaml");
    name.starts_with("azure-pipelines")
        || name.starts_with("jenkinsfile")
        || (name.starts_with(".gitlab-ci") && yaml)
        || (name.contains(".pipeline.") && yaml)
        || [".azuredevops", ".azure-pipelines", ".pipelines", ".github/workflows"].into_iter().any(in_folder)
        || (yaml && (moved || text.is_some_and(reads_as_ci)))
}

/// Whether YAML text reads as a build definition or a template of one: by the keys of its outermost
/// level, in whatever style they are written. What is no YAML, such as a template of some, is
/// searched for the same words.
fn reads_as_ci(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    let mut parser = Parser::new_from_str(text);
    let (mut depth, mut is_key) = (0_usize, true);
    // Taken one by one: neither aliases nor deep nesting can make this grow.
    while let Ok((event, _)) = parser.next_token() {
        match event {
            Event::StreamEnd => return false,
            Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
            Event::MappingEnd | Event::SequenceEnd => {
                depth = depth.saturating_sub(1);
                is_key ^= depth == 1;
            }
            Event::Scalar(word, ..) if depth == 1 => {
                if is_key && CI_KEYS.contains(&word.trim()) {
                    return true;
                }
                is_key = !is_key;
            }
            Event::Alias(_) if depth == 1 => is_key = !is_key,
            _ => {}
        }
    }
    text.lines().any(|line| {
        let key = line.split_once(':').map(|(key, _)| key.trim_matches(|c: char| !c.is_alphanumeric()));
        key.is_some_and(|key| CI_KEYS.contains(&key))
    })
}

fn is_policy(path: &str) -> bool {
    let name = file_name(path);
    let folder = path.split('/').next().unwrap_or_default();
    matches!(name, "codeowners" | "policy.toml" | "approvers" | "owners")
        || name.starts_with(".ado-coworker")
        || folder.starts_with(".ado-coworker")
        || (path.contains("policies/") && name.ends_with(".toml"))
}

fn special(path: &str, text: Option<&str>) -> Vec<&'static str> {
    let name = file_name(path);
    let mut kinds = Vec::new();
    if matches!(name, ".gitmodules" | ".gitattributes" | ".gitconfig" | ".lfsconfig")
        || path.starts_with(".husky/")
    {
        kinds.push("git_settings");
    }
    let locks = [
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "cargo.lock",
        "poetry.lock",
        "pipfile.lock",
        "uv.lock",
        "composer.lock",
        "gemfile.lock",
        "go.sum",
        "packages.lock.json",
        "gradle.lockfile",
        "bun.lockb",
        "deno.lock",
    ];
    if locks.contains(&name) || name.ends_with(".lock") {
        kinds.push("lock_file");
    }
    let manifests = [
        "package.json",
        "cargo.toml",
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "pipfile",
        "go.mod",
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
        "settings.gradle",
        "gemfile",
        "composer.json",
        "directory.packages.props",
        "directory.build.props",
        "packages.config",
        "global.json",
        "dockerfile",
    ];
    let projects = [".csproj", ".fsproj", ".vbproj", ".gemspec", ".nuspec"];
    if manifests.contains(&name)
        || projects.iter().any(|end| name.ends_with(end))
        || (name.starts_with("requirements") && name.ends_with(".txt"))
    {
        kinds.push("dependencies");
    }
    let feeds = [
        "nuget.config",
        ".npmrc",
        ".yarnrc",
        ".yarnrc.yml",
        "pip.conf",
        ".pypirc",
        ".cargo/config.toml",
        "settings.xml",
        ".pnpmfile.cjs",
    ];
    if feeds.contains(&name) || path.ends_with(".cargo/config.toml") {
        kinds.push("package_source");
    }
    if name == "package.json"
        && text.is_some_and(|text| text.contains("install\"") || text.contains("\"prepare\""))
    {
        kinds.push("package_scripts");
    }
    let instructs = ["agents.md", "claude.md", "copilot-instructions.md", ".cursorrules", "gemini.md"];
    if instructs.contains(&name) {
        kinds.push("instructions");
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::ItemPath;

    fn add(path: &str, text: &str) -> FileChange {
        FileChange::Add { path: ItemPath::new(path).unwrap(), content: Content::Text(text.into()) }
    }

    #[test]
    fn a_build_definition_is_seen_however_it_is_called() {
        for (path, text) in [
            ("azure-pipelines.yml", ""),
            ("Azure-Pipelines.YML", ""),
            ("azure-pipelines.yml.bak", ""),
            (".AzureDevOps/x.txt", ""),
            ("deploy/web.yaml", "variables: {}\nsteps:\n- script: curl evil\n"),
            ("ci/t.yml", "parameters: []\njobs:\n"),
            (".github/workflows/a.yml", ""),
            ("flow.yml", "{ \"steps\": [ { script: curl } ] }"),
            ("indented.yml", "  jobs:\n  - job: x\n"),
            ("complex.yml", "!!map\n? steps\n: - script: curl\n"),
            ("nested.yml", "a: {b: [c, {d: e}]}\nf: &x g\nh: *x\nstages: []\n"),
            ("broken.yml", "{{ if x }}\n- steps:\n  - script: curl\n"),
        ] {
            assert!(of(&[add(path, text)], &[]).touches_ci, "{path}");
        }
        for (path, text) in [
            ("src/steps.ts", "steps:"),
            ("docker-compose.yml", "services:\n  steps: x\n"),
            ("README.md", ""),
            ("values.yaml", "a: steps\nb: [jobs, pool]\n"),
            ("helm.yaml", "{{- if .Values.x }}\nname: y\n"),
            ("empty.yml", ""),
        ] {
            assert!(!of(&[add(path, text)], &[]).touches_ci, "{path}");
        }
        assert!(of(&[add("odd.txt", "")], &["odd.txt".into()]).touches_ci, "a definition names it");
        let moved = FileChange::Rename {
            path: ItemPath::new("notes.txt").unwrap(),
            new_path: ItemPath::new("ci/build.yml").unwrap(),
        };
        assert!(of(&[moved], &[]).touches_ci, "what is moved may be anything");
    }

    #[test]
    fn composed_and_decomposed_names_are_one() {
        assert_eq!(canonical("/Ä/CODEOWNERS"), canonical("/A\u{308}/codeowners"));
        assert!(of(&[add(".github/CodeOwners", "")], &[]).touches_policy);
        assert!(of(&[add("policies/default.toml", "")], &[]).touches_policy);
        assert!(!of(&[add("src/policies/index.ts", "")], &[]).touches_policy);
    }

    #[test]
    fn files_that_act_are_named_by_kind() {
        let kinds = |path: &str, text: &str| of(&[add(path, text)], &[]).special;
        assert_eq!(kinds(".gitmodules", ""), ["git_settings"]);
        assert_eq!(
            kinds("web/package.json", "{\"scripts\":{\"postinstall\":\"x\"}}"),
            ["dependencies", "package_scripts"]
        );
        assert_eq!(kinds("yarn.lock", ""), ["lock_file"]);
        assert_eq!(kinds("NuGet.Config", ""), ["package_source"]);
        assert_eq!(kinds("AGENTS.md", ""), ["instructions"]);
        assert!(kinds("src/cart.ts", "").is_empty());
    }

    #[test]
    fn an_emptied_file_counts_as_deleted_and_hidden_characters_are_seen() {
        let empty =
            FileChange::Edit { path: ItemPath::new("a").unwrap(), content: Content::Text(" \n".into()) };
        let found = of(&[empty, add("b.ts", "if (x) { /*\u{202e} } */")], &[]);
        assert_eq!((found.deleted, found.added, found.hidden_characters), (1, 1, true));
    }
}
