//! Our own table of the routes served: identity, template, versions, handlers.
//!
//! Ids, templates and versions are facts of the service's location table; the table answers
//! `OPTIONS _apis`, and requests are dispatched through the same templates, ignoring case.

use axum::http::Method;
use serde_json::{Value, json};

use super::reply::Reply;
use super::{
    Call, attachments, audit, builds, commits, core, definitions, discovery, entitlements, folders, groups,
    hooks, identities, items, nodes, policies, pull_request_parts, pull_requests, queries, reactions,
    repositories, search, security, tags, teams, threads, work_item_parts, work_items,
};
use crate::simulator::azure_devops::state::Outcome;

/// Answers one request.
pub type Handler = fn(&Call<'_>) -> Outcome<Reply>;

/// A resource location.
#[derive(Clone, Copy, Debug)]
pub struct Location {
    /// Location id; clients look it up.
    pub id: &'static str,
    /// Area.
    pub area: &'static str,
    /// Resource name.
    pub resource: &'static str,
    /// Route template.
    pub template: &'static str,
    /// Newest resource version.
    pub resource_version: u32,
    /// Oldest api-version.
    pub min: &'static str,
    /// Newest api-version.
    pub max: &'static str,
    /// Newest released api-version; `0.0` when there is only a preview.
    pub released: &'static str,
}

/// A location with its handlers.
struct Route {
    location: Location,
    handlers: &'static [(&'static str, Handler)],
}

/// A request's route.
pub struct Found {
    /// Where.
    pub location: &'static Location,
    /// Placeholders.
    pub parameters: Vec<(&'static str, String)>,
    /// Who answers.
    pub handler: Handler,
}

impl Location {
    /// Oldest, newest and newest released version as numbers.
    pub fn versions(&self) -> ((u32, u32), (u32, u32), (u32, u32)) {
        let read = |text: &str| {
            let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
            (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
        };
        (read(self.min), read(self.max), read(self.released))
    }

    /// ApiResourceLocation.
    pub fn render(&self) -> Value {
        json!({
            "id": self.id, "area": self.area, "resourceName": self.resource, "routeTemplate": self.template,
            "resourceVersion": self.resource_version, "minVersion": self.min, "maxVersion": self.max,
            "releasedVersion": self.released,
        })
    }
}

/// Every location served.
pub fn locations() -> impl Iterator<Item = &'static Location> {
    ROUTES.iter().map(|r| &r.location)
}

/// The route of a request, by the most literal template that has the method.
pub fn find(method: &Method, segments: &[String]) -> Option<Found> {
    let name = if method == Method::HEAD { "GET" } else { method.as_str() };
    let mut best: Option<(usize, Found)> = None;
    for route in ROUTES {
        let Some((_, handler)) = route.handlers.iter().find(|(m, _)| *m == name) else { continue };
        let Some((literal, parameters)) = matches(&route.location, segments) else { continue };
        if best.as_ref().is_none_or(|(most, _)| literal > *most) {
            best = Some((literal, Found { location: &route.location, parameters, handler: *handler }));
        }
    }
    best.map(|(_, found)| found)
}

/// The answer to a path or method that no route has.
pub fn unknown(method: &Method, segments: &[String], path: &str) -> Reply {
    if ROUTES.iter().any(|r| matches(&r.location, segments).is_some()) {
        let text = format!("The requested resource does not support http method '{method}'.");
        return Reply::json(405, &json!({"Message": text}));
    }
    let text = format!("The controller for path '{path}' was not found or does not implement IController.");
    let encoded =
        percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string();
    Reply::bytes(404, "text/plain", text.into_bytes()).header("X-TFS-ServiceError", encoded)
}

/// Matches a template, in which `{project}` and trailing placeholders may be missing.
fn matches(location: &'static Location, segments: &[String]) -> Option<(usize, Vec<(&'static str, String)>)> {
    let parts: Vec<&'static str> = location.template.split('/').filter(|p| !p.is_empty()).collect();
    let skips: &[&[&str]] = &[&[], &["{team}"], &["{project}"], &["{project}", "{team}"]];
    for skip in skips {
        if skip.iter().any(|s| !parts.contains(s)) {
            continue;
        }
        let kept: Vec<&'static str> = parts.iter().copied().filter(|p| !skip.contains(p)).collect();
        if let Some(found) = match_parts(location, &kept, segments) {
            return Some(found);
        }
    }
    None
}

