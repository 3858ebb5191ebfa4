//! Projects, repositories, references, items, commits, pushes.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{View, descriptor, stamp};
use crate::simulator::azure_devops::git::diff::Change;
use crate::simulator::azure_devops::git::store::{Commit, Entry, Signature};
use crate::simulator::azure_devops::state::teams::Team;
use crate::simulator::azure_devops::state::{Project, Push, Reference, Repository};

/// What is escaped in a path of an address.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// What is escaped in a query value.
const VALUE: &AsciiSet = &PATH.add(b'/').add(b'&').add(b'+').add(b'=').add(b':').add(b'@');

impl View<'_> {
    /// TeamProjectReference.
    pub fn project(&self, project: &Project) -> Value {
        json!({
            "id": project.id,
            "name": project.name,
            "description": project.description,
            "url": format!("{}/_apis/projects/{}", self.base, project.id),
            "state": "wellFormed",
            "revision": project.revision,
            "visibility": "private",
            "lastUpdateTime": stamp(project.updated),
        })
    }

    /// The project inside other objects.
    pub fn project_ref(&self, id: Uuid) -> Value {
        let Some(project) = self.world.projects.get(&id) else { return Value::Null };
        let mut value = self.project(project);
        if let Some(map) = value.as_object_mut() {
            map.shift_remove("description");
        }
        value
    }

    /// TeamProject with links, team and, when asked for, capabilities.
    pub fn full_project(&self, project: &Project, capabilities: bool) -> Value {
        let mut value = self.project(project);
        let url = format!("{}/_apis/projects/{}", self.base, project.id);
        value["_links"] = json!({
            "self": {"href": url},
            "collection": {"href": format!("{}/_apis/projectCollections/{}", self.base, self.world.instance_id)},
            "web": {"href": format!("{}/{}", self.base, project.name)},
        });
        if capabilities {
            value["capabilities"] = json!({
                "processTemplate": {
                    "templateName": project.process.name(), "templateTypeId": project.process.template_id(),
                },
                "versioncontrol": {"sourceControlType": "Git", "gitEnabled": "True", "tfvcEnabled": "False"},
            });
        }
        value["defaultTeam"] = json!({
            "id": project.team.0,
            "name": project.team.1,
            "url": format!("{url}/teams/{}", project.team.0),
        });
        value
    }

    /// WebApiTeam.
    pub fn team(&self, project: &Project, team: &Team, with_identity: bool) -> Value {
        let mut value = json!({
            "id": team.id,
            "name": team.name,
            "url": format!("{}/_apis/projects/{}/teams/{}", self.base, project.id, team.id),
            "description": team.description,
            "identityUrl": self.identity_url(team.id),
            "projectName": project.name,
            "projectId": project.id,
        });
        if with_identity {
            value["identity"] = self.team_identity(project, team);
        }
        value
    }

    /// Identity of a team.
    fn team_identity(&self, project: &Project, team: &Team) -> Value {
        let text = |value: &str| json!({"$type": "System.String", "$value": value});
        let sid = format!("S-1-9-1551374245-{}", team.id.as_u128() >> 96);
        json!({
            "id": team.id,
            "descriptor": format!("Microsoft.TeamFoundation.Identity;{sid}"),
            "subjectDescriptor": descriptor(team.id).replacen("aad.", "vssgp.", 1),
            "providerDisplayName": format!("[{}]\\{}", project.name, team.name),
            "isActive": true,
            "isContainer": true,
            "members": [],
            "memberOf": [],
            "masterId": team.id,
            "properties": {
                "Microsoft.TeamFoundation.Team": {"$type": "System.Boolean", "$value": true},
                "SchemaClassName": text("Group"),
                "Description": text(&team.description),
                "Domain": text(&format!("vstfs:///Classification/TeamProject/{}", project.id)),
                "Account": text(&team.name),
                "SecurityGroup": text("SecurityGroup"),
                "SpecialType": text("Generic"),
                "ScopeId": text(&project.id.to_string()),
                "ScopeType": text("TeamProject"),
                "LocalScopeId": text(&project.id.to_string()),
                "SecuringHostId": text(&self.world.instance_id.to_string()),
                "ScopeName": text(&project.name),
                "VirtualPlugin": text(""),
            },
            "resourceVersion": 2,
            "metaTypeId": 255,
        })
    }

    /// Address of a repository in the REST API, without the project.
    pub fn bare_repository_url(&self, repository: Uuid) -> String {
        format!("{}/_apis/git/repositories/{repository}", self.base)
    }

    /// Address of a repository in the REST API.
    pub fn repository_url(&self, repository: &Repository) -> String {
        format!("{}/{}/_apis/git/repositories/{}", self.base, repository.project, repository.id)
    }

    fn web_path(&self, repository: &Repository) -> String {
        let project = self.world.projects.get(&repository.project).map_or("", |p| p.name.as_str());
        let escape = |text: &str| utf8_percent_encode(text, PATH).to_string();
        format!("/{}/_git/{}", escape(project), escape(&repository.name))
    }

    /// Address of a repository for people.
    pub fn repository_web_url(&self, repository: &Repository) -> String {
        format!("{}{}", self.base, self.web_path(repository))
    }

    /// GitRepository.
    pub fn repository(&self, repository: &Repository) -> Value {
        let mut map = Map::new();
        map.insert("id".into(), json!(repository.id));
        map.insert("name".into(), json!(repository.name));
        map.insert("url".into(), json!(self.repository_url(repository)));
        map.insert("project".into(), self.project_ref(repository.project));
        if let Some(branch) = &repository.default_branch {
            map.insert("defaultBranch".into(), json!(branch));
        }
        map.insert("size".into(), json!(repository.size));
        map.insert("remoteUrl".into(), json!(self.with_user(&self.web_path(repository))));
        let ssh = self.web_path(repository).replace("/_git/", "/");
        map.insert(
            "sshUrl".into(),
            json!(format!("git@ssh.dev.azure.com:v3/{}{ssh}", self.world.organization)),
        );
        map.insert("webUrl".into(), json!(self.repository_web_url(repository)));
        map.insert("isDisabled".into(), json!(false));
        map.insert("isInMaintenance".into(), json!(false));
        if let Some(parent) = repository.parent.and_then(|p| self.world.repositories.get(&p)) {
            map.insert("isFork".into(), json!(true));
            map.insert("parentRepository".into(), self.fork_ref(parent));
        }
        Value::Object(map)
    }

    /// GitRepository with `_links`, as the answer to a question about one repository has them.
    pub fn whole_repository(&self, repository: &Repository) -> Value {
        let mut value = self.repository(repository);
        let own = self.repository_url(repository);
        let below = |name: &str| json!({"href": format!("{own}/{name}")});
        value["_links"] = json!({
            "self": {"href": own},
            "project": {"href": format!("vstfs:///Classification/TeamProject/{}", repository.project)},
            "web": {"href": value["webUrl"]},
            "ssh": {"href": value["sshUrl"]},
            "commits": below("commits"),
            "refs": below("refs"),
            "pullRequests": below("pullRequests"),
            "items": below("items"),
            "pushes": below("pushes"),
        });
        value
    }

    /// GitRepositoryRef of a fork or its origin.
    pub fn fork_ref(&self, repository: &Repository) -> Value {
        json!({
            "id": repository.id,
            "name": repository.name,
            "isFork": repository.parent.is_some(),
            "url": self.repository_url(repository),
            "project": self.project_ref(repository.project),
            "remoteUrl": self.with_user(&self.web_path(repository)),
        })
    }

    /// GitRef.
    pub fn reference(&self, repository: &Repository, name: &str, reference: &Reference) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), json!(name));
        map.insert("objectId".into(), json!(reference.sha));
        if let Some(owner) = reference.locked_by {
            map.insert("isLockedBy".into(), self.identity(owner));
            map.insert("isLocked".into(), json!(true));
        }
        map.insert("creator".into(), self.identity(reference.creator));
        let filter = utf8_percent_encode(name.strip_prefix("refs/").unwrap_or(name), VALUE);
        map.insert("url".into(), json!(format!("{}/refs?filter={filter}", self.repository_url(repository))));
        Value::Object(map)
    }

    /// GitUserDate.
    pub fn user_date(&self, signature: &Signature) -> Value {
        json!({"name": signature.name, "email": signature.email, "date": stamp(signature.date)})
    }

    /// GitCommitRef: id, people, message, addresses.
    pub fn commit(&self, repository: &Repository, commit: &Commit) -> Value {
        let comment = commit.message.trim_end();
        let first = comment.lines().next().unwrap_or_default();
        let mut value = json!({
            "commitId": commit.sha,
            "author": self.user_date(&commit.author),
            "committer": self.user_date(&commit.committer),
            "comment": first,
        });
        if first.len() < comment.len() {
            value["commentTruncated"] = json!(true);
        }
        value["url"] = json!(self.commit_url(repository, &commit.sha));
        value["remoteUrl"] = json!(format!("{}/commit/{}", self.repository_web_url(repository), commit.sha));
        value
    }

    /// Address of a commit.
    pub fn commit_url(&self, repository: &Repository, sha: &str) -> String {
        format!("{}/commits/{sha}", self.repository_url(repository))
    }

    /// GitCommit: with tree, parents, push and whole message.
    pub fn full_commit(&self, repository: &Repository, commit: &Commit) -> Value {
        let url = self.commit_url(repository, &commit.sha);
        let mut map = Map::new();
        map.insert("treeId".into(), json!(commit.tree));
        let push = self
            .world
            .pushes
            .iter()
            .rev()
            .find(|p| p.repository == repository.id && p.commits.contains(&commit.sha));
        if let Some(push) = push {
            let by = self.identity(push.by);
            map.insert("push".into(), json!({"pushedBy": by, "pushId": push.id, "date": stamp(push.date)}));
        }
        map.insert("commitId".into(), json!(commit.sha));
        map.insert("author".into(), self.user_date(&commit.author));
        map.insert("committer".into(), self.user_date(&commit.committer));
        map.insert("comment".into(), json!(commit.message.trim_end()));
        map.insert("parents".into(), json!(commit.parents));
        map.insert("url".into(), json!(url));
        let web = format!("{}/commit/{}", self.repository_web_url(repository), commit.sha);
        map.insert("remoteUrl".into(), json!(web));
        map.insert(
            "_links".into(),
            json!({
                "self": {"href": url},
                "repository": {"href": self.repository_url(repository)},
                "web": {"href": web},
                "changes": {"href": format!("{url}/changes")},
            }),
        );
        Value::Object(map)
    }

    /// GitItem, without content; `version` ends its address.
    pub fn item(&self, repository: &Repository, entry: &Entry, commit: &str, version: &str) -> Value {
        let mut map = Map::new();
        map.insert("objectId".into(), json!(entry.sha));
        map.insert("gitObjectType".into(), json!(if entry.folder { "tree" } else { "blob" }));
        map.insert("commitId".into(), json!(commit));
        map.insert("path".into(), json!(entry.path));
        if entry.folder {
            map.insert("isFolder".into(), json!(true));
        }
        map.insert("url".into(), json!(self.item_url(repository, &entry.path, version)));
        Value::Object(map)
    }

    /// Address of an item; `version` is its query.
    pub fn item_url(&self, repository: &Repository, path: &str, version: &str) -> String {
        format!("{}/items{}?{version}", self.repository_url(repository), item_path(path))
    }

    /// GitChange of a diff or commit.
    pub fn change(&self, repository: &Repository, change: &Change, commit: &str) -> Value {
        let mut item = Map::new();
        super::put(&mut item, "objectId", change.sha.clone());
        super::put(&mut item, "originalObjectId", change.original_sha.clone());
        item.insert("gitObjectType".into(), json!(if change.folder { "tree" } else { "blob" }));
        item.insert("commitId".into(), json!(commit));
        item.insert("path".into(), json!(change.path));
        if change.folder {
            item.insert("isFolder".into(), json!(true));
        }
        let version = format!("versionType=Commit&version={commit}");
        item.insert("url".into(), json!(self.item_url(repository, &change.path, &version)));
        let mut value = json!({"item": item, "changeType": change.kind.name()});
        if let Some(original) = &change.original_path {
            value["sourceServerItem"] = json!(original);
        }
        value
    }

    /// GitPush.
    pub fn push(&self, push: &Push, details: bool) -> Value {
        let Some(repository) = self.world.repositories.get(&push.repository) else { return Value::Null };
        let bare = self.bare_repository_url(repository.id);
        let mut value = json!({"commits": [], "refUpdates": []});
        if details {
            value["commits"] = self.push_commits(repository, push, true);
        }
        value["refUpdates"] = push
            .updates
            .iter()
            .map(|u| {
                json!({"repositoryId": repository.id, "name": u.name, "oldObjectId": u.old, "newObjectId": u.new})
            })
            .collect();
        value["repository"] = self.repository(repository);
        value["pushedBy"] = self.identity(push.by);
        value["pushId"] = json!(push.id);
        value["date"] = json!(stamp(push.date));
        value["url"] = json!(format!("{}/pushes/{}", self.repository_url(repository), push.id));
        let branch = push.updates.first().map_or("", |u| u.name.as_str());
        value["_links"] = json!({
            "self": {"href": format!("{bare}/pushes/{}", push.id)},
            "repository": {"href": self.repository_url(repository)},
            "commits": {"href": format!("{bare}/pushes/{}/commits", push.id)},
            "pusher": {"href": self.identity_url(push.by)},
            "refs": {"href": format!("{}/{branch}", self.repository_url(repository))},
        });
        value
    }

    fn push_commits(&self, repository: &Repository, push: &Push, full: bool) -> Value {
        let Ok(store) = self.world.store(repository.id) else { return json!([]) };
        let commits = push.commits.iter().filter_map(|sha| store.commit(sha).ok());
        commits
            .map(|c| {
                let mut value = self.commit(repository, &c);
                if full {
                    value["treeId"] = json!(c.tree);
                    value["parents"] = json!(c.parents);
                    value["comment"] = json!(c.message.trim_end());
                }
                value
            })
            .collect()
    }

    /// The resource of `git.push`.
    pub fn push_event(&self, push: &Push) -> Value {
        let Some(repository) = self.world.repositories.get(&push.repository) else { return Value::Null };
        let mut value = self.push(push, false);
        value["commits"] = self.push_commits(repository, push, false);
        for update in value["refUpdates"].as_array_mut().into_iter().flatten() {
            if let Some(map) = update.as_object_mut() {
                map.shift_remove("repositoryId");
            }
        }
        value
    }
}

/// The path of an item inside its address; the root has two slashes.
pub fn item_path(path: &str) -> Cow<'_, str> {
    if path == "/" { Cow::Borrowed("//") } else { utf8_percent_encode(path, PATH).into() }
}

/// FileContentMetadata.
pub fn content_metadata(entry: &Entry, content: Option<&[u8]>) -> Value {
    let name = entry.path.rsplit('/').next().unwrap_or_default();
    if entry.folder {
        return json!({"fileName": name});
    }
    let extension = name.rsplit_once('.').map_or("", |(_, e)| e);
    let binary = content.is_some_and(is_binary);
    let kind = if binary { "application/octet-stream" } else { "text/plain" };
    let encoding = if binary { -1 } else { 65001 };
    json!({"encoding": encoding, "contentType": kind, "fileName": name, "extension": extension, "isBinary": binary})
}

/// Whether bytes look like a binary file: a NUL near the start.
pub fn is_binary(content: &[u8]) -> bool {
    content.iter().take(8_000).any(|b| *b == 0)
}
