#!/usr/bin/env python3
"""Compares the simulated organisation with the official documents and with recordings of the live service.

Three checks, one table:
- routes: every location that it says it serves is one of the service's, with its template and versions;
- replay: every recording that has an equivalent here is asked of a fresh simulated organisation; status,
  headers, field names and types must be those of the recording;
- documents: every exchange that the tests wrote down (and every one of the replay) must fit the official
  OpenAPI schema of its operation.
What differs must be in exchanges/known.toml with its reason; anything else fails.
"""

import argparse
import fnmatch
import json
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from urllib.parse import unquote

sys.dont_write_bytecode = True
from exchanges import openapi, replay, wire  # noqa: E402

HERE = Path(__file__).resolve().parent
# Headers of every answer of the service below _apis.
ALWAYS = ("activityid", "x-tfs-processid", "x-tfs-session", "x-vss-e2eid", "x-frame-options", "cache-control")
READY_SECONDS = 60


class Known:
    """The differences that are meant, each with its reason."""

    def __init__(self, path):
        self.entries = tomllib.loads(path.read_text())["difference"]
        self.used = Counter()

    def reason(self, check, subject, difference):
        for number, entry in enumerate(self.entries):
            fits = entry.get("check", check) == check
            if fits and fnmatch.fnmatchcase(subject, entry["subject"]) and fnmatch.fnmatchcase(difference, entry["difference"]):
                self.used[number] += 1
                return entry["reason"]
        return None

    def unused(self):
        return [entry for number, entry in enumerate(self.entries) if not self.used[number]]


class Table:
    """What was compared, and how it came out."""

    def __init__(self, known):
        self.known = known
        self.counts = defaultdict(Counter)
        self.unknown = {}
        self.explained = defaultdict(set)
        # Differences from the documents that the service itself shows, and where; by operation.
        self.shown = defaultdict(dict)

    def add(self, check, subject, differences, where=""):
        outcome = "same"
        for difference in differences:
            reason = self.known.reason(check, subject, escape(difference))
            if reason:
                outcome = "known" if outcome == "same" else outcome
                self.explained[reason].add(subject)
            else:
                outcome = "DIFFERS"
                self.unknown.setdefault((check, subject, difference), where)
        self.counts[check, subject][outcome] += 1

    def skip(self, check, subject, why):
        self.counts[check, subject]["none"] += 1
        self.explained[why].add(subject)

    def print(self, quiet):
        for (check, subject), counts in sorted(self.counts.items()):
            if counts["DIFFERS"] or not quiet:
                print(f"{check:9} {subject:86} " + ", ".join(f"{n} {what}" for what, n in counts.items()))
        if not quiet:
            print("\nwhy:")
            for reason, subjects in sorted(self.explained.items()):
                print(f"- {reason} ({len(subjects)})")
        totals = Counter()
        for (check, _), counts in self.counts.items():
            for what, number in counts.items():
                totals[f"{check} {what}"] += number
        print("\n" + ", ".join(f"{what}: {number}" for what, number in sorted(totals.items())))
        if self.unknown:
            print("\nunknown differences (a fault to be mended, or a line for exchanges/known.toml):")
            for (check, subject, difference), where in sorted(self.unknown.items()):
                print(f"- {check} {subject}: {difference}" + (f"   [{where}]" if where else ""))


def escape(text):
    """fnmatch reads brackets as sets of characters; ours are the mark of a list."""
    return text.replace("[]", "()")


