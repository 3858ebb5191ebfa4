"""Drives a simulated organisation with the official Python client, as a program of a user would.

Usage: conformance.py ORGANIZATION_URL. Prints one line for each part; ends with status 1 at the first
part that fails. Wants a fresh simulated organisation and the PyPI package azure-devops.
"""

import io
import os
import sys
import tempfile
import time
import traceback
import zipfile

# The client keeps route tables on disk by address: a port that was used before must not answer.
CACHE = tempfile.mkdtemp(prefix="azure-devops-cache-")
os.environ["HOME"] = os.environ["AZURE_DEVOPS_CACHE_DIR"] = CACHE

from azure.devops.connection import Connection  # noqa: E402
from azure.devops.exceptions import AzureDevOpsAuthenticationError, AzureDevOpsServiceError  # noqa: E402
from azure.devops.v7_1.build import models as build_models  # noqa: E402
from azure.devops.v7_1.core import models as core_models  # noqa: E402
from azure.devops.v7_1.git import models as git_models  # noqa: E402
from azure.devops.v7_1.policy import models as policy_models  # noqa: E402
from azure.devops.v7_1.graph import models as graph_models  # noqa: E402
from azure.devops.v7_1.service_hooks import models as hook_models  # noqa: E402
from azure.devops.v7_1.work import models as work_models  # noqa: E402
from azure.devops.v7_1.work.models import TeamContext as WorkTeam  # noqa: E402
from azure.devops.v7_1.work_item_tracking import models as wit_models  # noqa: E402
from msrest.authentication import BasicAuthentication, BasicTokenAuthentication  # noqa: E402

PROJECT, SHOP, ZEROS = "Fabrikam", "web-shop", "0" * 40
MINIMUM_REVIEWERS = "fa4e907d-c16b-4a4c-9dfa-4906e5d171dd"
PATIENCE = 20.0  # seconds for anything asynchronous
PARTS = []


def part(function):
    PARTS.append(function)
    return function


def same(found, wanted, what=""):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, wanted {wanted!r}")


def refused(call, text):
    """The call fails as the service fails, with this text in the message."""
    try:
        answer = call()
    except AzureDevOpsServiceError as error:
        if text not in str(error):
            raise AssertionError(f"refused with {str(error)!r}, wanted {text!r}") from error
        return error
    raise AssertionError(f"was not refused with {text!r}, but answered {answer!r}")


def eventually(what, look):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


class World:
    def __init__(self, url):
        self.url = url
        self.alice = self.connect("alice")
        self.bob = self.connect("bob")

    def connect(self, who, password=None):
        return Connection(base_url=self.url, creds=BasicAuthentication("", password or f"demo-{who}"))

    def git(self, who="alice"):
        return getattr(self, who).clients_v7_1.get_git_client()

    def wit(self, who="alice"):
        return getattr(self, who).clients_v7_1.get_work_item_tracking_client()

    def tip(self, branch):
        refs = self.git().get_refs(SHOP, PROJECT, filter=f"heads/{branch}")
        return next((ref.object_id for ref in refs if ref.name == f"refs/heads/{branch}"), None)

    def person(self, name):
        found = self.alice.clients_v7_1.get_identity_client().read_identities(
            search_filter="General", filter_value=f"{name}@contoso.example")
        same(len(found), 1, f"identities of {name}")
        return found[0]

    def push(self, branch, old, changes, who="alice", message="A change"):
        made = [{"changeType": kind, "item": {"path": path},
                 **({"newContent": {"content": text, "contentType": "rawtext"}} if text is not None else {})}
                for kind, path, text in changes]
        push = git_models.GitPush(
            ref_updates=[git_models.GitRefUpdate(name=f"refs/heads/{branch}", old_object_id=old)],
            commits=[{"comment": message, "changes": made}])
        return self.git(who).create_push(push, SHOP, PROJECT)

    def branch(self, name, files):
        """A new branch off main with one commit."""
        self.git().update_refs([git_models.GitRefUpdate(
            name=f"refs/heads/{name}", old_object_id=ZEROS, new_object_id=self.tip("main"))], SHOP, PROJECT)
        self.push(name, self.tip(name), [("add", path, text) for path, text in files.items()])

    def open(self, source, title, **more):
        new = git_models.GitPullRequest(source_ref_name=f"refs/heads/{source}", title=title,
                                        target_ref_name="refs/heads/main", **more)
        return self.git().create_pull_request(new, SHOP, PROJECT)

    def pull_request(self, number):
        return self.git().get_pull_request(SHOP, number, PROJECT)

    def merged(self, number):
        return eventually(f"the merge of pull request {number}", lambda: (
            (found := self.pull_request(number)).merge_status == "succeeded" and found))

    def complete(self, number, strategy="noFastForward"):
        found = self.merged(number)
        change = git_models.GitPullRequest(
            status="completed",
            last_merge_source_commit=git_models.GitCommitRef(commit_id=found.last_merge_source_commit.commit_id),
            completion_options=git_models.GitPullRequestCompletionOptions(
                merge_strategy=strategy, delete_source_branch=True, transition_work_items=True))
        return self.git().update_pull_request(change, SHOP, number, PROJECT)


