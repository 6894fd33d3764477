"""A Hub on loopback: the list of models with cursors and quotas, single models, and faults on demand.

    with FakeHub(records) as hub: ... hub.url ...

`hub.models` maps id to record and may change while it serves, as the real one does. `hub.faults` is a list of
functions handler -> bool, each used for one request; True means it has answered. `hub.before(n)` is called
before request n. Files of models belong into `Handler.file`, by path.
"""

import base64
import bisect
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlencode, urlsplit


class FakeHub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, records=(), quota=None, window=300):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.models = {record["id"]: record for record in records}
        self.faults, self.requests, self.refused, self.redirects = [], [], {}, {}
        self.tokens, self.raw, self.before = set(), {}, lambda number: None
        self.quota, self.window, self.left, self.renewed = quota, window, quota, time.monotonic()
        self.broken_quota = 0  # requests that came although the quota was used up
        self.frozen, self.orders = False, {}  # frozen: the models stay as they are, so sort them once
        self.lock = threading.Lock()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # a client that was killed, as some tests do

    def page(self, query: dict) -> tuple[list, str | None]:
        """A page of the list and the cursor of the next; the cursor is the key of the last record on it."""
        field = query.get("sort", ["createdAt"])[0]
        down = query.get("direction", ["-1"])[0] == "-1"
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

    def do_GET(self):
        hub = self.server
        with hub.lock:
            hub.requests.append(self.path)
            hub.tokens.add(self.headers.get("authorization"))
            hub.before(len(hub.requests))
            if hub.faults and hub.faults.pop(0)(self):
                return
            if hub.quota is not None:
                if time.monotonic() - hub.renewed >= hub.window:
                    hub.left, hub.renewed = hub.quota, time.monotonic()
                if hub.left == 0:
                    hub.broken_quota += 1
                    return self.answer(429, {"error": "rate limited"})
                hub.left -= 1
            self.route(urlsplit(self.path))

    def route(self, url):
        path, query, hub = unquote(url.path), parse_qs(url.query), self.server
        if path == "/api/models":
            page, cursor = hub.page(query)
            link = {}
            if cursor:
                query["cursor"] = [cursor]
                link = {"Link": f'<{hub.url}{path}?{urlencode(query, doseq=True)}>; rel="next"'}
            body = b"[" + b",".join(self.shape(record, query) for record in page) + b"]"
            return self.answer(200, body, link)
        if path.startswith("/api/models/"):
            name = path.removeprefix("/api/models/")
            if name in hub.redirects:
                return self.answer(307, {}, {"Location": f"/api/models/{hub.redirects[name]}?{url.query}"})
            if name in hub.refused:
                code, headers = hub.refused[name]
                return self.answer(code, {"error": "refused"}, headers)
            if name not in hub.models:
                return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return self.answer(200, self.shape(hub.models[name], query))
        return self.file(path)

    def file(self, path):
        """Files of models (/{id}/resolve/{revision}/{file}) are not served yet."""
        self.answer(404, {"error": "no such page"})

    def shape(self, record: dict, query: dict) -> bytes:
        """A record as the Hub shows it: the expanded fields and what it always sends."""
        if record["id"] in self.server.raw:
            return self.server.raw[record["id"]]
        wanted = set(query.get("expand", record)) | {"id"}
        shown = {key: value for key, value in record.items() if key in wanted}
        return json.dumps({"_id": "0" * 24, **shown, "modelId": record["id"]}).encode()

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
        self.wfile.write(body)


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
