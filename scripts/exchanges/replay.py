"""Asks a simulated organisation what the live service was asked in a recording, and compares the shapes.

Names and ids of a recording are put in place of ours by what they stand for in the route: a repository
by a fresh repository, a pull request by one in the state that the recording had, and so on. So a recording
that nobody has seen before can be replayed too, as long as the simulator serves its route.
"""

import base64
import copy
import http.client
import itertools
import json
import re
import time
from urllib.parse import quote, unquote, urlsplit

from .openapi import GUID, type_of
from .wire import Exchange

ZEROS = "0" * 40
ALICE = "a11ce000-0000-4000-8000-000000000001"
BOB = "b0b00000-0000-4000-8000-000000000002"
FABRIKAM = "fab41ca0-0000-4000-8000-000000000010"
PATIENCE = 20.0  # seconds for what the organisation does by itself
# Objects whose field names are ids or names of things, not parts of a shape.
OPEN_MAPS = re.compile(r"(^|\.)(properties|changeCounts|keywords|additionalProperties)$")
# Headers of the transport, which say nothing about the service.
TRANSPORT = {"content-length", "transfer-encoding", "vary", "date", "server", "connection", "x-cache",
             "x-msedge-ref", "content-encoding", "expires", "pragma", "set-cookie"}


class Organisation:
    """An HTTP client of the simulated organisation, as alice."""

    def __init__(self, url):
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        self.prefix = parts.path
        self.numbers = itertools.count(1)

    def send(self, method, path, body=None, headers=None, who="alice"):
        sent = {"Authorization": "Basic " + base64.b64encode(f":demo-{who}".encode()).decode(),
                "Accept": "application/json;api-version=7.1", **(headers or {})}
        data = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json; charset=utf-8")
        sent["X-TFS-FedAuthRedirect"] = "Suppress"
        self.connection.request(method, f"{self.prefix}/{path}", body=data or None,
                                headers={k: v for k, v in sent.items() if v is not None})
        answer = self.connection.getresponse()
        got = {}
        for name, value in answer.getheaders():
            got[name.lower()] = f"{got[name.lower()]}, {value}" if name.lower() in got else value
        return Exchange(method, f"{self.prefix}/{path}", sent, data, answer.status, got, answer.read())

    def ask(self, method, path, body=None, headers=None, who="alice"):
        """A step towards a recording's state; it must succeed."""
        found = self.send(method, path, body, headers, who)
        if not 200 <= found.status < 300:
            raise Unprepared(f"{method} {path}: {found.status} {found.body[:300].decode(errors='replace')}")
        return found.json()

    def eventually(self, path, good):
        end = time.monotonic() + PATIENCE
        while True:
            found = self.ask("GET", path)
            if good(found):
                return found
            if time.monotonic() > end:
                raise Unprepared(f"waited in vain at {path}")
            time.sleep(0.03)


class Unprepared(Exception):
    """The state of a recording could not be made here."""


class NoEquivalent(Exception):
    """The simulator does not serve this, and says so in its table of routes."""


