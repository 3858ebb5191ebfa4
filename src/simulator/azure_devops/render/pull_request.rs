//! Pull requests, threads, comments, iterations, statuses.

use serde_json::{Map, Value, json};

use super::{View, put, stamp};
use crate::simulator::azure_devops::state::{
    Comment, Completion, Iteration, MergeStatus, MergeStrategy, PullRequest, PullRequestStatus, Repository,
    Reviewer, Status, Thread,
};

impl View<'_> {
    /// Address of a pull request.
    pub fn pull_request_url(&self, found: &PullRequest) -> String {
        match self.world.repositories.get(&found.repository) {
            Some(repository) => format!("{}/pullRequests/{}", self.repository_url(repository), found.id),
            None => String::new(),
        }
    }

    /// The repository inside a pull request: without its default branch.
    fn repository_of_pull_request(&self, repository: &Repository) -> Value {
        let mut value = self.repository(repository);
        if let Some(map) = value.as_object_mut() {
            map.shift_remove("defaultBranch");
        }
        value
    }

    fn commit_ref(&self, repository: &Repository, sha: &str) -> Value {
        json!({"commitId": sha, "url": self.commit_url(repository, sha)})
    }

    fn merge_commit(&self, repository: &Repository, sha: &str, full: bool) -> Value {
        let mut value = self.commit_ref(repository, sha);
        if !full {
            return value;
        }
        if let Ok(commit) = self.world.store(repository.id).and_then(|s| s.commit(sha)) {
            value = json!({
                "commitId": sha,
                "author": self.user_date(&commit.author),
                "committer": self.user_date(&commit.committer),
                "comment": commit.message.trim_end(),
                "url": self.commit_url(repository, sha),
            });
        }
        value
    }

    /// GitPullRequest as one GET or PATCH gives it.
    pub fn pull_request(&self, found: &PullRequest) -> Value {
        let Some(repository) = self.world.repositories.get(&found.repository) else { return Value::Null };
        let mut map =
            self.pull_request_core(found, repository, self.repository_of_pull_request(repository), true);
        let url = self.pull_request_url(found);
        let base = self.repository_url(repository);
        let href = |path: String| json!({"href": path});
        map.insert(
            "_links".into(),
            json!({
                "self": href(url.clone()),
                "repository": href(base.clone()),
                "workItems": href(format!("{url}/workitems")),
                "sourceBranch": href(format!("{base}/{}", found.source_ref)),
                "targetBranch": href(format!("{base}/{}", found.target_ref)),
                "statuses": href(format!("{url}/statuses")),
                "sourceCommit": href(format!("{base}/commits/{}", found.source_commit)),
                "targetCommit": href(format!("{base}/commits/{}", found.target_commit)),
                "createdBy": href(self.identity_url(found.created_by)),
                "iterations": href(format!("{url}/iterations")),
            }),
        );
        self.pull_request_tail(found, repository, &mut map);
        Value::Object(map)
    }

    /// GitPullRequest as lists give it: no links, a short repository.
    pub fn pull_request_in_list(&self, found: &PullRequest) -> Value {
        let Some(repository) = self.world.repositories.get(&found.repository) else { return Value::Null };
        let project = self.world.projects.get(&repository.project);
        let short = json!({
            "id": repository.id,
            "name": repository.name,
            "url": self.repository_url(repository),
            "project": {
                "id": repository.project,
                "name": project.map(|p| p.name.clone()),
                "state": "unchanged",
                "visibility": "unchanged",
                "lastUpdateTime": "0001-01-01T00:00:00",
            },
        });
        let mut map = self.pull_request_core(found, repository, short, false);
        map.insert("supportsIterations".into(), json!(true));
        Value::Object(map)
    }

    /// The resource of the pull request events.
    pub fn pull_request_event(&self, found: &PullRequest) -> Value {
        let Some(repository) = self.world.repositories.get(&found.repository) else { return Value::Null };
        let mut map =
            self.pull_request_core(found, repository, self.repository_of_pull_request(repository), true);
        let web = format!("{}/pullrequest/{}", self.repository_web_url(repository), found.id);
        let statuses = format!("{}/statuses", self.pull_request_url(found));
        map.insert("_links".into(), json!({"web": {"href": web}, "statuses": {"href": statuses}}));
        self.pull_request_tail(found, repository, &mut map);
        Value::Object(map)
    }

    fn pull_request_core(
        &self,
        found: &PullRequest,
        home: &Repository,
        shown: Value,
        full: bool,
    ) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("repository".into(), shown);
        map.insert("pullRequestId".into(), json!(found.id));
        map.insert("codeReviewId".into(), json!(found.id));
        map.insert("status".into(), json!(found.status));
        map.insert("createdBy".into(), self.identity(found.created_by));
        map.insert("creationDate".into(), json!(stamp(found.created)));
        put(&mut map, "closedDate", found.closed.map(stamp));
        map.insert("title".into(), json!(found.title));
        if !found.description.is_empty() {
            map.insert("description".into(), json!(found.description));
        }
        map.insert("sourceRefName".into(), json!(found.source_ref));
        map.insert("targetRefName".into(), json!(found.target_ref));
        if found.status != PullRequestStatus::Abandoned && found.merge_status != MergeStatus::NotSet {
            map.insert("mergeStatus".into(), json!(found.merge_status));
        }
        put(&mut map, "mergeFailureMessage", found.merge_message.clone());
        map.insert("isDraft".into(), json!(found.is_draft));
        map.insert("mergeId".into(), json!(found.merge_id));
        map.insert("lastMergeSourceCommit".into(), self.commit_ref(home, &found.source_commit));
        map.insert("lastMergeTargetCommit".into(), self.commit_ref(home, &found.target_commit));
        put(
            &mut map,
            "lastMergeCommit",
            found.merge_commit.as_ref().map(|sha| self.merge_commit(home, sha, full)),
        );
        let reviewers = found.reviewers.iter().map(|r| self.reviewer(found, r)).collect::<Vec<_>>();
        map.insert("reviewers".into(), json!(reviewers));
        if !found.labels.is_empty() {
            map.insert("labels".into(), found.labels.iter().map(|l| self.label(found, l)).collect());
        }
        map.insert("url".into(), json!(self.pull_request_url(found)));
        if let Some(fork) = self.world.repositories.get(&found.source_repository).filter(|r| r.id != home.id)
        {
            let mut source = json!({"name": found.source_ref, "repository": self.fork_ref(fork)});
            // A branch that is gone has no tip.
            if let Some(tip) = fork.refs.get(&found.source_ref) {
                source["objectId"] = json!(tip.sha);
            }
            map.insert("forkSource".into(), source);
        }
        map
    }

    fn pull_request_tail(&self, found: &PullRequest, home: &Repository, map: &mut Map<String, Value>) {
        put(map, "completionOptions", found.completion.as_ref().map(completion));
        map.insert("supportsIterations".into(), json!(true));
        put(map, "completionQueueTime", found.completion_queued.map(stamp));
        // Whoever asked for completion is named while it is still running; an abandoned one names nobody.
        let closer =
            found.completion_by.or(found.closed_by).filter(|_| found.status != PullRequestStatus::Abandoned);
        put(map, "closedBy", closer.map(|id| self.identity(id)));
        put(map, "autoCompleteSetBy", found.auto_complete_by.map(|id| self.identity(id)));
        map.insert("artifactId".into(), json!(found.artifact_id(home.project)));
    }

    /// WebApiTagDefinition.
    pub fn label(&self, found: &PullRequest, label: &crate::simulator::azure_devops::state::Label) -> Value {
        let url = format!("{}/labels/{}", self.pull_request_url(found), label.id);
        json!({"id": label.id, "name": label.name, "active": true, "url": url})
    }

    /// IdentityRefWithVote.
    pub fn reviewer(&self, found: &PullRequest, reviewer: &Reviewer) -> Value {
        let mut map = Map::new();
        let url = format!("{}/reviewers/{}", self.pull_request_url(found), reviewer.id);
        map.insert("reviewerUrl".into(), json!(url));
        map.insert("vote".into(), json!(reviewer.vote));
        map.insert("hasDeclined".into(), json!(reviewer.declined));
        if reviewer.required {
            map.insert("isRequired".into(), json!(true));
        }
        map.insert("isFlagged".into(), json!(reviewer.flagged));
        if let Value::Object(mut identity) = self.identity(reviewer.id) {
            identity.shift_remove("descriptor");
            map.extend(identity);
        }
        Value::Object(map)
    }

    /// GitPullRequestIteration.
    pub fn iteration(&self, found: &PullRequest, iteration: &Iteration) -> Value {
        let commit = |sha: &str| json!({"commitId": sha});
        let url = format!("{}/iterations/{}", self.pull_request_url(found), iteration.id);
        let description = match iteration.id {
            1 => found.title.clone(),
            _ => self
                .world
                .store(found.repository)
                .and_then(|s| s.commit(&iteration.source))
                .map(|c| c.message.lines().next().unwrap_or_default().to_owned())
                .unwrap_or_default(),
        };
        json!({
            "id": iteration.id,
            "description": description,
            "author": self.identity(iteration.author),
            "createdDate": stamp(iteration.created),
            "updatedDate": stamp(iteration.created),
            "sourceRefCommit": commit(&iteration.source),
            "targetRefCommit": commit(&iteration.target),
            "commonRefCommit": commit(&iteration.common),
            "hasMoreCommits": false,
            "reason": iteration.reason,
            "_links": {
                "self": {"href": url},
                "changes": {"href": format!("{url}/changes")},
            },
        })
    }

    /// GitPullRequestCommentThread.
    pub fn thread(&self, found: &PullRequest, thread: &Thread) -> Value {
        let url = format!("{}/threads/{}", self.pull_request_url(found), thread.id);
        let mut map = Map::new();
        map.insert("pullRequestThreadContext".into(), thread.review_context.clone().unwrap_or(Value::Null));
        map.insert("id".into(), json!(thread.id));
        map.insert("publishedDate".into(), json!(stamp(thread.published)));
        map.insert("lastUpdatedDate".into(), json!(stamp(thread.updated)));
        map.insert(
            "comments".into(),
            thread.comments.iter().map(|c| self.comment(found, thread, c)).collect(),
        );
        put(&mut map, "status", thread.status.map(|s| s.name()));
        map.insert("threadContext".into(), json!(thread.context));
        map.insert("properties".into(), json!(thread.properties));
        map.insert("identities".into(), Value::Null);
        map.insert("isDeleted".into(), json!(thread.deleted));
        let repository = self.world.repositories.get(&found.repository).map(|r| self.repository_url(r));
        map.insert("_links".into(), json!({"self": {"href": url}, "repository": {"href": repository}}));
        Value::Object(map)
    }

    /// Comment.
    pub fn comment(&self, found: &PullRequest, thread: &Thread, comment: &Comment) -> Value {
        let mut map = Map::new();
        map.insert("id".into(), json!(comment.id));
        map.insert("parentCommentId".into(), json!(comment.parent));
        map.insert("author".into(), self.identity(comment.author));
        if !comment.deleted {
            map.insert("content".into(), json!(comment.content));
        }
        map.insert("publishedDate".into(), json!(stamp(comment.published)));
        map.insert("lastUpdatedDate".into(), json!(stamp(comment.updated)));
        map.insert("lastContentUpdatedDate".into(), json!(stamp(comment.content_updated)));
        if comment.deleted {
            map.insert("isDeleted".into(), json!(true));
        }
        map.insert("commentType".into(), json!(comment.kind));
        map.insert("usersLiked".into(), comment.liked.iter().map(|id| self.identity(*id)).collect());
        let url = self.bare_repository_url(found.repository);
        let thread_url = format!("{url}/pullRequests/{}/threads/{}", found.id, thread.id);
        let repository = self.world.repositories.get(&found.repository).map(|r| self.repository_url(r));
        map.insert(
            "_links".into(),
            json!({
                "self": {"href": format!("{thread_url}/comments/{}", comment.id)},
                "repository": {"href": repository},
                "threads": {"href": thread_url},
                "pullRequests": {"href": format!("{}/_apis/git/pullRequests/{}", self.base, found.id)},
            }),
        );
        Value::Object(map)
    }

    /// The comment of the comment event.
    pub fn comment_event(&self, found: &PullRequest, thread: &Thread, comment: &Comment) -> Value {
        self.comment(found, thread, comment)
    }

    /// GitStatus of a pull request (`owner` is its address) or commit.
    pub fn status(&self, owner: &str, repository: Option<&Repository>, status: &Status) -> Value {
        let mut map = Map::new();
        put(&mut map, "iterationId", status.iteration);
        map.insert("id".into(), json!(status.id));
        map.insert("state".into(), json!(status.state));
        map.insert("description".into(), json!(status.description));
        let mut context = json!({"name": status.name});
        if let Some(genre) = &status.genre {
            context["genre"] = json!(genre);
        }
        map.insert("context".into(), context);
        map.insert("creationDate".into(), json!(stamp(status.created)));
        map.insert("updatedDate".into(), json!(stamp(status.created)));
        map.insert("createdBy".into(), self.identity(status.created_by));
        put(&mut map, "targetUrl", status.target_url.clone());
        let repository = repository.map(|r| self.repository_url(r));
        map.insert("_links".into(), json!({
            "self": {"href": format!("{owner}/statuses/{}", status.id)}, "repository": {"href": repository},
        }));
        Value::Object(map)
    }
}

fn completion(options: &Completion) -> Value {
    let mut map = Map::new();
    put(&mut map, "mergeCommitMessage", options.message.clone());
    put(&mut map, "deleteSourceBranch", options.delete_source.then_some(true));
    put(&mut map, "squashMerge", (options.strategy == MergeStrategy::Squash).then_some(true));
    map.insert("mergeStrategy".into(), json!(options.strategy));
    put(&mut map, "transitionWorkItems", options.transition_work_items.then_some(true));
    put(&mut map, "bypassPolicy", options.bypass.then_some(true));
    put(&mut map, "bypassReason", options.bypass_reason.clone());
    if options.by_auto_complete {
        map.insert("triggeredByAutoComplete".into(), json!(true));
        map.insert("autoCompleteIgnoreConfigIds".into(), json!([]));
    }
    Value::Object(map)
}
