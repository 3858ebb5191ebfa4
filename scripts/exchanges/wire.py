"""Reads the exchanges that the relay of the tests wrote down: two byte streams for each connection."""

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Exchange:
    """One request with its answer. Header names are lower case."""

    method: str
    url: str
    request_headers: dict
    request_body: bytes
    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self):
        return self.url.split("?", 1)[0]

    def json(self):
        """The answer as JSON, or None when it is something else."""
        return parse_json(self.body) if "json" in self.headers.get("content-type", "") else None

    def request_json(self):
        return parse_json(self.request_body)


def parse_json(data):
    try:
        return json.loads(data.decode("utf-8-sig"))
    except ValueError:
        return None


class Cut(Exception):
    """The stream ends in the middle of a message."""


def read_folder(folder):
    """Every whole exchange in a folder of the relay's files."""
    for requests in sorted(Path(folder).glob("*.requests")):
        asked, answered = Stream(requests.read_bytes()), Stream(requests.with_suffix(".responses").read_bytes())
        try:
            while asked.left():
                yield read_exchange(asked, answered)
        except Cut:
            continue  # a fault on purpose, or a client that went away


def read_exchange(asked, answered):
    line, headers = asked.head()
    method, url, _ = line.split(" ", 2)
    exchange = Exchange(method, url, headers, asked.body(headers, to_end=False))
    while True:
        line, exchange.headers = answered.head()
        exchange.status = int(line.split(" ", 2)[1])
        if exchange.status >= 200:
            break
    if method != "HEAD" and exchange.status not in (204, 304):
        exchange.body = answered.body(exchange.headers, to_end=True)
        if exchange.headers.get("content-encoding") == "gzip":
            exchange.body = gzip.decompress(exchange.body)
    return exchange


class Stream:
    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return self.at < len(self.data)

    def take(self, count):
        if self.at + count > len(self.data):
            raise Cut
        self.at += count
        return self.data[self.at - count:self.at]

    def line(self):
        end = self.data.find(b"\r\n", self.at)
        if end < 0:
            raise Cut
        text = self.data[self.at:end].decode("latin-1")
        self.at = end + 2
        return text

    def head(self):
        first, headers = self.line(), {}
        while text := self.line():
            name, value = text.split(":", 1)
            name = name.strip().lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
        return first, headers

    def body(self, headers, to_end):
        if "chunked" in headers.get("transfer-encoding", ""):
            parts = []
            while size := int(self.line().split(";")[0], 16):
                parts.append(self.take(size))
                self.line()
            while self.line():
                pass
            return b"".join(parts)
        if "content-length" in headers:
            return self.take(int(headers["content-length"]))
        return self.take(len(self.data) - self.at) if to_end else b""