@part
def projects_and_teams(world):
    for clients in (world.alice.clients, world.alice.clients_v7_1):
        core = clients.get_core_client()
        listed = core.get_projects(state_filter="all")
        same(sorted(p.name for p in listed), ["Fabrikam", "Northwind"], "projects of alice")
        one = core.get_project(PROJECT, include_capabilities=True)
        same(one.state, "wellFormed", "state")
        same(one.capabilities["processTemplate"]["templateName"], "Basic", "process")
        same(core.get_project(one.id).name, PROJECT, "project by id")
        teams = core.get_teams(PROJECT)
        members = core.get_team_members_with_extended_properties(PROJECT, teams[0].id)
        assert any(m.identity.display_name == "Alice Martin" for m in members), members
    bobs = world.bob.clients.get_core_client()
    same([p.name for p in bobs.get_projects()], ["Fabrikam"], "projects of bob")
    refused(lambda: bobs.get_project("Northwind"), "TF200016")
    refused(lambda: world.git("bob").get_repository("ledger", "Northwind"), "TF200016")


@part
def who_is_calling(world):
    locations = world.alice.clients_v7_1.get_location_client()
    data = locations.get_connection_data()
    same(data.authenticated_user.provider_display_name, "Alice Martin", "authenticated user")
    alice = world.person("alice")
    same(alice.id, data.authenticated_user.id, "identity")
    same(alice.provider_display_name, "Alice Martin", "name")
    same(alice.properties["Mail"]["$value"], "alice@contoso.example", "mail")
    nobody = world.alice.clients_v7_1.get_identity_client().read_identities(
        search_filter="General", filter_value="nobody@contoso.example")
    assert not any(nobody or []), nobody
    users = world.alice.clients_v7_1.get_graph_client().list_users()
    assert any(u.principal_name == "bob@contoso.example" for u in users.graph_users), users.graph_users
    for creds in (BasicAuthentication("", "wrong"), BasicTokenAuthentication({"access_token": "not.a.token"})):
        try:
            Connection(base_url=world.url, creds=creds).clients.get_core_client().get_projects()
        except AzureDevOpsAuthenticationError:
            continue
        raise AssertionError("wrong credentials were taken")


@part
def repositories_and_items(world):
    git = world.git()
    shop = git.get_repository(SHOP, PROJECT)
    same((shop.name, shop.default_branch, shop.project.name), (SHOP, "refs/heads/main", PROJECT))
    same(git.get_repository(shop.id).id, shop.id, "repository by id")
    assert SHOP in [r.name for r in git.get_repositories(PROJECT)]
    all_items = git.get_items(SHOP, PROJECT, recursion_level="full", include_content_metadata=True)
    same((all_items[0].path, all_items[0].is_folder), ("/", True), "the first item is the folder itself")
    paths = [item.path for item in all_items]
    assert "/src/auth/session.ts" in paths and "/README.md" in paths, paths
    one = git.get_item(SHOP, "/README.md", PROJECT, include_content=True)
    assert one.content.startswith("#") and one.git_object_type == "blob", one
    text = b"".join(git.get_item_text(SHOP, "/README.md", PROJECT)).decode()
    same(text, one.content, "text and JSON")
    data = b"".join(git.get_item_content(SHOP, "/README.md", PROJECT))
    same(data.decode(), text, "bytes and text")
    same(b"".join(git.get_blob_content(SHOP, one.object_id, PROJECT)), data, "blob")
    archive = b"".join(git.get_item_zip(SHOP, "/src", PROJECT))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        same(opened.testzip(), None, "the zip is whole")
        names = opened.namelist()
        assert "auth/session.ts" in names, names
        session = b"".join(git.get_item_content(SHOP, "/src/auth/session.ts", PROJECT))
        same(opened.read("auth/session.ts"), session, "a file of the zip")
    batch = git.get_items_batch(git_models.GitItemRequestData(item_descriptors=[
        git_models.GitItemDescriptor(path="/README.md", version="main", version_type="branch",
                                     recursion_level="none")]), SHOP, PROJECT)
    same(batch[0][0].path, "/README.md", "batch")
    commit = git.get_commits(SHOP, git_models.GitQueryCommitsCriteria(), PROJECT, top=1)[0]
    same(git.get_commit(commit.commit_id, SHOP, PROJECT).commit_id, commit.commit_id, "commit")
    assert git.get_changes(commit.commit_id, SHOP, PROJECT).changes
    tree = git.get_tree(SHOP, git.get_commit(commit.commit_id, SHOP, PROJECT).tree_id, PROJECT)
    assert any(entry.relative_path == "README.md" for entry in tree.tree_entries), tree
    refused(lambda: git.get_item(SHOP, "/no/such.md", PROJECT), "TF401174")
    at = git_models.GitVersionDescriptor(version="gone", version_type="branch")
    refused(lambda: git.get_item(SHOP, "/README.md", PROJECT, version_descriptor=at), "TF401175")
    refused(lambda: git.get_repository("nothing", PROJECT), "TF401019")