class Stage:
    """What one recording stands on: things made for it alone, as far as its route names them."""

    def __init__(self, organisation, recording):
        self.org, self.recording = organisation, recording
        self.made = {}
        expected = recording["response"].get("body")
        self.expected = expected if isinstance(expected, dict) else {}
        self.asked = recording["request"].get("body")
        # Whether the route names a group after a member of it.
        self.in_container = False
        self.removes = recording["request"]["method"] == "DELETE"
        self.writes = recording["request"]["method"] in ("POST", "PUT", "PATCH", "DELETE")

    def once(self, name, make):
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def repository(self):
        def make():
            name = f"replay-{next(self.org.numbers)}"
            found = self.org.ask("POST", "Fabrikam/_apis/git/repositories", {"name": name})
            if "remoteUrl" in self.expected and "defaultBranch" not in self.expected:
                return found  # the recorded one was empty
            body = {"refUpdates": [{"name": "refs/heads/main", "oldObjectId": ZEROS}], "commits": [
                {"comment": "First", "changes": [added("/README.md", "# Replay\n")]}]}
            push = self.org.ask("POST", f"Fabrikam/_apis/git/repositories/{found['id']}/pushes", body)
            return {**found, "tip": push["refUpdates"][0]["newObjectId"]}
        return self.once("repository", make)

    def branch(self, name="testbranch"):
        def make():
            repository = self.repository()
            route = f"Fabrikam/_apis/git/repositories/{repository['id']}"
            self.org.ask("POST", f"{route}/refs", [
                {"name": f"refs/heads/{name}", "oldObjectId": ZEROS, "newObjectId": repository["tip"]}])
            body = {"refUpdates": [{"name": f"refs/heads/{name}", "oldObjectId": repository["tip"]}], "commits": [
                {"comment": "Second", "changes": [added("/second.md", "two\n")]}]}
            return self.org.ask("POST", f"{route}/pushes", body)["refUpdates"][0]["newObjectId"]
        return self.once(f"branch {name}", make)

    def bare_branch(self, name):
        """A branch at the tip of main."""
        repository = self.repository()
        body = [{"name": f"refs/heads/{name}", "oldObjectId": ZEROS, "newObjectId": repository["tip"]}]
        route = f"Fabrikam/_apis/git/repositories/{repository['id']}/refs"
        return self.once(f"branch {name}", lambda: self.org.ask("POST", route, body) and repository["tip"])

    def pull_request(self):
        def make():
            self.branch()
            route = f"Fabrikam/_apis/git/repositories/{self.repository()['id']}/pullrequests"
            found = self.org.ask("POST", route, {"sourceRefName": "refs/heads/testbranch",
                                                 "targetRefName": "refs/heads/main", "title": "t", "description": "d"})
            one = f"{route}/{found['pullRequestId']}"
            found = self.org.eventually(one, lambda p: p["mergeStatus"] == "succeeded")
            method, url = self.recording["request"]["method"], self.recording["request"]["url"]
            if self.expected.get("reviewers") or (method == "DELETE" and "reviewers" in url):
                self.org.ask("PUT", f"{one}/reviewers/{ALICE}", {"id": ALICE, "vote": 10})
            reopens = isinstance(self.asked, dict) and self.asked.get("status") == "active"
            if reopens or (method == "GET" and self.expected.get("status") == "abandoned"):
                self.org.ask("PATCH", one, {"status": "abandoned"})
            return found
        return self.once("pull request", make)

    def work_item(self, number=0):
        def make():
            body = [{"op": "add", "path": "/fields/System.Title", "value": f"Replay {number}"}]
            made = self.org.ask("POST", "Fabrikam/_apis/wit/workItems/$Task", body,
                                {"Content-Type": "application/json-patch+json"})
            removed = removed_relations(self.asked)
            wanted = max([len(self.expected.get("relations", [])) - added_relations(self.asked) + len(removed),
                          *(index + 1 for index in removed)])
            if number == 0 and wanted > 0:
                links = [{"op": "add", "path": "/relations/-", "value": {
                    "rel": "System.LinkTypes.Hierarchy-Forward",
                    "url": f"{self.org.url}/_apis/wit/workItems/{self.work_item(100 + one)}"}}
                    for one in range(wanted)]
                self.org.ask("PATCH", f"_apis/wit/workItems/{made['id']}", links,
                             {"Content-Type": "application/json-patch+json"})
            return made["id"]
        return self.once(f"work item {number}", make)

    def definition(self):
        def make():
            if self.recording["request"]["method"] not in ("PUT", "DELETE") or "/tags" in self.recording["request"]["url"]:
                return self.org.ask("GET", "Fabrikam/_apis/build/definitions")["value"][0]
            body = {"name": f"replay-{next(self.org.numbers)}", "process": {"yamlFilename": "a.yml", "type": 2},
                    "repository": {"id": self.repository()["id"], "type": "TfsGit"}}
            return self.org.ask("POST", "Fabrikam/_apis/build/definitions", body)
        return self.once("definition", make)

    def build(self):
        def make():
            made = self.org.ask("POST", "Fabrikam/_apis/build/builds", {"definition": {"id": self.definition()["id"]}})
            if "/tags" in self.recording["request"]["url"]:
                self.org.ask("POST", f"Fabrikam/_apis/build/builds/{made['id']}/tags", [f"TestTag{n}" for n in range(3)])
            if self.expected.get("status") != "completed":
                return made["id"]
            self.org.eventually(f"Fabrikam/_apis/build/builds/{made['id']}", lambda b: b["status"] == "completed")
            return made["id"]
        return self.once("build", make)

    def policy(self):
        body = {"type": {"id": "fa4e907d-c16b-4a4c-9dfa-4916e5d171ab"}, "isBlocking": False, "isEnabled": True,
                "settings": {"useSquashMerge": True, "scope": [
                    {"repositoryId": None, "refName": "refs/heads/other", "matchKind": "exact"}]}}
        return self.once("policy", lambda: self.org.ask("POST", "Fabrikam/_apis/policy/configurations", body)["id"])

    def scope(self):
        headers = {"Accept": "application/json;api-version=7.1-preview"}
        return self.org.ask("GET", f"_apis/graph/descriptors/{FABRIKAM}", headers=headers)["value"]

    def own_group(self, name="own group"):
        """A security group that may be changed."""
        headers = {"Accept": "application/json;api-version=7.1-preview"}
        path = f"_apis/graph/groups?scopeDescriptor={self.scope()}"
        return self.once(name, lambda: self.org.ask("POST", path, {"displayName": self.fresh()}, headers)["descriptor"])

    def inner_group(self):
        """A group in that group, where the recording takes it out again."""
        inner, outer = self.own_group("inner group"), self.own_group()
        if self.removes:
            headers = {"Accept": "application/json;api-version=7.1-preview"}
            self.once("inside", lambda: self.org.ask("PUT", f"_apis/graph/memberships/{inner}/{outer}", headers=headers))
        return inner

    def group(self):
        groups = self.org.ask("GET", "_apis/graph/groups", headers={"Accept": "application/json;api-version=7.1-preview"})
        return self.once("group", lambda: groups["value"][0]["descriptor"])

    def member(self):
        path = f"_apis/graph/memberships/{self.group()}?direction=down"
        found = self.org.ask("GET", path, headers={"Accept": "application/json;api-version=7.1-preview"})
        return self.once("member", lambda: found["value"][0]["memberDescriptor"])

    def fresh(self):
        return f"replay-{next(self.org.numbers)}"

    def node(self, group):
        route = f"Fabrikam/_apis/wit/classificationNodes/{group}"
        return self.once(f"node {group}", lambda: self.org.ask("POST", route, {"name": self.fresh()}))

    def iteration(self):
        """The identifier of an iteration."""
        return self.org.ask("GET", "Fabrikam/_apis/wit/classificationNodes/iterations/Sprint%201")["identifier"]

    def folder(self):
        """The path of a folder of definitions; one that the recording makes is not there yet."""
        name = self.once("folder name", self.fresh)
        body = {"path": name, "description": "Replay"}
        if self.recording["request"]["method"] != "PUT":
            headers = {"Accept": "application/json;api-version=7.1-preview"}
            self.once("folder", lambda: self.org.ask("PUT", f"Fabrikam/_apis/build/folders/{name}", body, headers))
        return name

    def team(self):
        """A team of its own where the recording changes one; it has sprints unless the service refused."""
        if self.recording["request"]["method"] == "GET":
            return "Fabrikam Team"

        def make():
            name = self.org.ask("POST", "_apis/projects/Fabrikam/teams", {"name": self.fresh()})["name"]
            if self.recording["response"]["status"] < 400:
                route = f"Fabrikam/{name}/_apis/work/teamsettings"
                root = self.org.ask("GET", "Fabrikam/_apis/wit/classificationNodes/iterations")["identifier"]
                self.org.ask("PATCH", route, {"backlogIteration": root})
                if self.recording["request"]["method"] == "DELETE":
                    self.org.ask("POST", f"{route}/iterations", {"id": self.iteration()})
            return name
        return self.once("team", make)

    def operation(self):
        """An operation that makes a project, in the state that the recording has."""
        def make():
            made = self.org.ask("POST", "_apis/projects", {"name": self.fresh()})["id"]
            if self.expected.get("status") == "succeeded":
                self.org.eventually(f"_apis/operations/{made}", lambda found: found["status"] == "succeeded")
            return made
        return self.once("operation", make)

    def project(self):
        """A project that may be removed."""
        def make():
            name = self.fresh()
            made = self.org.ask("POST", "_apis/projects", {"name": name})["id"]
            self.org.eventually(f"_apis/operations/{made}", lambda found: found["status"] == "succeeded")
            return self.org.ask("GET", f"_apis/projects/{name}")["id"]
        return self.once("project", make)

    def subject(self):
        if not self.in_container:
            return self.group()
        return self.inner_group() if self.writes else self.member()

    def value(self, name, recorded):
        """Ours for a placeholder of a route."""
        guid = GUID.match(recorded)
        makers = {
            "project": lambda: FABRIKAM if guid else "Fabrikam",
            "projectId": lambda: FABRIKAM if guid else "Fabrikam",
            "team": self.team,
            "operationId": self.operation,
            "queueId": lambda: 1,
            "repositoryId": lambda: self.repository()["id" if guid else "name"],
            "pullRequestId": lambda: self.pull_request()["pullRequestId"],
            "reviewerId": lambda: ALICE,
            "storageKey": lambda: BOB,
            "buildId": self.build,
            "definitionId": lambda: self.definition()["id"],
            "configurationId": self.policy,
            "id": self.iteration if "/teamsettings/" in self.recording["request"]["url"] else self.work_item,
            "workItemId": self.work_item,
            "commitId": lambda: self.repository()["tip"],
            "groupDescriptor": self.own_group if self.writes else self.group,
            "containerDescriptor": self.own_group if self.writes else self.group,
            "subjectDescriptor": self.subject,
        }
        return str(makers[name]()) if name in makers else recorded

    def body(self, recorded, segments):
        """Ours for the body of a request."""
        body, last = copy.deepcopy(recorded), segments[-1].lower()
        if last == "refs":
            for entry in body if isinstance(body, list) else []:
                name = entry["name"].removeprefix("refs/heads/")
                tip = self.repository()["tip"]
                if entry["oldObjectId"] == ZEROS:
                    entry["newObjectId"] = tip
                else:
                    entry["oldObjectId"] = self.bare_branch(name)
        elif "classificationnodes" in [one.lower() for one in segments]:
            if "name" in body and self.recording["request"]["method"] == "POST":
                body["name"] = self.fresh()
            elif "id" in body:
                body = {**body, "id": self.node(segments[4])["id"], "name": self.fresh()}
        elif last == "groups" and isinstance(body, dict):
            body["displayName"] = self.fresh()
        elif isinstance(body, list) and body and isinstance(body[0], dict) and body[0].get("path") == "/displayName":
            body[0]["value"] = self.fresh()
        elif "folders" in segments:
            made = self.recording["request"]["method"] == "PUT"
            body["path"] = self.folder() if made else f"\\Moved\\{self.fresh()}"
        elif last in ("projects", "teams") and isinstance(body, dict):
            body["name"] = self.fresh()
        elif last == "teamsettings":
            root = self.org.ask("GET", "Fabrikam/_apis/wit/classificationNodes/iterations")
            body = {"backlogIteration": root["identifier"]}
        elif last == "iterations" and "teamsettings" in segments:
            body = {"id": self.iteration()}
        elif last == "teamfieldvalues":
            shop = "Fabrikam\\Shop"
            body = {**body, "values": [{**one, "value": shop} for one in body["values"]]}
            body.update({"defaultValue": shop} if "defaultValue" in body else {})
        elif last == "subjectlookup":
            body["lookupKeys"] = [{"descriptor": self.group()}, {"descriptor": self.member()}]
        elif last == "pullrequests":
            self.branch(body["sourceRefName"].removeprefix("refs/heads/"))
        elif isinstance(body, dict) and "lastMergeSourceCommit" in body:
            body["lastMergeSourceCommit"] = self.pull_request()["lastMergeSourceCommit"]
        elif last == "repositories":
            body["name"] = f"replay-{next(self.org.numbers)}"
        elif segments[0:1] != ["_apis"] and last in ("configurations",) or "configurations" in segments:
            for scope in body.get("settings", {}).get("scope", []):
                scope["repositoryId"] = self.repository()["id"]
        elif isinstance(body, dict) and isinstance(body.get("repository"), dict):
            body["name"] = f"replay-{next(self.org.numbers)}"
            body["repository"] = {**body["repository"], "id": self.repository()["id"]}
        elif last == "builds" and isinstance(body, dict) and "definition" in body:
            body = {**body, "definition": {"id": self.definition()["id"]}}
        elif "reviewers" in segments and isinstance(body, dict):
            body["id"] = ALICE
        return self.links(body)

    def links(self, value):
        """Ours for the work items that links and queries name."""
        numbers = {}

        def ours(match):
            number = numbers.setdefault(match[2], len(numbers) + 1)
            return match[1] + str(self.work_item(number))

        def walk(one):
            if isinstance(one, dict):
                return {key: walk(inner) for key, inner in one.items()}
            if isinstance(one, list):
                return [walk(inner) for inner in one]
            if not isinstance(one, str):
                return one
            one = re.sub(r"https://(?:[a-z]+\.)?dev\.azure\.com/[^/]+", self.org.url, one)
            one = re.sub(r"(?i)(\[System\.TeamProject\]\s*=\s*)'[^']*'", r"\1'Fabrikam'", one)
            return re.sub(r"(/_apis/wit/workItems/|\[System\.Id\] = )(\d+)", ours, one)
        return walk(value)