class Simulation:
    def __init__(self, binary):
        self.folder = tempfile.TemporaryDirectory(prefix="exchanges-")
        # Nothing of this machine's settings, as in the tests.
        self.process = subprocess.Popen(
            [Path(binary).resolve(), "simulate", "--simulator-port", "0", "--pace", "0"],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=self.folder.name, env={}, text=True)
        line = self.process.stdout.readline().split()
        if line[:1] != ["ready"]:
            raise SystemExit(f"{binary} simulate did not get ready; it said {line}")
        self.url = line[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(READY_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.folder.cleanup()


def check_routes(routes, shared, table):
    """Our table of routes against the service's own: official clients fill templates in by name."""
    known = {}
    for path in sorted((shared / "discovery").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        for entry in found.get("value", []) if isinstance(found, dict) else found:
            if "routeTemplate" in entry:
                known[entry["id"].lower()] = entry
    for own in routes:
        subject, theirs = f"{own['area']}/{own['resourceName']}", known.get(own["id"].lower())
        if theirs is None:
            table.add("routes", subject, ["no such location"], own["id"])
            continue
        table.add("routes", subject, [f"{name} {own[name]!r}, the service has {theirs[name]!r}"
                                      for name in own if own[name] != theirs.get(name)], own["id"])


def replay_all(folder, binary, table):
    """Replays every recording; the exchanges that it made."""
    made = []
    with Simulation(binary) as simulation:
        organisation = replay.Organisation(simulation.url)
        routes = json.loads(organisation.send("OPTIONS", "_apis").body)["value"]
        check_routes(routes, folder.parent, table)
        for path in sorted(folder.rglob("*.json")):
            for number, recording in enumerate(json.loads(path.read_text(encoding="utf-8-sig"))):
                subject = f"{path.parent.name}/{path.stem}"
                try:
                    exchange = replay.replay(organisation, routes, recording)
                except replay.NoEquivalent as why:
                    table.skip("replay", subject, str(why))
                    continue
                except replay.Unprepared as why:
                    table.add("replay", subject, [f"the state could not be made: {why}"], f"recording {number}")
                    continue
                made.append(exchange)
                table.add("replay", subject, replay.compare(recording, exchange), f"recording {number}")
    return made


def segments_of(path):
    """The path after the organisation; None when it is not the REST API."""
    parts = [unquote(s) for s in path.split("/") if s]
    if parts[:2] == ["tfs", "DefaultCollection"]:
        parts = parts[2:]
    elif parts and not parts[0].startswith("_"):
        parts = parts[1:]
    return parts if any(p.lower() == "_apis" for p in parts) else None


def check_document(library, exchange, table, statuses):
    segments = segments_of(exchange.path)
    if segments is None or exchange.method in ("OPTIONS", "HEAD"):
        return
    where = f"{exchange.method} {exchange.url[:110]}"
    operations = library.find(exchange.method, segments)
    named = "/".join(s for s in operations[0].parts if s != "{project}") if operations else generic(segments)
    subject = f"{exchange.method} {named}"
    found = [f"header {name} is missing" for name in ALWAYS if name not in exchange.headers]
    if exchange.status >= 400 or exchange.status in (203, 302):
        table.add("documents", f"{subject} refused", found + refusal(exchange), where)
        return
    if not operations:
        table.add("documents", subject, [*found, "the operation is not documented"], where)
        return
    differences = found + closest(operations, exchange, statuses)
    shown = table.shown[subject_of(operations[0])]
    table.add("documents", subject, [one for one in differences if one not in shown], where)
    for source in {shown[one] for one in differences if one in shown}:
        table.explained[f"the document is wrong: {source} show the same"].add(subject)


def subject_of(operation):
    return operation.method, tuple(part.lower() for part in operation.parts)


def closest(operations, exchange, statuses):
    """The differences from the overload of an operation that fits best."""
    return min((against(operation, exchange, statuses) for operation in operations), key=len)


def generic(segments):
    """A route nobody documents, without what changes from call to call."""
    at = [s.lower() for s in segments].index("_apis")
    return "/".join("{}" if s.isdigit() or openapi.GUID.match(s) or "." in s else s for s in segments[at:])


def refusal(exchange):
    if exchange.status in (203, 302, 401) and exchange.json() is None:
        return [] if "www-authenticate" in exchange.headers or exchange.status != 401 else ["no WWW-Authenticate"]
    if exchange.headers.get("content-type", "").startswith("text/plain"):
        return [] if "x-tfs-serviceerror" in exchange.headers else ["header x-tfs-serviceerror is missing"]
    return openapi.check_error(exchange.json())


def against(operation, exchange, statuses):
    found = []
    allowed = operation.statuses() | statuses[subject_of(operation)]
    if exchange.status not in allowed:
        found.append(f"status {exchange.status}, documented or recorded {sorted(allowed)}")
    validator = openapi.Validator(operation.document)
    if operation.request() and (body := exchange.request_json()) is not None:
        found += [f"request {one}" for one in validator.check(operation.request(), body, "")]
    answer = exchange.json()
    if answer is not None and operation.answer():
        found += validator.check_answer(operation.answer(), answer)
    return found


def samples(shared):
    """What the live service answered: recordings, and the official examples beside the documents."""
    for path in sorted((shared / "recordings").rglob("*.json")):
        for one in json.loads(path.read_text(encoding="utf-8-sig")):
            request, response = one["request"], one["response"]
            yield "recordings of the service", wire.Exchange(
                request["method"], request["url"], {}, as_bytes(request.get("body")), response["status"],
                {"content-type": "application/json"}, as_bytes(response.get("body")))
    for path in sorted((shared / "openapi" / "examples").rglob("*.json")):
        one = json.loads(path.read_text(encoding="utf-8-sig"))
        method = one.get("x-ms-vss-request-method") or path.name.split("_")[0]
        asked = as_bytes(one.get("parameters", {}).get("body"))
        for status, response in one.get("responses", {}).items():
            if status.isdigit() and "x-ms-vss-request-url" in one:
                yield "official examples", wire.Exchange(
                    method.upper(), one["x-ms-vss-request-url"], {}, asked, int(status),
                    {"content-type": "application/json"}, as_bytes(response.get("body")))


def as_bytes(body):
    return json.dumps(body).encode() if isinstance(body, (dict, list)) else b""


def learn(library, shared, table):
    """Statuses, and differences from the documents, that the live service itself shows; by operation."""
    statuses, found = defaultdict(set), []
    for source, exchange in samples(shared):
        address = exchange.path.split("/", 3)
        segments = segments_of("/" + address[3]) if len(address) > 3 else None
        operations = library.find(exchange.method, segments) if segments else []
        for operation in operations:
            statuses[subject_of(operation)].add(exchange.status)
        if operations and exchange.status < 300:
            found.append((source, operations, exchange))
    for source, operations, exchange in found:
        for difference in closest(operations, exchange, statuses):
            table.shown[subject_of(operations[0])].setdefault(difference, source)
    return statuses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = HERE.parent
    parser.add_argument("--binary", default=root / "target/debug/ado-coworker", help="the built program")
    parser.add_argument("--shared", type=Path, default=root.parent / "shared/azure-devops", help="documents and recordings")
    parser.add_argument("--exchanges", type=Path, help="folder that the tests filled (ADO_COWORKER_TEST_EXCHANGES)")
    parser.add_argument("--known", type=Path, default=HERE / "exchanges/known.toml", help="differences that are meant")
    parser.add_argument("--quiet", action="store_true", help="only what differs, and the totals")
    options = parser.parse_args()
    if not (options.shared / "recordings").is_dir():
        parser.error(f"{options.shared} has no recordings; --shared names the folder with openapi/ and recordings/")
    table = Table(Known(options.known))
    exchanges = replay_all(options.shared / "recordings", options.binary, table)
    replayed = len(exchanges)
    if options.exchanges:
        exchanges += wire.read_folder(options.exchanges)
    library = openapi.Library(options.shared / "openapi")
    statuses = learn(library, options.shared, table)
    for exchange in exchanges:
        check_document(library, exchange, table, statuses)
    table.print(options.quiet)
    for entry in table.known.unused():
        print(f"not seen this time: {entry['subject']}: {entry['difference']}")
    passed = sum(counts["same"] + counts["known"] for counts in table.counts.values())
    print(f"{len(exchanges)} exchanges, {replayed} of them replayed recordings")
    print(f"{passed} passed, {len(table.unknown)} failed")
    if options.exchanges and len(exchanges) == replayed:
        print(f"{options.exchanges} holds no exchanges: run the tests with ADO_COWORKER_TEST_EXCHANGES first")
        return 1
    return 1 if table.unknown else 0


if __name__ == "__main__":
    sys.exit(main())