@part
def branches_and_pushes(world):
    git, main = world.git(), world.tip("main")
    made = git.update_refs([git_models.GitRefUpdate(
        name="refs/heads/feature/python", old_object_id=ZEROS, new_object_id=main)], SHOP, PROJECT)
    same((made[0].success, made[0].update_status), (True, "succeeded"), "new branch")
    again = git.update_refs([git_models.GitRefUpdate(
        name="refs/heads/feature/python", old_object_id=ZEROS, new_object_id=main)], SHOP, PROJECT)
    same(again[0].success, False, "the same branch twice")
    push = world.push("feature/python", main, [("add", "/docs/python.md", "one\n"), ("edit", "/README.md", "# New\n"),
                                              ("delete", "/.gitignore", None)])
    tip = push.ref_updates[0].new_object_id
    same((world.tip("feature/python"), push.pushed_by.display_name), (tip, "Alice Martin"), "push")
    refused(lambda: world.push("feature/python", main, [("add", "/x", "x")]), "TF401028")
    refused(lambda: world.push("feature/python", tip, [("add", "/README.md", "x")]), "already exists")
    same(git.get_push(SHOP, push.push_id, PROJECT).push_id, push.push_id, "push by number")
    diff = git.get_commit_diffs(
        SHOP, PROJECT, diff_common_commit=True,
        base_version_descriptor=git_models.GitBaseVersionDescriptor(base_version="main", base_version_type="branch"),
        target_version_descriptor=git_models.GitTargetVersionDescriptor(
            target_version="feature/python", target_version_type="branch"))
    same((diff.ahead_count, diff.behind_count), (1, 0), "diff")
    stats = git.get_branch(SHOP, "feature/python", PROJECT)
    same((stats.ahead_count, stats.behind_count), (1, 0), "statistics")
    locked = git.update_ref(git_models.GitRefUpdate(is_locked=True), SHOP, "heads/feature/python", PROJECT)
    same(locked.is_locked, True, "lock")
    git.update_ref(git_models.GitRefUpdate(is_locked=False), SHOP, "heads/feature/python", PROJECT)
    gone = git.update_refs([git_models.GitRefUpdate(
        name="refs/heads/feature/python", old_object_id=tip, new_object_id=ZEROS)], SHOP, PROJECT)
    same((gone[0].success, world.tip("feature/python")), (True, None), "deleted branch")


@part
def pull_request_from_draft_to_completed(world):
    git, bob = world.git(), world.person("bob")
    world.branch("feature/complete", {"/docs/complete.md": "one\ntwo\nthree\n"})
    item = world.wit().create_work_item(
        [wit_models.JsonPatchOperation(op="add", path="/fields/System.Title", value="Complete me")], PROJECT, "Task")
    made = world.open("feature/complete", "Complete me", description="It is ready.", is_draft=True,
                      reviewers=[git_models.IdentityRefWithVote(id=bob.id)],
                      work_item_refs=[git_models.ResourceRef(id=str(item.id))])
    number = made.pull_request_id
    same((made.status, made.is_draft, made.created_by.display_name), ("active", True, "Alice Martin"))
    refused(lambda: world.open("feature/complete", "Twice"), "TF401179")
    refused(lambda: git.get_pull_request(SHOP, 99_999, PROJECT), "TF401180")
    changed = git.update_pull_request(
        git_models.GitPullRequest(title="Complete me now", is_draft=False), SHOP, number, PROJECT)
    same((changed.title, changed.is_draft), ("Complete me now", False), "update")
    thread = git.create_thread(git_models.GitPullRequestCommentThread(
        comments=[git_models.Comment(parent_comment_id=0, content="Please explain.", comment_type="text")],
        status="active",
        thread_context=git_models.CommentThreadContext(
            file_path="/docs/complete.md",
            right_file_start=git_models.CommentPosition(line=2, offset=1),
            right_file_end=git_models.CommentPosition(line=2, offset=4))), SHOP, number, PROJECT)
    reply = world.git("bob").create_comment(
        git_models.Comment(content="Explained.", parent_comment_id=1, comment_type="text"),
        SHOP, number, thread.id, PROJECT)
    git.update_comment(git_models.Comment(content="Please explain more."), SHOP, number, thread.id, 1, PROJECT)
    git.create_like(SHOP, number, thread.id, reply.id, PROJECT)
    same(len(git.get_likes(SHOP, number, thread.id, reply.id, PROJECT)), 1, "likes")
    fixed = git.update_thread(
        git_models.GitPullRequestCommentThread(status="fixed"), SHOP, number, thread.id, PROJECT)
    same((fixed.status, fixed.thread_context.right_file_start.line), ("fixed", 2), "thread")
    listed = next(t for t in git.get_threads(SHOP, number, PROJECT) if t.id == thread.id)
    same([c.content for c in listed.comments], ["Please explain more.", "Explained."], "comments")
    world.git("bob").delete_comment(SHOP, number, thread.id, reply.id, PROJECT)
    same(git.get_comment(SHOP, number, thread.id, reply.id, PROJECT).is_deleted, True, "deleted comment")
    voted = world.git("bob").create_pull_request_reviewer(
        git_models.IdentityRefWithVote(id=bob.id, vote=10), SHOP, number, bob.id, PROJECT)
    same((voted.vote, voted.display_name), (10, "Bob Keller"), "vote")
    same([r.vote for r in git.get_pull_request_reviewers(SHOP, number, PROJECT)], [10], "reviewers")
    label = git.create_pull_request_label(git_models.WebApiCreateTagRequestData(name="docs"), SHOP, number, PROJECT)
    same([one.name for one in git.get_pull_request_labels(SHOP, number, PROJECT)], [label.name], "labels")
    git.create_pull_request_status(git_models.GitPullRequestStatus(
        state="succeeded", description="fine", context=git_models.GitStatusContext(name="lint", genre="test")),
        SHOP, number, PROJECT)
    same(git.get_pull_request_statuses(SHOP, number, PROJECT)[0].context.name, "lint", "statuses")
    same([w.id for w in git.get_pull_request_work_item_refs(SHOP, number, PROJECT)], [str(item.id)], "work items")
    linked = world.wit().query_work_items_for_artifact_uris(
        wit_models.ArtifactUriQuery(artifact_uris=[made.artifact_id]), PROJECT).artifact_uris_query_result
    same([w.id for w in linked[made.artifact_id]], [item.id], "work items of the artifact")
    same(git.get_pull_request_iteration_statuses(SHOP, number, 1, PROJECT), [], "statuses of the iteration")
    same(len(git.get_pull_request_iterations(SHOP, number, PROJECT)), 1, "iterations")
    entries = git.get_pull_request_iteration_changes(SHOP, number, 1, PROJECT).change_entries
    # The generated model keeps the item among what it does not know.
    same([e.additional_properties["item"]["path"] for e in entries], ["/docs/complete.md"], "changes")
    same(len(git.get_pull_request_commits(SHOP, number, PROJECT)), 1, "commits")
    refused(lambda: git.update_pull_request(
        git_models.GitPullRequest(status="completed"), SHOP, number, PROJECT), "LastMergeSourceCommit")
    same(world.complete(number, "squash").status, "active", "completion is not done at once")
    done = eventually("completion", lambda: (p := world.pull_request(number)).status == "completed" and p)
    same((done.merge_status, done.closed_by.display_name), ("succeeded", "Alice Martin"), "completed")
    same(world.tip("feature/complete"), None, "the source branch")
    text = b"".join(git.get_item_text(SHOP, "/docs/complete.md", PROJECT))
    same(text, b"one\ntwo\nthree\n", "the file on main")
    refused(lambda: git.update_pull_request(
        git_models.GitPullRequest(title="Late"), SHOP, number, PROJECT), "TF401181")
    item = eventually("the work item's state", lambda: (
        (w := world.wit().get_work_item(item.id)).fields["System.State"] == "Done" and w))