def added(path, text):
    return {"changeType": "add", "item": {"path": path}, "newContent": {"content": text, "contentType": "rawtext"}}


def removed_relations(asked):
    found = (re.fullmatch(r"/relations/(\d+)", one.get("path", "")) for one in asked or [] if isinstance(one, dict))
    return [int(match[1]) for match in found if match]


def added_relations(asked):
    return sum(1 for one in asked or [] if isinstance(one, dict) and one.get("path") == "/relations/-")


def route_of(table, method, segments):
    """The placeholders of a route in the simulator's own table, or None when it has no such route."""
    best = None
    for entry in table:
        parts = [p for p in entry["routeTemplate"].split("/") if p]
        parts = [p.replace("{area}", entry["area"]).replace("{resource}", entry["resourceName"]) for p in parts]
        for skip in ((), ("{project}",), ("{team}",), ("{project}", "{team}")):
            kept = [p for p in parts if p not in skip]
            while True:
                found = bind(kept, segments)
                if found is not None and (best is None or found[0] > best[0]):
                    best = found
                if not kept or not kept[-1].startswith("{"):
                    break
                kept = kept[:-1]
    return best and best[1]


def bind(parts, segments):
    names, literal = {}, 0
    for at, part in enumerate(parts):
        if part.startswith("{*"):
            return (literal, names) if len(segments) > at else None
        if at >= len(segments):
            return None
        if part.startswith("${"):
            if not segments[at].startswith("$"):
                return None
            literal += 1
        elif part.startswith("{"):
            if segments[at].startswith(("_", "$")):
                return None
            names[at] = part.strip("{}")
        elif part.lower() != segments[at].lower():
            return None
        else:
            literal += 1
    return (literal, names) if len(parts) == len(segments) else None


