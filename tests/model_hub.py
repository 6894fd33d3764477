"""A Hub on loopback that serves folders as repositories, as far as `huggingface_hub` needs it to download.

with ModelHub({"ann/tiny": folder}, gated={"ann/gated"}) as hub: ... HF_ENDPOINT=hub.url
"""

import hashlib
import http.server
import json
import threading
import urllib.parse
from pathlib import Path


class ModelHub:
    """Serves each id's folder at one revision, its `main`. `requests` lists the paths that were asked for."""

    def __init__(self, models: dict[str, Path], gated: set[str] = frozenset(), datasets: dict | None = None):
        self.repos = {"models": models, "datasets": datasets or {}}
        self.gated, self.requests = gated, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def sha(self, kind: str, name: str) -> str:
        """The commit of a repository: a hash of its files' names and content."""
        found = hashlib.sha1(name.encode())
        for path in sorted(Path(self.repos[kind][name]).rglob("*")):
            if path.is_file():
                found.update(path.name.encode() + path.read_bytes())
        return found.hexdigest()

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ModelHub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        self.hub.requests.append(f"{self.command} {path}")
        kind = "datasets" if path.startswith(("datasets/", "api/datasets/")) else "models"
        rest = path.removeprefix("api/").removeprefix(f"{kind}/")
        name = next((n for n in self.hub.repos[kind] if rest == n or rest.startswith(n + "/")), None)
        if name is None and any(rest == n or rest.startswith(n + "/") for n in self.hub.gated):
            return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
        if name is None:
            return self.answer(401, b"", {"X-Error-Code": "RepoNotFound"})
        folder, words = Path(self.hub.repos[kind][name]), rest.removeprefix(name).strip("/").split("/")
        sha = self.hub.sha(kind, name)
        if len(words) > 1 and words[1] not in ("main", sha):
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if path.startswith("api/"):
            files = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file()]
            body: object = {"id": name, "sha": sha, "siblings": [{"rfilename": f} for f in files]}
            if words[0] == "tree":
                base = folder / "/".join(words[2:])
                below = sorted(base.rglob("*") if "recursive=true" in self.path.lower() else base.glob("*"))
                body = [{"type": "directory" if p.is_dir() else "file", "oid": sha, "size": p.stat().st_size,
                         "path": p.relative_to(folder).as_posix()} for p in below]  # fmt: skip
            elif words[0] not in ("", "revision"):
                return self.answer(404, b"")
            return self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})
        if name in self.hub.gated:  # as on the real Hub: its description is public, its files are not
            return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
        file = (folder / "/".join(words[2:])).resolve()
        if words[0] != "resolve" or not file.is_relative_to(folder.resolve()) or not file.is_file():
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
        body = file.read_bytes()
        etag = hashlib.sha256(body).hexdigest()
        return self.answer(200, body, {"ETag": f'"{etag}"', "X-Repo-Commit": sha})

    def answer(self, status: int, body: bytes, headers: dict | None = None):
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