@part
def pull_request_abandoned_and_conflicting(world):
    git = world.git()
    world.branch("feature/left", {"/docs/same.md": "left\n"})
    world.branch("feature/right", {"/docs/same.md": "right\n"})
    left = world.open("feature/left", "Left").pull_request_id
    right = world.open("feature/right", "Right").pull_request_id
    abandoned = git.update_pull_request(git_models.GitPullRequest(status="abandoned"), SHOP, right, PROJECT)
    same(abandoned.status, "abandoned")
    found = git.get_pull_requests(SHOP, git_models.GitPullRequestSearchCriteria(status="abandoned"), PROJECT)
    same([p.pull_request_id for p in found], [right], "abandoned ones")
    active = git.update_pull_request(git_models.GitPullRequest(status="active"), SHOP, right, PROJECT)
    same(active.status, "active")
    world.merged(right)
    world.complete(left)
    eventually("completion", lambda: world.pull_request(left).status == "completed")
    eventually("the conflict", lambda: world.pull_request(right).merge_status == "conflicts")
    git.update_pull_request(git_models.GitPullRequest(status="abandoned"), SHOP, right, PROJECT)


@part
def policies_that_refuse(world):
    policy = world.alice.clients_v7_1.get_policy_client()
    shop = world.git().get_repository(SHOP, PROJECT)
    made = policy.create_policy_configuration(policy_models.PolicyConfiguration(
        is_enabled=True, is_blocking=True, type=policy_models.PolicyTypeRef(id=MINIMUM_REVIEWERS),
        settings={"minimumApproverCount": 1, "creatorVoteCounts": False,
                  "scope": [{"repositoryId": shop.id, "refName": "refs/heads/main", "matchKind": "exact"}]}), PROJECT)
    assert made.id in [c.id for c in policy.get_policy_configurations(PROJECT)]
    refused(lambda: world.push("main", world.tip("main"), [("add", "/direct.md", "x")]), "TF402455")
    world.branch("feature/policy", {"/docs/policy.md": "x\n"})
    number = world.open("feature/policy", "Wants an approval").pull_request_id
    world.merged(number)
    artifact = f"vstfs:///CodeReview/CodeReviewId/{shop.project.id}/{number}"
    waiting = policy.get_policy_evaluations(PROJECT, artifact)
    mine = [e for e in waiting if e.configuration.id == made.id]
    assert mine and mine[0].status in ("queued", "running", "rejected"), [e.status for e in waiting]
    world.complete(number)
    refusal = eventually("the refusal", lambda: (
        (p := world.pull_request(number)).merge_status == "rejectedByPolicy" and p))
    same(refusal.status, "active", "a refused pull request stays open")
    bob = world.person("bob")
    world.git("bob").create_pull_request_reviewer(
        git_models.IdentityRefWithVote(id=bob.id, vote=10), SHOP, number, bob.id, PROJECT)
    approved = policy.get_policy_evaluations(PROJECT, artifact)
    same([e.status for e in approved if e.configuration.id == made.id], ["approved"], "evaluation")
    change = git_models.GitPullRequest(auto_complete_set_by=git_models.IdentityRef(id=world.person("alice").id))
    world.git().update_pull_request(change, SHOP, number, PROJECT)
    eventually("auto-completion", lambda: world.pull_request(number).status == "completed")
    policy.delete_policy_configuration(PROJECT, made.id)


