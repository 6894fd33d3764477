"""A Hub on loopback: the list of models with cursors and quotas, repositories' files, and faults on demand.

    with FakeHub(records, {"ann/tiny": folder}, gated={"ann/gated"}) as hub: ... HF_ENDPOINT=hub.url ...

`hub.models` maps id to record and may change while it serves, as the real one does. Each folder is a
repository at one revision, its `main`. `hub.requests` lists what was asked for, as "GET path". `hub.faults`
is a list of functions handler -> bool, each used for one request; True means it has answered. In
`hub.faults_at`, such lists wait for requests like their key, a pattern. `hub.always` is a list of such
functions for all requests. `hub.before(n)` is called before request n.
"""

import base64
import bisect
import hashlib
import json
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlencode, urlsplit


class FakeHub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, records=(), models=None, datasets=None, gated=(), quota=None, window=300):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.models = {record["id"]: record for record in records}
        self.repos, self.gated = {"models": models or {}, "datasets": datasets or {}}, set(gated)
        self.faults, self.faults_at, self.always, self.requests = [], {}, [], []
        self.refused, self.redirects = {}, {}
        self.tokens, self.raw, self.before = set(), {}, lambda number: None
        self.quota, self.window, self.left, self.renewed = quota, window, quota, time.monotonic()
        self.broken_quota = 0  # requests that came although the quota was used up
        self.frozen, self.orders = False, {}  # frozen: the models stay as they are, so sort them once
        self.is_always_descending = False  # whatever `direction` asks for
        self.lock = threading.Lock()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # a client that was killed, as some tests do

    def sha(self, kind: str, name: str) -> str:
        """The commit of a repository: a hash of its files' names and content."""
        found = hashlib.sha1(name.encode())
        for path in sorted(Path(self.repos[kind][name]).rglob("*")):
            if path.is_file():
                found.update(path.name.encode() + path.read_bytes())
        return found.hexdigest()

    def page(self, query: dict) -> tuple[list, str | None]:
        """A page of the list and the cursor of the next; the cursor is the key of the last record on it."""
        field = query.get("sort", ["createdAt"])[0]
        down = self.is_always_descending or query.get("direction", ["-1"])[0] == "-1"
        limit = min(int(query.get("limit", ["1000"])[0]), 1000)
        if (order := self.orders.get((field, down))) is None:
            order = sorted(self.models.values(), key=lambda r: (r.get(field) or "", r["id"]), reverse=down)
            if self.frozen:
                self.orders[field, down] = order
        for name, key in (("author", "author"), ("pipeline_tag", "pipeline_tag")):
            if name in query:
                order = [record for record in order if record.get(key) == query[name][0]]
        if "filter" in query:
            order = [record for record in order if query["filter"][0] in record.get("tags", [])]
        start = 0
        if "cursor" in query:
            after = tuple(json.loads(base64.urlsafe_b64decode(query["cursor"][0])))
            if down:
                start = sum((r.get(field) or "", r["id"]) >= after for r in order)
            else:
                start = bisect.bisect_right(order, after, key=lambda r: (r.get(field) or "", r["id"]))
        page, more = order[start : start + limit], len(order) > start + limit
        last = page and json.dumps([page[-1].get(field) or "", page[-1]["id"]]).encode()
        return page, base64.urlsafe_b64encode(last).decode() if more else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a small answer waits 40 ms for an acknowledgement

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, url = self.server, urlsplit(self.path)
        path, query = unquote(url.path).strip("/"), parse_qs(url.query)
        asked, out = f"{self.command} {path}", False
        with hub.lock:
            hub.requests.append(asked)
            hub.tokens.add(self.headers.get("authorization"))
            hub.before(len(hub.requests))
            faults = next(
                (f for like, f in hub.faults_at.items() if f and re.search(like, asked)), hub.faults
            )
            fault = faults.pop(0) if faults else fine
            if hub.quota is not None and fault is fine:
                if time.monotonic() - hub.renewed >= hub.window:
                    hub.left, hub.renewed = hub.quota, time.monotonic()
                out = hub.left == 0
                hub.broken_quota += out
                hub.left -= not out
        if fault(self) or any(rule(self) for rule in hub.always):
            return
        if out:
            return self.answer(429, {"error": "rate limited"})
        kind = "datasets" if path.startswith(("datasets/", "api/datasets/")) else "models"
        rest = path.removeprefix("api/").removeprefix(f"{kind}/")
        name = next((n for n in hub.repos[kind] if rest == n or rest.startswith(n + "/")), None)
        if name is None and any(rest == n or rest.startswith(n + "/") for n in hub.gated):
            return self.answer(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        if name:
            words = rest.removeprefix(name).strip("/").split("/")
            return self.repository(kind, name, words, api=path.startswith("api/"), query=query)
        if path.startswith("api/models"):
            return self.records(path, query)
        self.answer(404, {"error": "no such page"}, {"X-Error-Code": "RepoNotFound"})

    def records(self, path: str, query: dict):
        """The list of models, or one of those that have no files."""
        hub = self.server
        if path == "api/models":
            page, cursor = hub.page(query)
            link = {}
            if cursor:
                query["cursor"] = [cursor]
                link = {"Link": f'<{hub.url}/{path}?{urlencode(query, doseq=True)}>; rel="next"'}
            return self.answer(
                200, b"[" + b",".join(self.shape(record, query) for record in page) + b"]", link
            )
        name = path.removeprefix("api/models/")
        if name not in hub.models and name not in hub.redirects:
            self.redirect_to_usual_case(name)
        if name in hub.redirects:
            words = urlencode(query, doseq=True)
            return self.answer(307, {}, {"Location": f"/api/models/{hub.redirects[name]}?{words}"})
        if name in hub.refused:
            code, headers = hub.refused[name]
            return self.answer(code, {"error": "refused"}, headers)
        if name not in hub.models:
            return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        return self.answer(200, self.shape(hub.models[name], query))

    def redirect_to_usual_case(self, name: str):
        """Note a redirection from an id in other letter case, as on the real Hub."""
        hub = self.server
        usual = {known.casefold(): known for known in [*hub.redirects, *hub.repos["models"], *hub.models]}
        known = usual.get(name.casefold(), name)
        if known != name:
            hub.redirects[name] = hub.redirects.get(known, known)

    def repository(self, kind: str, name: str, words: list[str], api: bool, query: dict):
        """What the Hub says of a repository (api), or one of its files."""
        hub, folder = self.server, Path(self.server.repos[kind][name])
        sha = hub.sha(kind, name)
        if len(words) > 1 and words[1] not in ("main", sha):
            return self.answer(404, {}, {"X-Error-Code": "RevisionNotFound"})
        if api and words[0] == "tree":
            base = folder / "/".join(words[2:])
            whole = query.get("recursive", ["false"])[0].lower() == "true"
            below = sorted(base.rglob("*") if whole else base.glob("*"))
            body = [{"type": "directory" if p.is_dir() else "file", "oid": sha, "size": p.stat().st_size,
                     "path": p.relative_to(folder).as_posix()} for p in below]  # fmt: skip
            return self.answer(200, json.dumps(body).encode())
        if api and words[0] in ("", "revision"):
            files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
            listed = [
                {"rfilename": p.relative_to(folder).as_posix(), "size": p.stat().st_size} for p in files
            ]
            found = {"id": name, "sha": sha, "siblings": listed}
            return self.answer(200, self.shape(hub.models.get(name, {}) | found, query))
        if name in hub.gated:  # as on the real Hub: its description is public, its files are not
            return self.answer(403, {}, {"X-Error-Code": "GatedRepo"})
        file = (folder / "/".join(words[2:])).resolve()
        if words[0] != "resolve" or not file.is_relative_to(folder.resolve()) or not file.is_file():
            return self.answer(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
        content = file.read_bytes()
        head = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": sha}
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start:
            head["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.answer(206 if start else 200, content[start:], head)

    def shape(self, record: dict, query: dict) -> bytes:
        """A record as the Hub shows it: the expanded fields and what it always sends."""
        if record["id"] in self.server.raw:
            return self.server.raw[record["id"]]
        wanted = set(query.get("expand", record)) | {"id"}
        visible = {key: value for key, value in record.items() if key in wanted}
        return compact({"_id": "0" * 24, **visible, "modelId": record["id"]})

    def answer(self, code: int, body: bytes | dict, headers=()):
        body, hub = body if isinstance(body, bytes) else json.dumps(body).encode(), self.server
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if hub.quota is not None:
            reset = max(0, -int(-(hub.window - (time.monotonic() - hub.renewed)) // 1))
            self.send_header("RateLimit", f'"api";r={hub.left};t={reset}')
            self.send_header("RateLimit-Policy", f'"fixed window";"api";q={hub.quota};w={hub.window}')
        for key, value in dict(headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.send(body)

    def send(self, body: bytes):
        self.wfile.write(body)


def compact(value: object) -> bytes:
    """JSON as the Hub writes it: no spaces, UTF-8; lone surrogates, which have no UTF-8, are escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


# ── Faults: each answers one request wrongly ──────────────────────────────────────────────────────────────


def status(code: int, **headers):
    def fault(handler):
        handler.answer(code, b"<html>busy</html>", {k.replace("_", "-"): v for k, v in headers.items()})
        return True

    return fault


def reset(handler):
    """Breaks the connection with an RST."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    return True


def cut(handler):
    """Promises a thousand bytes and sends ten."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'[{"id": "a')
    handler.close_connection = True
    return True


def invalid(handler):
    handler.answer(200, b'[{"id": "bert", "tags": [')
    return True


def stall(seconds: float):
    def fault(handler):
        time.sleep(seconds)
        handler.close_connection = True
        return True

    return fault


def fine(handler):
    """No fault: the request is answered as it should be."""
    return False


def token_is_expired(handler):
    """Answers as the real Hub does to any request with an expired token, the public models' too."""
    if not handler.headers.get("authorization"):
        return False
    text = 'User Access Token "research" is expired'
    handler.answer(401, {"error": text}, {"X-Error-Message": text})
    return True


def parameters(handler) -> dict[str, list[str]]:
    """Return the parameters of a request's URL."""
    return parse_qs(urlsplit(handler.path).query)


def refuses(code: int, key: str, value: str, text: str = "Invalid option"):
    """Answers with `code` where the URL has this parameter."""

    def rule(handler):
        is_refused = value in parameters(handler).get(key, [])
        if is_refused:
            handler.answer(code, {"error": text}, {"X-Error-Message": text})
        return is_refused

    return rule


def no_listing(code: int, body: bytes = b'{"error":"Not Found"}'):
    """Answers as a mirror does that hands on models but no list of them."""

    def rule(handler):
        is_listing = urlsplit(handler.path).path == "/api/models"
        if is_listing:
            handler.answer(code, body)
        return is_listing

    return rule


def overloaded_above(size: int, code: int = 504):
    """Answers 5xx to pages of more than `size` models."""

    def rule(handler):
        is_too_large = int(parameters(handler).get("limit", ["0"])[0]) > size
        if is_too_large:
            handler.answer(code, b"<html>timeout</html>")
        return is_too_large

    return rule


def half(then=lambda handler: None):
    """Sends half of a body, then does `then` and closes."""

    def fault(handler):
        def send(body: bytes):
            handler.wfile.write(body[: len(body) // 2])
            handler.wfile.flush()
            then(handler)
            handler.close_connection = True

        handler.send = send
        return False

    return fault
