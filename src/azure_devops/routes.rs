//! Every route that is used, with its api-version: released 7.1, or the preview that the
//! resource is at (FACTS §2). The kind says whether a route can change something: [`Read`] is for
//! everybody, [`Write`] is sent only with a permit.

use super::address::Host;

/// The HTTP methods in use; unlike reqwest's type it can stand in a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Patch,
}

impl From<Method> for reqwest::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Post => Self::POST,
            Method::Patch => Self::PATCH,
        }
    }
}

/// A route that changes nothing. Some are POST, because their question does not fit a URL.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) method: Method,
    pub(super) host: Host,
    pub(super) template: &'static str,
    pub(super) version: &'static str,
}

/// A route that changes something.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) method: Method,
    pub(super) template: &'static str,
    pub(super) version: &'static str,
    /// Content type of the body.
    pub(super) content_type: &'static str,
}

const RELEASED: &str = "7.1";
const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";

const fn get(template: &'static str) -> Read {
    Read { method: Method::Get, host: Host::Main, template, version: RELEASED }
}

const fn ask(template: &'static str) -> Read {
    Read { method: Method::Post, host: Host::Main, template, version: RELEASED }
}

/// Graph is a preview for ever.
const fn graph(template: &'static str) -> Read {
    Read { host: Host::Identities, version: "7.1-preview.1", ..get(template) }
}

const fn write(method: Method, template: &'static str) -> Write {
    Write { method, template, version: RELEASED, content_type: JSON }
}

pub(super) const CONNECTION: Read = Read { version: "7.1-preview.1", ..get("_apis/connectionData") };
pub(super) const IDENTITIES: Read = Read { host: Host::Identities, ..get("_apis/identities") };
pub(super) const TEAMS: Read = get("_apis/projects/{project}/teams");
pub(super) const TEAM_MEMBERS: Read = get("_apis/projects/{project}/teams/{team}/members");
pub(super) const MEMBERSHIPS: Read = graph("_apis/graph/memberships/{subject}");
pub(super) const GROUP: Read = graph("_apis/graph/groups/{group}");
pub(super) const REPOSITORY: Read = get("{project}/_apis/git/repositories/{repository}");
pub(super) const REFS: Read = get("{project}/_apis/git/repositories/{repository}/refs");
pub(super) const ITEMS: Read = get("{project}/_apis/git/repositories/{repository}/items");
pub(super) const COMMITS: Read = get("{project}/_apis/git/repositories/{repository}/commits");
pub(super) const COMMIT: Read = get("{project}/_apis/git/repositories/{repository}/commits/{commit}");
pub(super) const PUSHES: Read = get("{project}/_apis/git/repositories/{repository}/pushes");
pub(super) const PUSH_BY_ID: Read = get("{project}/_apis/git/repositories/{repository}/pushes/{id}");
pub(super) const PULL_REQUESTS: Read = get("{project}/_apis/git/repositories/{repository}/pullrequests");
pub(super) const PULL_REQUEST: Read = get("{project}/_apis/git/repositories/{repository}/pullrequests/{id}");
pub(super) const PULL_REQUEST_COMMITS: Read =
    get("{project}/_apis/git/repositories/{repository}/pullrequests/{id}/commits");
pub(super) const PULL_REQUEST_WORK_ITEMS: Read =
    get("{project}/_apis/git/repositories/{repository}/pullrequests/{id}/workitems");
pub(super) const ITERATIONS: Read =
    get("{project}/_apis/git/repositories/{repository}/pullrequests/{id}/iterations");
pub(super) const ITERATION_CHANGES: Read =
    get("{project}/_apis/git/repositories/{repository}/pullrequests/{id}/iterations/{iteration}/changes");
pub(super) const THREADS: Read =
    get("{project}/_apis/git/repositories/{repository}/pullrequests/{id}/threads");
pub(super) const WORK_ITEM: Read = get("{project}/_apis/wit/workitems/{id}");
pub(super) const WORK_ITEM_COMMENTS: Read =
    Read { version: "7.1-preview.4", ..get("{project}/_apis/wit/workItems/{id}/comments") };
pub(super) const WORK_ITEM_UPDATES: Read = get("{project}/_apis/wit/workItems/{id}/updates");
pub(super) const WORK_ITEM_REVISION: Read = get("{project}/_apis/wit/workItems/{id}/revisions/{revision}");
pub(super) const WORK_ITEM_TYPES: Read = get("{project}/_apis/wit/workitemtypes");
pub(super) const DEFINITIONS: Read = get("{project}/_apis/build/definitions");
pub(super) const BUILDS: Read = get("{project}/_apis/build/builds");
pub(super) const BUILD: Read = get("{project}/_apis/build/builds/{id}");
pub(super) const BUILD_TIMELINE: Read = get("{project}/_apis/build/builds/{id}/timeline");
pub(super) const BUILD_LOGS: Read = get("{project}/_apis/build/builds/{id}/logs");
pub(super) const BUILD_LOG: Read = get("{project}/_apis/build/builds/{id}/logs/{log}");
pub(super) const TEST_RUNS: Read = get("{project}/_apis/test/runs");
pub(super) const TEST_RESULTS: Read = get("{project}/_apis/test/runs/{run}/results");
/// A preview for ever, on a host of its own.
pub(super) const AUDIT_LOG: Read =
    Read { host: Host::Audit, version: "7.1-preview.1", ..get("_apis/audit/auditlog") };