@part
def work_items(world):
    def patch(*entries):
        return [wit_models.JsonPatchOperation(op=op, path=path, value=value) for op, path, value in entries]

    wit = world.wit()
    made = wit.create_work_item(patch(
        ("add", "/fields/System.Title", "Python made me"),
        ("add", "/fields/System.AssignedTo", "bob@contoso.example"),
        ("add", "/fields/System.Tags", "python; client")), PROJECT, "Issue")
    same((made.rev, made.fields["System.State"], made.fields["System.Reason"]), (1, "To Do", "Added to backlog"))
    same(made.fields["System.AssignedTo"]["displayName"], "Bob Keller", "assignee")
    changed = wit.update_work_item(patch(
        ("test", "/rev", 1), ("add", "/fields/System.State", "Doing"),
        ("add", "/relations/-", {"rel": "System.LinkTypes.Related", "url": f"{world.url}/_apis/wit/workItems/1",
                                 "attributes": {"comment": "see"}})), made.id, PROJECT)
    same((changed.rev, changed.fields["System.State"]), (2, "Doing"), "update")
    refused(lambda: wit.update_work_item(patch(
        ("test", "/rev", 1), ("add", "/fields/System.Title", "Late")), made.id), "VS403351")
    refused(lambda: wit.update_work_item(patch(("add", "/fields/System.State", "Nonsense")), made.id), "TF401320")
    refused(lambda: wit.create_work_item(patch(("add", "/fields/System.Tags", "x")), PROJECT, "Task"), "TF401320")
    refused(lambda: wit.get_work_item(99_999), "TF401232")
    found = wit.get_work_item(made.id, expand="All")
    same([r.rel for r in found.relations], ["System.LinkTypes.Related"], "relations")
    comment = wit.add_comment(wit_models.CommentCreate(text="On it."), PROJECT, made.id)
    wit.update_comment(wit_models.CommentUpdate(text="Done."), PROJECT, made.id, comment.id)
    listed = wit.get_comments(PROJECT, made.id)
    same((listed.total_count, listed.comments[0].text), (1, "Done."), "comments")
    wiql = wit_models.Wiql(query="SELECT [System.Id], [System.Title] FROM WorkItems WHERE [System.TeamProject] = "
                                 "@project AND [System.Tags] CONTAINS 'python' ORDER BY [System.ChangedDate] DESC")
    context = wit_models.TeamContext(project=PROJECT)
    answer = wit.query_by_wiql(wiql, context, top=5)
    same([w.id for w in answer.work_items], [made.id], "query")
    same([c.reference_name for c in answer.columns], ["System.Id", "System.Title"], "columns")
    refused(lambda: wit.query_by_wiql(wit_models.Wiql(query="SELECT nothing"), context), "TF51006")
    same([w.id for w in wit.get_work_items([1, made.id], error_policy="omit")], [1, made.id], "list")
    batch = wit.get_work_items_batch(
        wit_models.WorkItemBatchGetRequest(ids=[1, made.id], fields=["System.Title"]), PROJECT)
    same(batch[1].fields["System.Title"], "Python made me", "batch")
    same([r.rev for r in wit.get_revisions(made.id, PROJECT)][:2], [1, 2], "revisions")
    assert wit.get_updates(made.id, PROJECT)[1].fields["System.State"].new_value == "Doing"
    same([t.name for t in wit.get_work_item_types(PROJECT)][:3], ["Epic", "Issue", "Task"], "types")
    same([s.name for s in wit.get_work_item_type_states(PROJECT, "Issue")], ["To Do", "Doing", "Done"], "states")
    assert len(wit.get_work_item_fields(PROJECT)) > 10 and len(wit.get_relation_types()) > 5
    assert wit.get_classification_node(PROJECT, "areas", depth=2).name == PROJECT
    wit.delete_comment(PROJECT, made.id, comment.id)
    same(wit.delete_work_item(made.id, PROJECT).id, made.id, "delete")
    refused(lambda: wit.get_work_item(made.id, PROJECT), "TF401232")


@part
def builds(world):
    build = world.alice.clients_v7_1.get_build_client()
    definitions = build.get_definitions(PROJECT)
    same([d.name for d in definitions], ["web-shop CI"], "definitions")
    same(build.get_definition(PROJECT, definitions[0].id).id, definitions[0].id, "definition")
    new = build_models.Build(definition=build_models.DefinitionReference(id=definitions[0].id),
                             source_branch="refs/heads/main")
    queued = build.queue_build(new, PROJECT)
    assert queued.status in ("notStarted", "inProgress"), queued.status
    done = eventually("the build", lambda: (b := build.get_build(PROJECT, queued.id)).status == "completed" and b)
    same(done.result, "succeeded", "result")
    assert queued.id in [b.id for b in build.get_builds(PROJECT, definitions=[definitions[0].id])]
    records = build.get_build_timeline(PROJECT, queued.id).records
    same({r.state for r in records}, {"completed"}, "timeline")
    logs = build.get_build_logs(PROJECT, queued.id)
    lines = build.get_build_log_lines(PROJECT, queued.id, logs[0].id)
    text = b"".join(build.get_build_log(PROJECT, queued.id, logs[0].id)).decode()
    assert lines and lines[0] in text, (lines[:1], text[:100])
    second = build.queue_build(new, PROJECT)
    build.update_build(build_models.Build(status="cancelling"), PROJECT, second.id)
    stopped = eventually("the end", lambda: (b := build.get_build(PROJECT, second.id)).status == "completed" and b)
    same(stopped.result, "canceled", "a cancelled build")


