"""The official OpenAPI (Swagger 2.0) documents: which operation a request is, and what its answer may be."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

# Levels of nesting that are looked into.
DEPTH = 12
OPTIONAL = ("{project}", "{team}")
# Ends of paths that the documents always have and requests may not.
OPTIONAL_ENDS = ("{path}", "{timelineId}")
DATE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
GUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
# Documented by the fields of a .NET class; on the wire they are any JSON, or a map of names.
ANYTHING = ("JObject", "JToken", "PropertiesCollection")
# What everything that goes wrong is said with.
ERROR = {"$id": str, "message": str, "typeName": str, "typeKey": str, "errorCode": int, "eventId": int}


@dataclass
class Operation:
    """One documented operation; overloads of a path and method are several of these."""

    document: "Document"
    method: str
    template: str
    parts: list
    raw: dict

    @property
    def name(self):
        return self.raw.get("operationId", self.template)

    def statuses(self):
        return {int(status) for status in self.raw["responses"] if status.isdigit()}

    def answer(self):
        for status, response in self.raw["responses"].items():
            if status.startswith("2"):
                return response.get("schema")
        return None

    def request(self):
        return next((p["schema"] for p in self.raw.get("parameters", []) if p.get("in") == "body"), None)


class Document:
    def __init__(self, path):
        self.name = path.stem
        raw = json.loads(path.read_text(encoding="utf-8-sig"))
        self.definitions = raw["definitions"]
        self.operations = []
        for template, methods in {**raw["paths"], **raw.get("x-ms-paths", {})}.items():
            parts = [p for p in template.split("?")[0].split("/") if p and p != "{organization}"]
            for method, operation in methods.items():
                if isinstance(operation, dict) and "responses" in operation:
                    self.operations.append(Operation(self, method.upper(), template, parts, operation))


class Library:
    def __init__(self, folder):
        self.documents = [Document(path) for path in sorted(Path(folder).glob("*.json"))]

    def find(self, method, segments):
        """The documented operations of a request, given its path after the organisation."""
        found, most = [], -1
        for document in self.documents:
            for operation in document.operations:
                if operation.method != method:
                    continue
                literal = fits(operation.parts, segments)
                if literal is not None and literal >= most:
                    found = [operation] if literal > most else [*found, operation]
                    most = literal
        return found


def fits(parts, segments):
    """How many literal segments fit, or None. The project and the team may be missing."""
    ways = [parts]
    for optional in OPTIONAL:
        ways += [[p for p in way if p != optional] for way in ways if optional in way]
    ways += [way[:-1] for way in ways if way and way[-1] in OPTIONAL_ENDS]
    counts = [count for way in ways if (count := fits_exactly(way, segments)) is not None]
    return max(counts, default=None)


def fits_exactly(parts, segments):
    if len(parts) != len(segments):
        return None
    literal = 0
    for part, segment in zip(parts, segments):
        if part.startswith("${"):
            if not segment.startswith("$"):
                return None
            literal += 1
        elif part.startswith("{"):
            if segment.startswith(("_", "$")):
                return None
        elif part.lower() != segment.lower():
            return None
        else:
            literal += 1
    return literal


class Validator:
    """Compares a JSON value with a schema of one document. Differences are texts."""

    def __init__(self, document):
        self.definitions = document.definitions

    def check_answer(self, schema, body):
        if schema is None:
            return []
        schema, wrapped = self.resolve(schema), isinstance(body, dict) and "value" in body and "count" in body
        if schema.get("type") == "array" and wrapped:
            # Documented as an array, sent as a collection.
            extra = [f"extra {name}" for name in body if name not in ("count", "value")]
            counted = [] if body["count"] == len(body["value"]) else ["count is not the number of values"]
            return extra + counted + self.check(schema, body["value"], "value")
        return self.check(schema, body, "")

    def resolve(self, schema):
        while "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            if name == "ReferenceLinks":
                # Documented as {links: ...}; everywhere on the wire the links themselves.
                return {"type": "object", "additionalProperties": {"type": "object"}}
            schema = {} if name in ANYTHING else self.definitions.get(name, {})
        return schema

    def properties(self, schema):
        schema = self.resolve(schema)
        found = {}
        for base in schema.get("allOf", []):
            found.update(self.properties(base))
        found.update(schema.get("properties", {}))
        return found

    def check(self, schema, value, at, depth=0):
        schema = self.resolve(schema)
        if depth > DEPTH or not schema:
            return []
        kind = schema.get("type", "object" if "properties" in schema or "allOf" in schema else None)
        if value is None:
            return [f"null {at}"]
        if kind == "array":
            return self.check_array(schema, value, at, depth)
        if kind == "object":
            return self.check_object(schema, value, at, depth)
        return check_plain(kind, schema, value, at)

    def check_array(self, schema, value, at, depth):
        if not isinstance(value, list):
            return [f"type {at}: {type_of(value)}, documented array"]
        found = []
        for entry in value:
            found += self.check(schema.get("items", {}), entry, f"{at}[]", depth + 1)
        return list(dict.fromkeys(found))

    def check_object(self, schema, value, at, depth):
        known, more = self.properties(schema), schema.get("additionalProperties")
        if not known and not isinstance(more, dict):
            return []  # documented as anything at all
        if not isinstance(value, dict):
            return [f"type {at}: {type_of(value)}, documented object"]
        found = []
        for name, inner in value.items():
            place = f"{at}.{name}" if at else name
            if name in known:
                found += self.check(known[name], inner, place, depth + 1)
            elif isinstance(more, dict):
                found += self.check(more, inner, f"{at}.*", depth + 1)
            else:
                found.append(f"extra {place}")
        return found


def check_plain(kind, schema, value, at):
    fine = {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, (int, float)) and not isinstance(value, bool),
    }.get(kind, True)
    if not fine:
        return [f"type {at}: {type_of(value)}, documented {kind}"]
    if kind == "string" and "enum" in schema:
        known = {str(one).lower() for one in schema["enum"]}
        if not all(one.strip().lower() in known for one in value.split(",")):
            return [f"enum {at}: {value!r}"]
    if schema.get("format") == "date-time" and not DATE.match(value):
        return [f"format {at}: {value!r} is no date"]
    if schema.get("format") == "uuid" and not GUID.match(value):
        return [f"format {at}: {value!r} is no GUID"]
    return []


def check_error(body):
    if not isinstance(body, dict):
        return ["the error has no JSON body"]
    if set(body) == {"Message"}:
        return []  # what the routing layer says
    found = [f"missing {name}" for name in ERROR if name not in body]
    found += [f"type {name}: {type_of(body[name])}" for name, kind in ERROR.items()
              if name in body and not isinstance(body[name], kind)]
    return found


def type_of(value):
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