pub(super) const CODE_SEARCH: Read =
    Read { host: Host::Search, ..ask("{project}/_apis/search/codesearchresults") };
pub(super) const WIQL: Read = ask("{project}/_apis/wit/wiql");
pub(super) const WORK_ITEMS_BATCH: Read = ask("{project}/_apis/wit/workitemsbatch");

/// The routes that write. Nobody but `write` may name them.
pub(in crate::azure_devops) mod writing {
    use super::{JSON_PATCH, Method, Write, write};

    pub(in crate::azure_devops) const CREATE_WORK_ITEM: Write =
        Write { content_type: JSON_PATCH, ..write(Method::Post, "{project}/_apis/wit/workitems/${type}") };
    pub(in crate::azure_devops) const UPDATE_WORK_ITEM: Write =
        Write { content_type: JSON_PATCH, ..write(Method::Patch, "{project}/_apis/wit/workitems/{id}") };
    pub(in crate::azure_devops) const COMMENT_ON_WORK_ITEM: Write = Write {
        version: "7.1-preview.4",
        ..write(Method::Post, "{project}/_apis/wit/workItems/{id}/comments")
    };
    pub(in crate::azure_devops) const UPDATE_REFS: Write =
        write(Method::Post, "{project}/_apis/git/repositories/{repository}/refs");
    pub(in crate::azure_devops) const PUSH: Write =
        write(Method::Post, "{project}/_apis/git/repositories/{repository}/pushes");
    pub(in crate::azure_devops) const CREATE_PULL_REQUEST: Write =
        write(Method::Post, "{project}/_apis/git/repositories/{repository}/pullrequests");
    pub(in crate::azure_devops) const UPDATE_PULL_REQUEST: Write =
        write(Method::Patch, "{project}/_apis/git/repositories/{repository}/pullrequests/{id}");
    pub(in crate::azure_devops) const CREATE_THREAD: Write =
        write(Method::Post, "{project}/_apis/git/repositories/{repository}/pullrequests/{id}/threads");
    pub(in crate::azure_devops) const QUEUE_BUILD: Write =
        write(Method::Post, "{project}/_apis/build/builds");
    pub(in crate::azure_devops) const REPLY: Write = write(
        Method::Post,
        "{project}/_apis/git/repositories/{repository}/pullrequests/{id}/threads/{thread}/comments",
    );
    pub(in crate::azure_devops) const UPDATE_THREAD: Write = write(
        Method::Patch,
        "{project}/_apis/git/repositories/{repository}/pullrequests/{id}/threads/{thread}",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_resources_that_are_never_released_are_asked_for_as_previews() {
        let read = [
            &CONNECTION,
            &IDENTITIES,
            &TEAMS,
            &TEAM_MEMBERS,
            &MEMBERSHIPS,
            &GROUP,
            &REPOSITORY,
            &REFS,
            &ITEMS,
            &COMMITS,
            &COMMIT,
            &PUSHES,
            &PUSH_BY_ID,
            &PULL_REQUESTS,
            &PULL_REQUEST,
            &PULL_REQUEST_COMMITS,
            &PULL_REQUEST_WORK_ITEMS,
            &ITERATIONS,
            &ITERATION_CHANGES,
            &THREADS,
            &WORK_ITEM,
            &WORK_ITEM_COMMENTS,
            &WORK_ITEM_UPDATES,
            &WORK_ITEM_REVISION,
            &WORK_ITEM_TYPES,
            &WIQL,
            &WORK_ITEMS_BATCH,
            &DEFINITIONS,
            &BUILDS,
            &BUILD,
            &BUILD_TIMELINE,
            &BUILD_LOGS,
            &BUILD_LOG,
            &TEST_RUNS,
            &TEST_RESULTS,
            &CODE_SEARCH,
            &AUDIT_LOG,
        ];
        for route in read {
            // discovery/options_apis.json: releasedVersion 0.0.
            let is_preview = route.template.contains("connectionData")
                || route.template.contains("_apis/graph/")
                || route.template.contains("_apis/audit/")
                || route.template.contains("wit/workItems/{id}/comments");
            assert_eq!(route.version.contains("preview"), is_preview, "{}", route.template);
            let is_question =
                ["wiql", "batch", "searchresults"].iter().any(|end| route.template.ends_with(end));
            assert_eq!(route.method == Method::Post, is_question, "{}", route.template);
        }
    }
}