@part
def tags_of_builds_and_definitions(world):
    build = world.alice.clients_v7_1.get_build_client()
    definition = build.get_definitions(PROJECT)[0]
    queued = build.queue_build(build_models.Build(definition=build_models.DefinitionReference(id=definition.id)), PROJECT)
    same(build.add_build_tag(PROJECT, queued.id, "one"), ["one"], "a tag")
    same(build.add_build_tags(["two", "three"], PROJECT, queued.id), ["one", "three", "two"], "tags")
    same(build.delete_build_tag(PROJECT, queued.id, "three"), ["one", "two"], "a tag taken off")
    same(build.get_build_tags(PROJECT, queued.id), ["one", "two"], "tags of the build")
    assert {"one", "two"} <= set(build.get_tags(PROJECT)), build.get_tags(PROJECT)
    same([b.id for b in build.get_builds(PROJECT, tag_filters=["two"])], [queued.id], "builds with a tag")
    whole = build.get_definition(PROJECT, definition.id)
    same((whole.tags, whole.job_authorization_scope), ([], "projectCollection"), "definition")
    changed = build.update_definition(whole, PROJECT, definition.id)
    same(changed.revision, whole.revision + 1, "revision")
    refused(lambda: build.update_definition(whole, PROJECT, definition.id), "revision")
    assert build.get_build_changes(PROJECT, queued.id) is not None
    same(build.get_artifacts(PROJECT, queued.id), [], "artifacts")


@part
def hooks(world):
    client = world.alice.clients_v7_1.get_service_hooks_client()
    same([c.id for c in client.list_consumers()], ["webHooks"], "consumers")
    same(client.get_consumer("webHooks").actions[0].id, "httpRequest", "action")
    assert "git.push" in [e.id for e in client.list_event_types("tfs")]
    same([p.id for p in client.list_publishers()], ["tfs"], "publishers")
    project = world.alice.clients_v7_1.get_core_client().get_project(PROJECT).id
    made = client.create_subscription(hook_models.Subscription(
        publisher_id="tfs", event_type="workitem.created", resource_version="1.0", consumer_id="webHooks",
        consumer_action_id="httpRequest", publisher_inputs={"projectId": project},
        consumer_inputs={"url": "http://127.0.0.1:9/", "basicAuthUsername": "u", "basicAuthPassword": "hush"}))
    assert "hush" not in str(made.consumer_inputs), made.consumer_inputs
    world.wit().create_work_item(
        [wit_models.JsonPatchOperation(op="add", path="/fields/System.Title", value="Heard")], PROJECT, "Task")
    entry = eventually("a notification", lambda: client.get_notifications(made.id))[0]
    same(client.get_notification(made.id, entry.id).id, entry.id, "notification")
    asked = client.query_notifications(hook_models.NotificationsQuery(subscription_ids=[made.id]))
    same([n.id for n in asked.results], [entry.id], "query")
    client.delete_subscription(made.id)
    refused(lambda: client.get_subscription(made.id), "was not found")


@part
def people_and_teams(world):
    graph = world.alice.clients_v7_1.get_graph_client()
    team = next(g for g in graph.list_groups().graph_groups if PROJECT in g.principal_name)
    members = graph.list_memberships(team.descriptor, direction="down")
    assert len(members) >= 3, members
    first = members[0].member_descriptor
    same([m.container_descriptor for m in graph.list_memberships(first)][:1], [team.descriptor], "teams of a person")
    same(graph.get_membership(first, team.descriptor).member_descriptor, first, "membership")
    looked = graph.lookup_subjects(graph_models.GraphSubjectLookup(
        lookup_keys=[graph_models.GraphSubjectLookupKey(descriptor=d) for d in (first, team.descriptor)]))
    same(sorted(looked), sorted([first, team.descriptor]), "look-up")
    core = world.alice.clients_v7_1.get_core_client()
    assert "Basic" in [p.name for p in core.get_processes()]
    project = core.get_project(PROJECT).id
    named = core.get_project_properties(project, keys=["System.Process*"])
    same([p.value for p in named], ["Basic"], "properties")
    work = world.alice.clients_v7_1.get_work_client()
    context = WorkTeam(project=PROJECT, team=f"{PROJECT} Team")
    same(work.get_team_settings(context).bugs_behavior, "off", "team settings")
    assert [i.name for i in work.get_team_iterations(context)], "iterations"
    same(work.get_team_field_values(context).default_value, PROJECT, "areas of the team")


@part
def tags_and_reactions(world):
    git, main = world.git(), world.tip("main")
    tag = git.create_annotated_tag(git_models.GitAnnotatedTag(
        name="v1.0", message="The first", tagged_object=git_models.GitObject(object_id=main)), PROJECT, SHOP)
    same((tag.name, tag.message, tag.tagged_object.object_id), ("v1.0", "The first", main), "tag")
    same(git.get_annotated_tag(PROJECT, SHOP, tag.object_id).tagged_by.name, "Alice Martin", "tag read")
    peeled = git.get_refs(SHOP, PROJECT, filter="tags/v1.0", peel_tags=True)
    same((peeled[0].object_id, peeled[0].peeled_object_id), (tag.object_id, main), "reference")
    pushes = git.get_pushes(SHOP, PROJECT, top=1)
    assert git.get_push_commits(SHOP, git.get_pushes(SHOP, PROJECT)[-1].push_id, PROJECT), pushes
    same(git.get_recycle_bin_repositories(PROJECT), [], "recycle bin")
    wit = world.wit()
    item = wit.create_work_item(
        [wit_models.JsonPatchOperation(op="add", path="/fields/System.Title", value="React")], PROJECT, "Task")
    comment = wit.add_comment(wit_models.CommentCreate(text="Nice?"), PROJECT, item.id)
    same(wit.create_comment_reaction(PROJECT, item.id, comment.id, "like").count, 1, "reaction")
    world.wit("bob").create_comment_reaction(PROJECT, item.id, comment.id, "like")
    found = wit.get_comment_reactions(PROJECT, item.id, comment.id)
    same([(r.type, r.count, r.is_current_user_engaged) for r in found], [("like", 2, True)], "reactions")
    wit.delete_comment_reaction(PROJECT, item.id, comment.id, "like")
    same(wit.get_comment_reactions(PROJECT, item.id, comment.id)[0].count, 1, "reaction taken back")