def replay(organisation, table, recording):
    """Asks ours what the recording asked the service; the exchange."""
    request = recording["request"]
    parts = urlsplit(request["url"])
    segments = [unquote(s) for s in parts.path.split("/") if s][1:]
    stage = Stage(organisation, recording)
    status = recording["response"]["status"]
    if request["method"] == "OPTIONS" or "_apis" not in segments:
        raise NoEquivalent("the recording is of an organisation in a state that this one cannot have")
    names = route_of(table, request["method"], segments)
    if names is None:
        raise NoEquivalent("the simulator's table of routes does not have it")
    refused = status in (401, 404)
    stage.in_container = "containerDescriptor" in names.values()
    ours = list(segments)
    for at, name in names.items():
        # What the service refused stays as it is: unknown here too.
        if not (status == 404 and name in ("project", "projectId")):
            ours[at] = stage.value(name, segments[at])
    if [s.lower() for s in segments[2:4]] == ["wit", "classificationnodes"] and len(segments) > 5:
        known = "Shop" if segments[4].lower() == "areas" else "Sprint 1"
        changes = request["method"] in ("PATCH", "DELETE")
        # As recorded, with a backslash in front.
        ours[5:] = ["\\" + (stage.node(segments[4])["name"] if changes else known)]
    if [s.lower() for s in segments[2:4]] == ["build", "folders"] and len(segments) > 4:
        ours[4:] = [stage.folder()]
    if request["method"] == "DELETE" and [s.lower() for s in segments[:2]] == ["_apis", "projects"]:
        ours[2:] = [stage.project()]
    body = request.get("body")
    if body not in (None, "") and not refused:
        body = stage.body(body, segments)
    query = parts.query
    if "filter=heads" in query and "refs" in segments:
        name = unquote(re.search(r"filter=heads(?:%2F|/)([^&]*)", query)[1])
        stage.bare_branch(name)
        if isinstance(body, dict) and body.get("isLocked") is False:
            organisation.ask("PATCH", f"Fabrikam/_apis/git/repositories/{stage.repository()['id']}/refs?filter=heads/{name}",
                             {"isLocked": True})
    elif ours[-1].lower() == "refs" and request["method"] == "GET":
        stage.bare_branch("another")
    if ours[-1].lower() == "pullrequests" and request["method"] == "GET":
        stage.pull_request()
    query = re.sub(r"definitions=\d+", lambda _: f"definitions={stage.definition()['id']}", query)
    query = re.sub(r"name=BuildTests[^&]*", lambda _: "name=" + quote(stage.definition()["name"]), query)
    query = query.replace("newuser%40outlook.com", "bob%40contoso.example")
    query = re.sub(r"scopeDescriptor=[^&]*", lambda _: f"scopeDescriptor={stage.scope()}", query)
    if ours[-1].lower() == "builds" and request["method"] == "GET":
        stage.expected = {"status": "completed"}
        stage.build()
    headers = {name: value for name, value in request.get("headers", {}).items() if name.lower() != "user-agent"}
    if status == 401:
        headers["Authorization"] = "Basic " + base64.b64encode(b":wrong").decode()
    path = "/".join(quote(segment, safe="$") for segment in ours) + (f"?{query}" if query else "")
    exchange = organisation.send(request["method"], path, body, headers)
    if exchange.status == 405 and status != 405:
        raise NoEquivalent("the simulator serves the route, but not with this method")
    return exchange