fn match_parts(
    location: &Location,
    parts: &[&'static str],
    segments: &[String],
) -> Option<(usize, Vec<(&'static str, String)>)> {
    let mut parameters = Vec::new();
    let mut literal = 0;
    let mut rest = segments.iter();
    for (at, part) in parts.iter().enumerate() {
        if let Some(name) = part.strip_prefix("{*").and_then(|p| p.strip_suffix('}')) {
            let tail: Vec<&str> = rest.by_ref().map(String::as_str).collect();
            if !tail.is_empty() {
                parameters.push((name, tail.join("/")));
            }
            return Some((literal, parameters));
        }
        let Some(segment) = rest.next() else {
            let open = |p: &&str| p.starts_with('{') && !["{area}", "{resource}"].contains(p);
            return parts[at..].iter().all(open).then_some((literal, parameters));
        };
        let fixed = part.replace("{area}", location.area).replace("{resource}", location.resource);
        if !fixed.contains('{') {
            if !fixed.eq_ignore_ascii_case(segment) {
                return None;
            }
            literal += 1;
        } else if let Some(name) = part.strip_prefix("${").and_then(|p| p.strip_suffix('}')) {
            parameters.push((name, segment.strip_prefix('$')?.to_owned()));
            literal += 1;
        } else {
            if segment.starts_with('_') || segment.starts_with('$') {
                return None;
            }
            let name = part.trim_matches(['{', '}']);
            parameters.push((name, segment.clone()));
        }
    }
    rest.next().is_none().then_some((literal, parameters))
}

macro_rules! routes {
    ($($id:literal $area:literal $resource:literal $template:literal $version:literal $min:literal $max:literal $released:literal
        { $($method:literal => $handler:path),* $(,)? })*) => {
        &[$(Route {
            location: Location {
                id: $id, area: $area, resource: $resource, template: $template, resource_version: $version,
                min: $min, max: $max, released: $released,
            },
            handlers: &[$(($method, $handler)),*],
        }),*]
    };
}

#[rustfmt::skip]
static ROUTES: &[Route] = routes! {
    "00d9565f-ed9c-4a06-9a50-00e7896ccab4" "Location" "ConnectionData" "_apis/{resource}" 1 "1.0" "7.2" "0.0" { "GET" => identities::connection_data }
    "e81700f7-3be2-46de-8624-2eb35882fcaa" "Location" "ResourceAreas" "_apis/{resource}/{areaId}" 1 "3.2" "7.2" "0.0" { "GET" => discovery::resource_areas }
    "603fe2ac-9723-48b9-88ad-09305aa6c6e1" "core" "projects" "_apis/{resource}/{*projectId}" 4 "1.0" "7.2" "7.1" { "GET" => core::projects, "POST" => core::create_project, "PATCH" => core::change_project, "DELETE" => core::delete_project }
    "9a1b74b4-2ca8-4a9f-8470-c2f2e6fdc949" "operations" "operations" "_apis/{resource}/{operationId}" 1 "2.0" "7.2" "7.1" { "GET" => core::operation }
    "d30a3dd1-f8ba-442a-b86a-bd0c0c383e59" "core" "teams" "_apis/projects/{projectId}/{resource}/{*teamId}" 3 "1.0" "7.2" "7.1" { "GET" => core::teams, "POST" => core::create_team, "PATCH" => core::change_team, "DELETE" => core::delete_team }
    "294c494c-2600-4d7e-b76c-3dd50c3c95be" "core" "members" "_apis/projects/{projectId}/teams/{teamId}/{resource}" 2 "1.0" "7.2" "7.1" { "GET" => core::members }
    "7a4d9ee9-3433-4347-b47a-7a80f1cf307e" "core" "teams" "_apis/{resource}" 3 "4.1" "7.2" "0.0" { "GET" => core::all_teams }
    "93878975-88c5-4e6a-8abb-7ddd77a8a7d8" "core" "processes" "_apis/process/{resource}/{*processId}" 1 "1.0" "7.2" "7.1" { "GET" => core::processes }
    "4976a71a-4487-49aa-8aab-a1eda469037a" "core" "properties" "_apis/projects/{projectId}/{resource}" 1 "3.2" "7.2" "0.0" { "GET" => core::properties }
    "28010c54-d0c0-4c89-a5b0-1c9e188b9fb7" "IMS" "Identities" "_apis/{resource}/{identityId}" 1 "1.0" "7.2" "7.1" { "GET" => identities::identities }
    "005e26ec-6b77-4e4f-a986-b3827bf241f5" "Graph" "Users" "_apis/{area}/{resource}/{userDescriptor}" 1 "4.0" "7.2" "0.0" { "GET" => identities::users }
    "ebbe6af8-0b91-4c13-8cf1-777c14858188" "Graph" "Groups" "_apis/{area}/{resource}/{groupDescriptor}" 1 "4.0" "7.2" "0.0" { "GET" => groups::get, "POST" => groups::create, "PATCH" => groups::update, "DELETE" => groups::delete }
    "048aee0a-7072-4cde-ab73-7af77b1e0b4e" "Graph" "Descriptors" "_apis/{area}/{resource}/{storageKey}" 1 "4.0" "7.2" "0.0" { "GET" => identities::descriptors }
    "eb85f8cc-f0f6-4264-a5b1-ffe2e4d4801f" "Graph" "StorageKeys" "_apis/{area}/{resource}/{subjectDescriptor}" 1 "4.0" "7.2" "0.0" { "GET" => identities::storage_keys }
    "05942c89-006a-48ce-bb79-baeb8abf99c6" "Graph" "SubjectQuery" "_apis/{area}/{resource}" 1 "6.0" "7.2" "0.0" { "POST" => identities::subject_query }
    "e34b6394-6b30-4435-94a9-409a5eef3e31" "Graph" "Memberships" "_apis/{area}/{resource}/{subjectDescriptor}" 1 "4.0" "7.2" "0.0" { "GET" => groups::memberships }
    "3fd2e6ca-fb30-443a-b579-95b19ed0934c" "Graph" "Memberships" "_apis/{area}/{resource}/{subjectDescriptor}/{containerDescriptor}" 1 "4.0" "7.2" "0.0" { "GET" => groups::membership_of, "PUT" => groups::add_membership, "DELETE" => groups::remove_membership }
    "4dd4d168-11f2-48c4-83e8-756fa0de027c" "Graph" "SubjectLookup" "_apis/{area}/{resource}" 1 "4.0" "7.2" "0.0" { "POST" => identities::subject_lookup }
    "dd3b8bd6-c7fc-4cbd-929a-933d9c011c9d" "Security" "Permissions" "_apis/{resource}/{securityNamespaceId}/{permissions}" 2 "1.0" "7.2" "7.1" { "GET" => security::permissions }
    "cf1faa59-1b63-4448-bf04-13d981a46f5d" "Security" "PermissionEvaluationBatch" "_apis/{area}/{resource}" 1 "3.0" "7.2" "7.1" { "POST" => security::evaluate }
    "ac08c8ff-4323-4b08-af90-bcd018d380ce" "Security" "AccessControlEntries" "_apis/{resource}/{securityNamespaceId}" 1 "1.0" "7.2" "7.1" { "POST" => security::set_entries, "DELETE" => security::remove_entries }
    "18a2ad18-7571-46ae-bec7-0c7da1495885" "Security" "AccessControlLists" "_apis/{resource}/{securityNamespaceId}" 1 "1.0" "7.2" "7.1" { "GET" => security::lists }
    "ce7b9f95-fde9-4be8-a86d-83b366f0b87a" "Security" "SecurityNamespaces" "_apis/{resource}/{securityNamespaceId}" 1 "1.0" "7.2" "7.1" { "GET" => security::namespaces }
    "387f832c-dbf2-4643-88e9-c1aa94dbb737" "MemberEntitlementManagement" "UserEntitlements" "_apis/{resource}/{userDescriptor}" 4 "4.1" "7.2" "0.0" { "GET" => entitlements::get, "POST" => entitlements::add, "PATCH" => entitlements::change, "DELETE" => entitlements::remove }
    "225f7195-f9c7-4d14-ab28-a83f7ff77e1f" "git" "repositories" "{project}/_apis/{area}/{resource}/{repositoryId}" 1 "1.0" "7.2" "7.1" { "GET" => repositories::get, "POST" => repositories::create, "PATCH" => repositories::update, "DELETE" => repositories::delete }
    "2d874a60-a811-4f62-9c9f-963a6ea0a55b" "git" "refs" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}/{*filter}" 2 "1.0" "7.2" "7.1" { "GET" => repositories::refs, "POST" => repositories::update_refs, "PATCH" => repositories::lock_ref }
    "fb93c0db-47ed-4a31-8c20-47552878fb44" "git" "items" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}/{*path}" 1 "1.0" "7.2" "7.1" { "GET" => items::get }
    "630fd2e4-fb88-4f85-ad21-13f3fd1fbca9" "git" "itemsBatch" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}" 1 "1.0" "7.2" "7.1" { "POST" => items::batch }
    "7b28e929-2c99-405d-9c5c-6167a06e6816" "git" "blobs" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}/{sha1}" 1 "1.0" "7.2" "7.1" { "GET" => items::blob }
    "729f6437-6f92-44ec-8bee-273a7111063c" "git" "trees" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}/{sha1}" 1 "1.0" "7.2" "7.1" { "GET" => items::tree }
    "c2570c3b-5b3f-41b8-98bf-5407bfde8d58" "git" "commits" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}/{commitId}" 2 "1.0" "7.2" "7.1" { "GET" => commits::get }
    "6400dfb2-0bcb-462b-b992-5a57f8f1416c" "git" "commitsBatch" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}" 2 "1.0" "7.2" "7.1" { "POST" => commits::batch }
    "5bf884f5-3e07-42e9-afb8-1b872267bf16" "git" "changes" "{project}/_apis/{area}/repositories/{repositoryId}/commits/{commitId}/{resource}" 1 "1.0" "7.2" "7.1" { "GET" => commits::changes }
    "428dd4fb-fda5-4722-af02-9313b80305da" "git" "statuses" "{project}/_apis/{area}/repositories/{repositoryId}/commits/{commitId}/{resource}" 2 "2.1" "7.2" "7.1" { "GET" => commits::statuses, "POST" => commits::add_status }
    "7cf2abb6-c964-4f7e-9872-f78c66e72e9c" "git" "mergeBases" "{project}/_apis/{area}/repositories/{repositoryNameOrId}/commits/{commitId}/{resource}" 1 "4.1" "7.2" "7.1" { "GET" => commits::merge_bases }
    "615588d5-c0c7-4b88-88f8-e625306446e8" "git" "commitDiffs" "{project}/_apis/{area}/repositories/{repositoryId}/diffs/commits" 1 "1.0" "7.2" "7.1" { "GET" => commits::diff }
    "d5b216de-d8d5-4d32-ae76-51df755b16d3" "git" "branchStats" "{project}/_apis/{area}/repositories/{repositoryId}/stats/branches" 2 "1.0" "7.2" "7.1" { "GET" => repositories::stats }
    "40c1f5b7-2bb6-4c28-b844-0f47cd6bb610" "git" "branchStats" "{project}/_apis/{area}/repositories/{repositoryId}/stats/branches/{*name}" 1 "1.0" "7.2" "7.1" { "GET" => repositories::stats }
    "ea98d07b-3c87-4971-8ede-a613694ffb55" "git" "pushes" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}/{pushId}" 3 "1.0" "7.2" "7.1" { "GET" => repositories::pushes, "POST" => repositories::push }
    "168b4bb9-d936-4cd9-8a5f-66d6f6b23192" "git" "commits" "{project}/_apis/{area}/repositories/{repositoryId}/pushes/{pushId}/{resource}" 1 "1.0" "7.2" "7.1" { "GET" => tags::of_push }
    "5e8a8081-3851-4626-b677-9891cc04102e" "git" "annotatedTags" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}/{objectId}" 1 "3.1" "7.2" "7.1" { "GET" => tags::get, "POST" => tags::create }
    "a663da97-81db-4eb3-8b83-287670f63073" "git" "recycleBinRepositories" "{project}/_apis/{area}/recycleBin/repositories/{repositoryId}" 1 "4.1" "7.2" "7.1" { "GET" => tags::no_repositories }
    "2b6869c4-cb25-42b5-b7a3-0d3e6be0a11a" "git" "deletedRepositories" "{project}/_apis/{area}/{resource}" 1 "2.2" "7.2" "7.1" { "GET" => tags::no_repositories }
    "158c0340-bf6f-489c-9625-d572a1480d57" "git" "forks" "{project}/_apis/{area}/repositories/{repositoryNameOrId}/forks/{collectionId}" 1 "4.0" "7.2" "7.1" { "GET" => repositories::forks }
    "01a46dea-7d46-4d40-bc84-319e7c260d99" "git" "pullRequests" "{project}/_apis/{area}/{resource}/{pullRequestId}" 2 "3.0" "7.2" "7.1" { "GET" => pull_requests::get }
    "a5d28130-9cd2-40fa-9f08-902e7daa9efb" "git" "pullRequests" "{project}/_apis/{area}/{resource}" 2 "1.0" "7.2" "7.1" { "GET" => pull_requests::get }
    "9946fd70-0d40-406e-b686-b4744cbbcc37" "git" "pullRequests" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}/{pullRequestId}" 2 "1.0" "7.2" "7.1" { "GET" => pull_requests::get, "POST" => pull_requests::create, "PATCH" => pull_requests::update }
    "b3a6eebe-9cf0-49ea-b6cb-1a4c5f5007b0" "git" "pullRequestQuery" "{project}/_apis/{area}/repositories/{repositoryId}/{resource}" 1 "3.0" "7.2" "7.1" { "POST" => pull_requests::query }
    "4b6702c7-aa35-4b89-9c96-b9abf6d3e540" "git" "pullRequestReviewers" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/reviewers/{reviewerId}" 1 "1.0" "7.2" "7.1" { "GET" => pull_request_parts::reviewers, "PUT" => pull_request_parts::set_reviewer, "POST" => pull_request_parts::add_reviewers, "PATCH" => pull_request_parts::patch_reviewer, "DELETE" => pull_request_parts::remove_reviewer }
    "f22387e3-984e-4c52-9c6d-fbb8f14c812d" "git" "pullRequestLabels" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/labels/{labelIdOrName}" 1 "4.0" "7.2" "7.1" { "GET" => pull_request_parts::labels, "POST" => pull_request_parts::add_label, "DELETE" => pull_request_parts::remove_label }
    "0a637fcc-5370-4ce8-b0e8-98091f5f9482" "git" "pullRequestWorkItems" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/workitems" 1 "1.0" "7.2" "7.1" { "GET" => pull_request_parts::work_items }
    "d43911ee-6958-46b0-a42b-8445b8a0d004" "git" "pullRequestIterations" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/iterations/{iterationId}" 2 "3.0" "7.2" "7.1" { "GET" => pull_request_parts::iterations }
    "4216bdcf-b6b1-4d59-8b82-c34cc183fc8b" "git" "pullRequestIterationChanges" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/iterations/{iterationId}/changes" 1 "3.0" "7.2" "7.1" { "GET" => pull_request_parts::iteration_changes }
    "52823034-34a8-4576-922c-8d8b77e9e4c4" "git" "pullRequestCommits" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/commits" 1 "2.1" "7.2" "7.1" { "GET" => pull_request_parts::commits }
    "e7ea0883-095f-4926-b5fb-f24691c26fb9" "git" "pullRequestCommits" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/iterations/{iterationId}/commits" 1 "3.0" "7.2" "7.1" { "GET" => pull_request_parts::commits }
    "b5f6bb4f-8d1e-4d79-8d11-4c9172c99c35" "git" "pullRequestStatuses" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/statuses/{statusId}" 2 "3.0" "7.2" "7.1" { "GET" => pull_request_parts::statuses, "POST" => pull_request_parts::add_status, "DELETE" => pull_request_parts::remove_status }
    "75cf11c5-979f-4038-a76e-058a06adf2bf" "git" "pullRequestIterationStatuses" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/iterations/{iterationId}/statuses/{statusId}" 2 "3.0" "7.2" "7.1" { "GET" => pull_request_parts::statuses, "POST" => pull_request_parts::add_status }
    "48a52185-5b9e-4736-9dc1-bb1e2feac80b" "git" "pullRequestProperties" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/properties" 1 "4.1" "7.2" "7.1" { "GET" => pull_request_parts::properties, "PATCH" => pull_request_parts::patch_properties }
    "ab6e2e5d-a0b7-4153-b64a-a4efe0d49449" "git" "pullRequestThreads" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/threads/{threadId}" 1 "3.0" "7.2" "7.1" { "GET" => threads::get, "POST" => threads::create, "PATCH" => threads::update }
    "965a3ec7-5ed8-455a-bdcb-835a5ea7fe7b" "git" "pullRequestThreadComments" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/threads/{threadId}/comments/{commentId}" 1 "3.0" "7.2" "7.1" { "GET" => threads::comments, "POST" => threads::reply, "PATCH" => threads::edit, "DELETE" => threads::delete }
    "5f2e2851-1389-425b-a00b-fb2adb3ef31b" "git" "pullRequestCommentLikes" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/threads/{threadId}/comments/{commentId}/likes" 1 "4.0" "7.2" "7.1" { "GET" => threads::likes, "POST" => threads::like, "DELETE" => threads::unlike }
    "965d9361-878b-413b-a494-45d5b5fd8ab7" "git" "pullRequestAttachments" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/attachments/{fileName}" 1 "3.1" "7.2" "7.1" { "GET" => attachments::of_pull_request, "POST" => attachments::add_to_pull_request, "DELETE" => attachments::remove_from_pull_request }
    "d840fb74-bbef-42d3-b250-564604c054a4" "git" "pullRequestConflicts" "{project}/_apis/{area}/repositories/{repositoryId}/pullRequests/{pullRequestId}/conflicts/{conflictId}" 1 "3.0" "7.2" "7.1" { "GET" => attachments::conflicts }
    "2c420070-a0a2-49cc-9639-c9f271c5ff07" "git" "policyConfigurations" "{project}/_apis/{area}/policy/configurations" 1 "5.0" "7.2" "7.1" { "GET" => policies::of_branch }
    "dad91cbe-d183-45f8-9c6e-9c1164472121" "policy" "configurations" "{project}/_apis/{area}/{resource}/{configurationId}" 1 "2.0" "7.2" "7.1" { "GET" => policies::get, "POST" => policies::create, "PUT" => policies::replace, "DELETE" => policies::delete }
    "44096322-2d3d-466a-bb30-d1b7de69f61f" "policy" "types" "{project}/_apis/{area}/{resource}/{typeId}" 1 "2.0" "7.2" "7.1" { "GET" => policies::types }
    "46aecb7a-5d2c-4647-897b-0209505a9fe4" "policy" "evaluations" "{project}/_apis/{area}/{resource}/{evaluationId}" 1 "2.0" "7.2" "0.0" { "GET" => policies::evaluation, "PATCH" => policies::requeue }
    "c23ddff5-229c-4d04-a80b-0fdce9f360c8" "policy" "evaluations" "{project}/_apis/{area}/{resource}" 1 "2.0" "7.2" "0.0" { "GET" => policies::evaluations }
    "fc50d02a-849f-41fb-8af1-0a5216103269" "hooks" "subscriptions" "_apis/{area}/{resource}/{subscriptionId}" 1 "1.0" "7.2" "7.1" { "GET" => hooks::get, "POST" => hooks::create, "PUT" => hooks::replace, "DELETE" => hooks::delete }
    "c7c3c1cf-9e05-4c0d-a425-a0f922c2c6ed" "hooks" "subscriptionsQuery" "_apis/{area}/{resource}" 1 "1.0" "7.2" "7.1" { "POST" => hooks::query }
    "0c62d343-21b0-4732-997b-017fde84dc28" "hooks" "notifications" "_apis/{area}/subscriptions/{subscriptionId}/{resource}/{notificationId}" 1 "1.0" "7.2" "7.1" { "GET" => hooks::notifications }
    "1139462c-7e27-4524-a997-31b9b73551fe" "hooks" "testNotifications" "_apis/{area}/{resource}/{notificationId}" 1 "1.0" "7.2" "7.1" { "POST" => hooks::test }
    "db4777cd-8e08-4a84-8ba3-c974ea033718" "hooks" "eventTypes" "_apis/{area}/publishers/{publisherId}/{resource}/{eventTypeId}" 1 "1.0" "7.2" "7.1" { "GET" => hooks::event_types }
    "4301c514-5f34-4f5d-a145-f0ea7b5b7d19" "hooks" "consumers" "_apis/{area}/{resource}/{consumerId}" 1 "1.0" "7.2" "7.1" { "GET" => hooks::consumers }
    "c3428e90-7a69-4194-8ed8-0f153185ee0d" "hooks" "actions" "_apis/{area}/consumers/{consumerId}/{resource}/{consumerActionId}" 1 "1.0" "7.2" "7.1" { "GET" => hooks::actions }
    "1a57562f-160a-4b5c-9185-905e95b39d36" "hooks" "notificationsQuery" "_apis/{area}/{resource}" 1 "1.0" "7.2" "7.1" { "POST" => hooks::query_notifications }
    "1e83a210-5b53-43bc-90f0-d476a4e5d731" "hooks" "publishers" "_apis/{area}/{resource}/{publisherId}" 1 "1.0" "7.2" "7.1" { "GET" => hooks::publishers }
    "72c7ddf8-2cdc-4f60-90cd-ab71c14a399b" "wit" "workItems" "{project}/_apis/{area}/{resource}/{id}" 3 "1.0" "7.2" "7.1" { "GET" => work_items::get, "PATCH" => work_items::update, "DELETE" => work_items::delete }
    "62d3d110-0047-428c-ad3c-4fe872c91c74" "wit" "workItems" "{project}/_apis/{area}/{resource}/${type}" 3 "1.0" "7.2" "7.1" { "POST" => work_items::create, "PATCH" => work_items::create, "GET" => work_items::template }
    "908509b6-4248-4475-a1cd-829139ba419f" "wit" "workItemsBatch" "{project}/_apis/{area}/{resource}" 1 "5.0" "7.2" "7.1" { "POST" => work_items::batch_get }
    "8bc57545-27e5-420d-b709-f6e3ebcc1fc1" "wit" "workItemsDelete" "{project}/_apis/{area}/{resource}" 1 "7.1" "7.2" "7.1" { "POST" => work_items::delete_many }
    "92eefc1f-1e81-473d-88d6-749205248dc3" "wit" "batch" "_apis/{area}/${resource}" 2 "1.0" "7.2" "7.1" { "PATCH" => work_items::batch_write, "POST" => work_items::batch_write }
    "b70d8d39-926c-465e-b927-b1bf0e5ca0e0" "wit" "recyclebin" "{project}/_apis/{area}/{resource}/{id}" 2 "2.1" "7.2" "7.1" { "GET" => work_items::recycle_bin, "PATCH" => work_items::restore }
    "1a9c53f7-f243-4447-b110-35ef023636e4" "wit" "wiql" "{project}/{team}/_apis/{area}/{resource}" 2 "1.0" "7.2" "7.1" { "POST" => work_items::wiql }
    "a02355f5-5f8a-4671-8e32-369d23aac83d" "wit" "wiql" "{project}/{team}/_apis/{area}/{resource}/{id}" 2 "1.0" "7.2" "7.1" { "GET" => work_items::saved_wiql }
    "608aac0a-32e1-4493-a863-b9cf4566d257" "wit" "comments" "{project}/_apis/wit/workItems/{workItemId}/comments/{commentId}" 4 "5.1" "7.2" "0.0" { "GET" => work_item_parts::comments, "POST" => work_item_parts::add_comment, "PATCH" => work_item_parts::edit_comment, "DELETE" => work_item_parts::delete_comment }
    "f6cb3f27-1028-4851-af96-887e570dc21f" "wit" "commentsReactions" "{project}/_apis/wit/workItems/{workItemId}/comments/{commentId}/reactions/{reactionType}" 1 "5.1" "7.2" "0.0" { "GET" => reactions::list, "PUT" => reactions::add, "DELETE" => reactions::remove }
    "6570bf97-d02c-4a91-8d93-3abe9895b1a9" "wit" "updates" "{project}/_apis/{area}/workItems/{id}/updates/{updateNumber}" 4 "1.0" "7.2" "7.1" { "GET" => work_item_parts::updates }
    "a00c85a5-80fa-4565-99c3-bcd2181434bb" "wit" "revisions" "{project}/_apis/{area}/workItems/{id}/revisions/{revisionNumber}" 3 "1.0" "7.2" "7.1" { "GET" => work_item_parts::revisions }
    "7c8d7a76-4a09-43e8-b5df-bd792f4ac6aa" "wit" "workItemTypes" "{project}/_apis/{area}/{resource}/{type}" 2 "1.0" "7.2" "7.1" { "GET" => work_item_parts::types }
    "7c9d7a76-4a09-43e8-b5df-bd792f4ac6aa" "wit" "workItemTypeStates" "{project}/_apis/{area}/workitemtypes/{type}/states" 1 "1.0" "7.2" "7.1" { "GET" => work_item_parts::states }
    "bd293ce5-3d25-4192-8e67-e8092e879efb" "wit" "workItemTypesField" "{project}/_apis/{area}/workitemtypes/{type}/fields/{field}" 3 "1.0" "7.2" "7.1" { "GET" => work_item_parts::type_fields }
    "9b9f5734-36c8-415e-ba67-f83b45c31408" "wit" "workItemTypeCategories" "{project}/_apis/{area}/{resource}/{category}" 2 "1.0" "7.2" "7.1" { "GET" => work_item_parts::categories }
    "b51fd764-e5c2-4b9b-aaf7-3395cf4bdd94" "wit" "fields" "{project}/_apis/{area}/{resource}/{fieldNameOrRefName}" 3 "1.0" "7.2" "7.1" { "GET" => work_item_parts::fields }
    "f5d33bc9-5b49-4a3c-a9bd-f3cd46dd2165" "wit" "workItemRelationTypes" "_apis/{area}/{resource}/{relation}" 2 "1.0" "7.2" "7.1" { "GET" => work_item_parts::relation_types }
    "5a172953-1b41-49d3-840a-33f79c3ce89f" "wit" "classificationNodes" "{project}/_apis/{area}/{resource}/{structureGroup}/{*path}" 2 "1.0" "7.2" "7.1" { "GET" => nodes::get, "POST" => nodes::create, "PATCH" => nodes::update, "DELETE" => nodes::delete }
    "a70579d1-f53a-48ee-a5be-7be8659023b9" "wit" "classificationNodes" "{project}/_apis/{area}/{resource}" 2 "1.0" "7.2" "7.1" { "GET" => nodes::roots, "POST" => nodes::create, "PATCH" => nodes::update }
    "a67d190c-c41f-424b-814d-0e906f659301" "wit" "queries" "{project}/_apis/{area}/{resource}/{*query}" 2 "1.0" "7.2" "7.1" { "GET" => queries::get, "POST" => queries::create, "PATCH" => queries::update, "DELETE" => queries::delete }
    "e07b5fa4-1499-494d-a496-64b860fd64ff" "wit" "attachments" "{project}/_apis/{area}/{resource}/{id}" 4 "1.0" "7.2" "7.1" { "GET" => attachments::download, "POST" => attachments::upload }
    "a9a9aa7a-8c09-44d3-ad1b-46e855c1e3d3" "wit" "artifactUriQuery" "{project}/_apis/{area}/{resource}" 1 "3.2" "7.2" "7.1" { "POST" => work_items::of_artifacts }
    "bc15bc60-e7a8-43cb-ab01-2106be3983a1" "wit" "tags" "{project}/_apis/{area}/{resource}/{tagIdOrName}" 1 "5.2" "7.2" "7.1" { "GET" => work_item_parts::tags }
    "c3c1012b-bea7-49d7-b45e-1664e566f84c" "work" "teamsettings" "{project}/{team}/_apis/{area}/{resource}" 1 "2.0" "7.2" "7.1" { "GET" => teams::settings, "PATCH" => teams::change_settings }
    "c9175577-28a1-4b06-9197-8636af9f64ad" "work" "iterations" "{project}/{team}/_apis/{area}/teamsettings/{resource}/{id}" 1 "2.0" "7.2" "7.1" { "GET" => teams::iterations, "POST" => teams::add_iteration, "DELETE" => teams::remove_iteration }
    "07ced576-58ed-49e6-9c1e-5cb53ab8bf2a" "work" "teamfieldvalues" "{project}/{team}/_apis/{area}/teamsettings/{resource}" 1 "2.0" "7.2" "7.1" { "GET" => teams::field_values, "PATCH" => teams::change_field_values }
    "dbeaf647-6167-421a-bda9-c9327b25e2e6" "Build" "Definitions" "{project}/_apis/build/{resource}/{definitionId}" 7 "1.0" "7.2" "7.1" { "GET" => definitions::get, "POST" => definitions::create, "PUT" => definitions::replace, "DELETE" => definitions::delete }
    "a906531b-d2da-4f55-bda7-f3e676cc50d9" "build" "folders" "{project}/_apis/{area}/{resource}/{*path}" 2 "3.0" "7.2" "0.0" { "GET" => folders::get, "PUT" => folders::create, "POST" => folders::update, "DELETE" => folders::delete }
    "900fa995-c559-4923-aae7-f8424fe4fbea" "distributedtask" "queues" "{project}/_apis/{area}/{resource}/{queueId}" 1 "2.0" "7.2" "7.1" { "GET" => folders::queues }
    "0cd358e1-9217-4d94-8269-1c1ee6f93dcf" "Build" "Builds" "{project}/_apis/build/{resource}/{buildId}" 7 "1.0" "7.2" "7.1" { "GET" => builds::get, "POST" => builds::queue, "PATCH" => builds::update }
    "8baac422-4c6e-4de5-8532-db96d92acffa" "build" "Timeline" "{project}/_apis/{area}/builds/{buildId}/{resource}/{timelineId}" 3 "2.0" "7.2" "7.1" { "GET" => builds::timeline }
    "35a80daf-7f30-45fc-86e8-6b813d9c90df" "build" "logs" "{project}/_apis/{area}/builds/{buildId}/{resource}/{logId}" 2 "2.0" "7.2" "7.1" { "GET" => builds::logs }
    "54572c7b-bbd3-45d4-80dc-28be08941620" "build" "changes" "{project}/_apis/{area}/builds/{buildId}/{resource}" 2 "2.0" "7.2" "7.1" { "GET" => builds::changes }
    "5a21f5d2-5642-47e4-a0bd-1356e6731bee" "build" "workitems" "{project}/_apis/{area}/builds/{buildId}/{resource}" 2 "2.0" "7.2" "7.1" { "GET" => builds::work_items }
    "1db06c96-014e-44e1-ac91-90b2d4b3e984" "build" "artifacts" "{project}/_apis/{area}/builds/{buildId}/{resource}/{artifactName}" 5 "2.0" "7.2" "7.1" { "GET" => builds::nothing }
    "6e6114b2-8161-44c8-8f6c-c5505782427f" "build" "tags" "{project}/_apis/{area}/builds/{buildId}/{resource}/{*tag}" 3 "2.0" "7.2" "7.1" { "GET" => definitions::build_tags, "PUT" => definitions::add_build_tag, "POST" => definitions::add_build_tags, "DELETE" => definitions::remove_build_tag }
    "d84ac5c6-edc7-43d5-adc9-1b34be5dea09" "build" "tags" "{project}/_apis/{area}/{resource}/{*tag}" 3 "2.0" "7.2" "7.1" { "GET" => definitions::all_tags }
    "cadb3810-d47d-4a3c-a234-fe5f3be50138" "Test" "Runs" "{project}/_apis/test/{resource}/{runId}" 3 "1.0" "7.2" "7.1" { "GET" => builds::test_runs }
    "4637d869-3a76-4468-8057-0bb02aa385cf" "Test" "Results" "{project}/_apis/test/Runs/{runId}/{resource}/{testCaseResultId}" 6 "1.0" "7.2" "7.1" { "GET" => builds::test_results }
    "28e1305e-2afe-47bf-abaf-cbb0e6a91988" "Pipelines" "pipelines" "{project}/_apis/{area}/{pipelineId}" 1 "5.1" "7.2" "7.1" { "GET" => builds::pipelines }
    "4e5fa14f-7097-4b73-9c85-00abc7353c61" "audit" "auditlog" "_apis/{area}/{resource}" 1 "5.0" "7.2" "0.0" { "GET" => audit::query }
    "7859261e-d2e9-4a68-b820-a5d84cc5bb3d" "Pipelines" "runs" "{project}/_apis/{area}/{pipelineId}/{resource}/{runId}" 2 "5.1" "7.2" "7.1" { "GET" => builds::runs, "POST" => builds::run }
    "e7f29993-5b82-4fca-9386-f5cfe683d524" "search" "codeSearchResults" "{project}/_apis/{area}/{resource}" 1 "4.1" "7.2" "7.1" { "POST" => search::code }
};

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    fn route(method: &str, path: &str) -> Option<(&'static str, Vec<(&'static str, String)>)> {
        find(&Method::from_bytes(method.as_bytes()).unwrap(), &segments(path))
            .map(|f| (f.location.resource, f.parameters))
    }

    #[test]
    fn case_does_not_matter_and_the_project_may_be_missing() {
        let (resource, parameters) =
            route("GET", "Fabrikam/_apis/GIT/Repositories/web-shop/pullrequests/7").unwrap();
        assert_eq!(resource, "pullRequests");
        assert!(
            parameters.contains(&("pullRequestId", "7".into()))
                && parameters.contains(&("project", "Fabrikam".into()))
        );
        assert_eq!(route("GET", "_apis/git/pullrequests/7").unwrap().0, "pullRequests");
        assert_eq!(
            route("POST", "Fabrikam/_apis/wit/workitems/$User Story").unwrap().1[1],
            ("type", "User Story".into())
        );
        assert_eq!(route("POST", "Fabrikam/Fabrikam Team/_apis/wit/wiql").unwrap().0, "wiql");
        assert_eq!(route("POST", "_apis/wit/wiql").unwrap().0, "wiql");
        assert_eq!(route("POST", "Fabrikam/_apis/wit/wiql").unwrap().1, [("project", "Fabrikam".into())]);
        assert_eq!(route("PATCH", "_apis/wit/$batch").unwrap().0, "batch");
        assert_eq!(
            route("GET", "p/_apis/git/repositories/r/stats/branches/feature/x").unwrap().1[2],
            ("name", "feature/x".into())
        );
        assert_eq!(route("GET", "_apis/projects").unwrap().0, "projects");
        assert_eq!(route("GET", "_apis/projects/p/teams").unwrap().0, "teams");
        assert_eq!(route("GET", "_apis/projects/p/teams/t/members").unwrap().0, "members");
    }

    #[test]
    fn unknown_paths_and_methods_are_told_apart() {
        assert!(route("GET", "_apis/nothing").is_none());
        assert_eq!(unknown(&Method::GET, &segments("_apis/nothing"), "/x").status, 404);
        assert_eq!(unknown(&Method::PUT, &segments("_apis/projects"), "/x").status, 405);
    }
}