@part
def areas_iterations_and_teams(world):
    wit, core = world.wit(), world.alice.clients_v7_1.get_core_client()
    node = wit_models.WorkItemClassificationNode
    made = wit.create_or_update_classification_node(node(name="Payments"), PROJECT, "areas")
    same((made.path, made.has_children), (f"\\{PROJECT}\\Area\\Payments", False), "area")
    inner = wit.create_or_update_classification_node(node(name="Cards"), PROJECT, "areas", path="Payments")
    same(wit.get_classification_node(PROJECT, "areas", path="Payments/Cards").id, inner.id, "area by path")
    refused(lambda: wit.create_or_update_classification_node(node(name="cards"), PROJECT, "areas", path="Payments"),
            "VS402371")
    item = wit.create_work_item([
        wit_models.JsonPatchOperation(op="add", path="/fields/System.Title", value="Pay by card"),
        wit_models.JsonPatchOperation(op="add", path="/fields/System.AreaPath", value=f"{PROJECT}\\Payments\\Cards"),
    ], PROJECT, "Task")
    wit.update_classification_node(node(name="Money"), PROJECT, "areas", path="Payments")
    area = lambda: wit.get_work_item(item.id).fields["System.AreaPath"]  # noqa: E731
    same(area(), f"{PROJECT}\\Money\\Cards", "the area of an item after a new name")
    moved = wit.create_or_update_classification_node(node(id=inner.id), PROJECT, "areas", path="Shop")
    same(moved.path, f"\\{PROJECT}\\Area\\Shop\\Cards", "moved")
    shop = wit.get_classification_node(PROJECT, "areas", path="Shop")
    wit.delete_classification_node(PROJECT, "areas", path="Shop/Cards", reclassify_id=shop.id)
    same(area(), f"{PROJECT}\\Shop", "the area of an item whose node is gone")
    sprint = wit.create_or_update_classification_node(
        node(name="Sprint 9", attributes={"startDate": "2026-01-05T00:00:00Z", "finishDate": "2026-01-16T00:00:00Z"}),
        PROJECT, "iterations")
    same(wit.get_classification_nodes(PROJECT, [sprint.id])[0].name, "Sprint 9", "node by id")
    refused(lambda: world.wit("bob").create_or_update_classification_node(node(name="x"), PROJECT, "areas"), "Access Denied")

    team = core.create_team(core_models.WebApiTeam(name="Payments crew"), PROJECT)
    context = WorkTeam(project=PROJECT, team=team.name)
    work = world.alice.clients_v7_1.get_work_client()
    refused(lambda: work.post_team_iteration(work_models.TeamSettingsIteration(id=sprint.identifier), context), "TF400497")
    root = wit.get_classification_node(PROJECT, "iterations")
    work.update_team_settings(work_models.TeamSettingsPatch(backlog_iteration=root.identifier), context)
    added = work.post_team_iteration(work_models.TeamSettingsIteration(id=sprint.identifier), context)
    same((added.name, added.attributes.time_frame), ("Sprint 9", "past"), "the team's sprint")
    same([i.name for i in work.get_team_iterations(context)], ["Sprint 9"], "the team's sprints")
    work.delete_team_iteration(context, sprint.identifier)
    values = work_models.TeamFieldValuesPatch(default_value=f"{PROJECT}\\Shop", values=[
        work_models.TeamFieldValue(value=f"{PROJECT}\\Shop", include_children=True)])
    same(work.update_team_field_values(values, context).default_value, f"{PROJECT}\\Shop", "the team's areas")
    same(core.update_team(core_models.WebApiTeam(name="Crew"), PROJECT, team.id).name, "Crew", "a team's new name")
    core.delete_team(PROJECT, team.id)
    refused(lambda: core.get_team(PROJECT, team.id), "does not exist")


@part
def projects_come_and_go(world):
    core = world.alice.clients_v7_1.get_core_client()
    operations = world.alice.clients_v7_1.get_operations_client()
    done = lambda operation: eventually("an operation", lambda: (  # noqa: E731
        operations.get_operation(operation.id).status in ("succeeded", "failed")))
    template = next(p.id for p in core.get_processes() if p.name == "Agile")
    new = core_models.TeamProject(name="Tailspin", description="Toys", capabilities={
        "versioncontrol": {"sourceControlType": "Git"}, "processTemplate": {"templateTypeId": template}})
    began = core.queue_create_project(new)
    same(began.status, "notSet", "operation")
    done(began)
    made = core.get_project("Tailspin", include_capabilities=True)
    same(made.capabilities["processTemplate"]["templateName"], "Agile", "process")
    same([r.name for r in world.git().get_repositories("Tailspin")], ["Tailspin"], "its repository")
    refused(lambda: core.queue_create_project(new), "TF200019")
    story = [wit_models.JsonPatchOperation(op="add", path="/fields/System.Title", value="A story")]
    same(world.wit().create_work_item(story, "Tailspin", "User Story").fields["System.State"], "New", "an item in it")
    done(core.update_project(core_models.TeamProject(name="Tailspin Toys"), made.id))
    same(core.get_project(made.id).name, "Tailspin Toys", "its new name")
    done(core.queue_delete_project(made.id))
    refused(lambda: core.get_project(made.id), "VS800075")
    same(sorted(p.name for p in core.get_projects()), ["Fabrikam", "Northwind"], "projects afterwards")
    bobs = world.bob.clients_v7_1.get_core_client()
    refused(lambda: bobs.queue_create_project(core_models.TeamProject(name="Mine")), "Access Denied")