def compare(recording, exchange):
    """Differences of status, headers and shape, as texts."""
    wanted = recording["response"]
    if exchange.status != wanted["status"]:
        said = exchange.body[:200].decode(errors="replace")
        return [f"status {exchange.status}, recorded {wanted['status']}: {said}"]
    found = []
    for name, value in wanted.get("headers", {}).items():
        name = name.lower()
        if name in TRANSPORT or value in (None, ""):
            continue
        if name not in exchange.headers:
            found.append(f"header {name} is missing")
        elif name == "content-type" and plain(exchange.headers[name]) != plain(value):
            found.append(f"header {name}: {exchange.headers[name]!r}, recorded {value!r}")
    body = wanted.get("body")
    empty_on_wire = str(wanted.get("headers", {}).get("content-length", "")) == "0"
    if body in (None, "") or empty_on_wire:
        if exchange.body.strip():
            found.append("body: there is one, and the service sent none")
        return found
    ours = exchange.json()
    return found + shapes([body], [ours] if ours is not None else [exchange.body.decode(errors="replace")], "body")


def plain(content_type):
    return content_type.replace(" ", "").lower()


def shapes(recorded, ours, at):
    """Compares what all recorded values have in common, and may have, with our values."""
    found = []
    kinds, kind = {type_of(v) for v in recorded} - {"null"}, {type_of(v) for v in ours} - {"null"}
    if kinds and kind and not kind <= kinds:
        return [f"type {at}: {'/'.join(sorted(kind))}, recorded {'/'.join(sorted(kinds))}"]
    objects, own = [v for v in recorded if isinstance(v, dict)], [v for v in ours if isinstance(v, dict)]
    if objects and own and not OPEN_MAPS.search(at):
        always = set.intersection(*(set(o) for o in objects))
        sometimes = set().union(*(set(o) for o in objects))
        for name in sorted(always):
            if not all(name in o for o in own):
                found.append(f"missing {at}.{name}")
        for name in sorted(set().union(*(set(o) for o in own)) - sometimes):
            found.append(f"extra {at}.{name}")
        for name in sorted(sometimes):
            left, right = [o[name] for o in objects if name in o], [o[name] for o in own if name in o]
            if left and right:
                found += shapes(left, right, f"{at}.{name}")
    left = [one for v in recorded if isinstance(v, list) for one in v]
    right = [one for v in ours if isinstance(v, list) for one in v]
    if left and right:
        found += shapes(left, right, f"{at}[]")
    elif left and any(isinstance(v, list) for v in ours):
        found.append(f"empty {at}: recorded with entries")
    return found