@part
def queries_and_files(world):
    wit, git = world.wit(), world.git()
    item = wit_models.QueryHierarchyItem
    folder = wit.create_query(item(name="Team", is_folder=True), PROJECT, "Shared Queries")
    text = f"SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = '{PROJECT}' AND [System.Id] < 3"
    saved = wit.create_query(item(name="First", wiql=text), PROJECT, "Shared Queries/Team")
    same(saved.path, "Shared Queries/Team/First", "path")
    same([i.id for i in wit.query_by_id(saved.id, team_context=wit_models.TeamContext(project=PROJECT)).work_items],
         [1, 2], "what it finds")
    roots = wit.get_queries(PROJECT, depth=2, expand="all")
    same([q.name for q in roots], ["My Queries", "Shared Queries"], "folders")
    same(roots[1].children[0].children[0].wiql, text, "query in its folder")
    wit.update_query(item(name="Renamed"), PROJECT, saved.id)
    same(wit.get_query(PROJECT, "Shared Queries/Team/Renamed").id, saved.id, "by path")
    refused(lambda: wit.create_query(item(name="Bad", wiql="SELECT nothing"), PROJECT, "My Queries"), "TF51006")
    own = wit.create_query(item(name="Mine", wiql=text), PROJECT, "My Queries")
    refused(lambda: world.wit("bob").get_query(PROJECT, own.id), "TF401243")
    wit.delete_query(PROJECT, folder.id)
    refused(lambda: wit.get_query(PROJECT, saved.id), "TF401243")

    bytes_ = bytes(range(256)) * 40
    made = wit.create_attachment(io.BytesIO(bytes_), PROJECT, file_name="Ünïcode name.bin")
    link = [wit_models.JsonPatchOperation(op="add", path="/relations/-", value={
        "rel": "AttachedFile", "url": made.url, "attributes": {"comment": "evidence"}})]
    wit.update_work_item(link, 2)
    same(b"".join(wit.get_attachment_content(made.id, PROJECT)), bytes_, "bytes of an attachment")
    same(wit.get_work_item(2, expand="relations").relations[-1].rel, "AttachedFile", "the item's file")

    world.branch("files", {"/files.md": "files\n"})
    number = world.open("files", "With a file").pull_request_id
    put = git.create_attachment(io.BytesIO(b"proof"), "proof.txt", SHOP, number, PROJECT)
    same((put.display_name, put.id), ("proof.txt", 1), "a pull request's file")
    same([a.display_name for a in git.get_attachments(SHOP, number, PROJECT)], ["proof.txt"], "its files")
    same(b"".join(git.get_attachment_content("proof.txt", SHOP, number, PROJECT)), b"proof", "its bytes")
    git.delete_attachment("proof.txt", SHOP, number, PROJECT)
    same(git.get_attachments(SHOP, number, PROJECT), [], "its files afterwards")
    git.update_pull_request(git_models.GitPullRequest(status="abandoned"), SHOP, number, PROJECT)


@part
def pull_request_from_a_fork(world):
    git, shop = world.git(), world.git().get_repository(SHOP, PROJECT)
    fork = world.git("bob").create_repository(git_models.GitRepositoryCreateOptions(
        name="web-shop-bob", project=shop.project, parent_repository=git_models.GitRepositoryRef(id=shop.id)), PROJECT)
    same(fork.is_fork, True, "fork")
    tip = git.get_refs(fork.id, PROJECT, filter="heads/main")[0].object_id
    change = git_models.Change(change_type="add", item={"path": "/from-a-fork.md"}, new_content=git_models.ItemContent(
        content="From a fork\n", content_type="rawtext"))
    world.git("bob").create_push(git_models.GitPush(
        ref_updates=[git_models.GitRefUpdate(name="refs/heads/main", old_object_id=tip)],
        commits=[git_models.GitCommitRef(comment="From a fork", changes=[change])]), fork.id, PROJECT)
    new = git_models.GitPullRequest(
        source_ref_name="refs/heads/main", target_ref_name="refs/heads/main", title="From a fork",
        fork_source=git_models.GitForkRef(repository=git_models.GitRepository(id=fork.id)))
    made = world.git("bob").create_pull_request(new, SHOP, PROJECT)
    same(made.fork_source.repository.name, "web-shop-bob", "where it comes from")
    same(world.merged(made.pull_request_id).merge_status, "succeeded", "merge")
    world.complete(made.pull_request_id)
    eventually("its completion", lambda: world.pull_request(made.pull_request_id).status == "completed")
    same(git.get_item(SHOP, "/from-a-fork.md", PROJECT, include_content=True).content, "From a fork\n", "file in main")
    git.delete_repository(fork.id, PROJECT)


def main():
    world = World(sys.argv[1].rstrip("/"))
    chosen = [p for p in PARTS if len(sys.argv) < 3 or p.__name__ in sys.argv[2:]]
    failed = []
    for check in chosen:
        began = time.monotonic()
        try:
            check(world)
        except Exception:  # whatever a client or a check throws is a failure of that part
            traceback.print_exc()
            failed.append(check.__name__)
        print(f"{'FAILED' if check.__name__ in failed else 'ok':6} {check.__name__} {time.monotonic() - began:.1f} s",
              flush=True)
    sys.exit(1 if failed or not chosen else 0)


if __name__ == "__main__":
    main()
