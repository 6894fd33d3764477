"""Packages, licenses, pickles, connections and secrets: what the scripts run, contact and reveal.

Networks are watched by an audit hook in every Python process that a script starts. Sockets that a library
opens in Rust (hf_xet, for large files of the real Hub) are not seen by it.
"""

import ast
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import dependencies
import sentiment_analysis
from fake_hub import FakeHub
from harness.checkpoint import describe_error
from project import ROOT, SCRIPTS
from zoo import COCO, coco_folder, encoded, examples, measure, photo

FOLDERS = (ROOT, ROOT / "scored", ROOT / "reproducibility", ROOT / "reproducibility" / "harness")
SOURCES = sorted(path for folder in FOLDERS for path in folder.glob("*.py"))
SECRET, OTHER, PASSWORD = "S3cret" * 6, "hf_" + "0ther" * 6, "Passw0rd"  # ours, someone's, a URL's
WATCH = """
import os, sys

def watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        address = args[1] if event in ("socket.connect", "socket.sendto") else args
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"  # a path: a socket of this machine
        if host not in ("127.0.0.1", b"127.0.0.1", "::1", "localhost") or os.environ.get("WATCH_ALL"):
            with open(os.environ["WATCH"], "a") as file:
                file.write(f"{event} {address}\\n")
            raise ConnectionRefusedError("no network in this test")

sys.addaudithook(watch)
"""


@pytest.fixture
def watched(tmp_path):
    """An environment in which every process notes where it would connect to; and those notes."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCH)
    notes, drop = tmp_path / "connections", ("HF_", "HUGGING", "DO_NOT_TRACK", "DISABLE_TELEMETRY")
    env = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    env |= {"PYTHONPATH": str(tmp_path / "site"), "WATCH": str(notes), "HF_HOME": str(tmp_path / "hf")}
    return env, lambda: notes.read_text() if notes.exists() else ""


def run(script, *arguments: object, env: dict, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, *map(str, [script, *arguments])]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, **kwargs)


def measured(script: str, folder, *arguments: object, env: dict) -> subprocess.CompletedProcess:
    places = ["--results", folder / f"{script}.json", "--predictions", folder / "p", "--device", "cpu"]
    return run(ROOT / "reproducibility" / f"{script}.py", *arguments, *places, env=env)


# ── What we rest on ───────────────────────────────────────────────────────────────────────────────────────


def test_imported_packages_are_pinned():
    """Each library that the code imports is pinned itself, not only brought by another one."""
    pypi_names = {"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn"}
    pypi_names["markdown_it"] = "markdown-it-py"
    ours, imported = {path.stem for path in SOURCES} | {"scored", "harness"}, set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
    packages = {pypi_names.get(name, name) for name in imported - ours - set(sys.stdlib_module_names)}
    pinned = {dependencies.normalize(pin.name) for pin in dependencies.pins("requirements.txt")}
    missing = {dependencies.normalize(name) for name in packages} - pinned
    assert missing == {"ray"} and len(packages) > 10  # cluster.py says how to install ray


def test_licenses_are_compatible_with_ours():
    """Check all that requirements.txt brings, directly or not."""
    packages = dependencies.installed(dependencies.WHOLE)
    pinned = {dependencies.normalize(pin.name) for pin in dependencies.pins("requirements.txt")}
    assert pinned < set(packages)
    for name, package in packages.items():
        stated = dependencies.license_of(package)
        assert re.search(r"Apache|MIT|BSD|PSF|Python Software|MPL|ISC|Kiwi", stated), (name, stated)
        assert not re.search(r"\bA?GPL|SSPL|Proprietary|Commercial", stated), (name, stated)


FORBIDDEN = (
    r"\b(pickle|joblib|dill|marshal|shelve)\b|torch\.load|allow_pickle|(?<!\.)\b(eval|exec)\(|unsafe_load"
)
FORBIDDEN += r"|yaml\.(full_)?load\(|weights_only=False|trust_remote_code=True|shell=True|os\.system"


def test_code_never_runs_what_it_reads():
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):  # words of messages and docstrings are no code
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = ""
        assert not re.search(FORBIDDEN, ast.unparse(tree)), path.name


class Payload:
    """What a malicious checkpoint holds: unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.tried(
    "a pickle with code as weights: three forms, two dtypes, each runner",
    18,
    "not loaded; the code did not run",
)
@pytest.mark.parametrize("kind", ["text", "image", "boxes"])
@pytest.mark.parametrize("form", ["zipped", "plain", "bare"])
@pytest.mark.parametrize("dtype", ["float32", "auto"])  # for auto, transformers reads the file once more
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_pickle_is_not_run(altered, zoo, tmp_path, kind, form, dtype):
    import torch
    from safetensors.torch import load_file

    folder, ran = altered(kind, weights=None, config={"dtype": None}), tmp_path / "ran"
    tensors, file = load_file(zoo / kind / "model.safetensors"), folder / "pytorch_model.bin"
    torch.save(tensors, file, _use_new_zipfile_serialization=form == "zipped")
    assert measure(kind, folder, examples(kind, tmp_path), dtype)  # plain tensors are read
    if form == "bare":
        file.write_bytes(pickle.dumps(Payload(ran)))
    else:
        torch.save(tensors | {"x": Payload(ran)}, file, _use_new_zipfile_serialization=form == "zipped")
    with pytest.raises(Exception) as why:
        measure(kind, folder, examples(kind, tmp_path), dtype)
    assert "its pickled weights hold more than tensors" in describe_error(why.value)
    assert not ran.exists()
    pickle.loads(file.read_bytes() if form == "bare" else pickle.dumps(Payload(ran)))
    assert ran.exists()  # the payload works where it is let


# ── Whom the scripts talk to ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.tried("a connection at import of any module, or for --help of any script", 2, "none is opened")
def test_import_and_help_open_no_connection(watched, tmp_path):
    env, notes = watched
    code = f"import runpy, sys\nsys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'reproducibility')!r}]\n"
    for path in SOURCES:
        code += f"import {module_name(path)}\n"
    for script in SCRIPTS:
        code += (
            f"sys.argv = ['x', '--help']\ntry: runpy.run_path({str(ROOT / script)!r}, run_name='__main__')\n"
        )
        code += "except SystemExit as end: assert not end.code\n"
    done = run("-c", code, env=env | {"WATCH_ALL": "1"}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage:") == len(SCRIPTS) and notes() == ""
    done = run("-c", "import socket; socket.create_connection(('192.0.2.1', 9))", env=env)
    assert done.returncode and "192.0.2.1" in notes()  # the watch works


def module_name(path) -> str:
    """Name a source file as the scripts import it: its stem, below scored or harness."""
    name = path.parent.name if path.stem == "__init__" else path.stem
    packaged = path.parent.name in ("scored", "harness") and path.stem != "__init__"
    return f"{path.parent.name}.{name}" if packaged else name


def emotion(folder):
    folder.mkdir(exist_ok=True)
    lines = '{"text": "i feel happy", "label": 1}\n{"text": "and sad", "label": 0}\n'
    (folder / "test.jsonl").write_text(lines)
    return folder


@pytest.mark.tried("a connection while local folders are measured and explained", 4, "none is opened")
def test_local_folders_open_no_connection(watched, zoo, tmp_path):
    env, notes = watched
    env |= {"WATCH_ALL": "1"}
    classes, coco = tmp_path / "imagenet" / "n01440764", tmp_path / "coco"
    for folder in (classes, coco):
        folder.mkdir(parents=True)
    (classes / "a.png").write_bytes(encoded(photo(), "PNG"))
    coco_folder(coco, json.dumps(COCO))
    text = ["--data", emotion(tmp_path / "emotion")]
    for done in (
        measured("sentiment_analysis", tmp_path, zoo / "text", *text, "--split", "test", env=env),
        measured("image_classification", tmp_path, zoo / "image", "--data", classes.parent, env=env),
        measured("detection", tmp_path, zoo / "boxes", "--data", coco, env=env),
    ):
        assert done.returncode == 0, done.stderr
    arguments = [
        "--predictions",
        tmp_path / "p",
        "--output",
        tmp_path / "e.json",
        "--faithful",
        "standard,split=test",
    ]
    done = run(ROOT / "reproducibility" / "explain.py", zoo / "text", *text, *arguments, env=env)
    assert done.returncode == 0, done.stderr
    assert notes() == ""


def listening(hub: FakeHub) -> list:
    """Notes what the clients of a Hub ask for, with which token, and what they say of themselves."""
    heard, handler = [], hub.RequestHandlerClass

    def noted(self):
        heard.append((self.path, self.headers.get("authorization"), self.headers.get("user-agent") or ""))
        handler.do_GET(self)

    hub.RequestHandlerClass = type("Noted", (handler,), {"do_GET": noted})
    return heard


def everything(folder) -> str:
    """The content of every file."""
    return "\n".join(p.read_bytes().decode("latin-1") for p in sorted(folder.rglob("*")) if p.is_file())


@pytest.mark.tried(
    "telemetry while a model and a data set are fetched", 2, "no third host, no session, no agent"
)
def test_no_telemetry_is_sent(watched, zoo, tmp_path):
    """In the environment of a coding agent, which huggingface_hub would report."""
    from datasets import ClassLabel, Dataset, Features, Value

    env, notes = watched
    features = Features({"text": Value("string"), "label": ClassLabel(names=sentiment_analysis.LABELS)})
    split = tmp_path / "emotion" / "split"
    split.mkdir(parents=True)
    rows = Dataset.from_dict({"text": ["i feel happy", "and sad"], "label": [1, 0]}, features=features)
    rows.to_parquet(split / "test-00000-of-00001.parquet")
    card = "---\nconfigs:\n- config_name: split\n  data_files:\n  - {split: test, path: split/test-*}\n---\n"
    (split.parent / "README.md").write_text(card)
    with FakeHub(models={"a/text": zoo / "text"}, datasets={"dair-ai/emotion": split.parent}) as hub:
        heard = listening(hub)
        env |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": SECRET, "AI_AGENT": "someone"}
        done = measured("sentiment_analysis", tmp_path, "a/text", "--protocol", "scored-2022", env=env)
        assert done.returncode == 0, done.stderr
        agents = {agent for *_, agent in heard}
        assert any(agent.startswith("datasets/") for agent in agents) and len(agents) > 1
        assert not [agent for agent in agents if re.search(r"session_id|agent/|is_ci|sagemaker", agent)]
        assert not [agent for agent in agents if "torch/" in agent and not agent.startswith("datasets/")]
        assert not [path for path, *_ in heard if "telemetry" in path or "discussions" in path]
    assert notes() == ""  # nobody but this Hub
    assert SECRET not in everything(tmp_path) + done.stdout + done.stderr


# ── What the scripts give away ────────────────────────────────────────────────────────────────────────────


class Echo(BaseHTTPRequestHandler):
    """A Hub that says in every error, in headers and body, what token it was given."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        given = self.headers.get("authorization") or "nothing"
        self.server.heard.append(given)
        code, headers = STAGES[self.server.stage](self.path)
        text = f"you gave me {OTHER} and {given} at http://me:{PASSWORD}@evil.test/"
        body = json.dumps({"error": text}).encode()
        self.send_response(code)
        for key, value in {"X-Error-Message": text, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")


STAGES = {
    "broken": lambda path: (500, {}),
    "gated": lambda path: (403, {"X-Error-Code": "GatedRepo"}),
    "teapot": lambda path: (418, {"X-Error-Code": f"you gave me {SECRET}"}),
    "circle": lambda path: (307, {"Location": f"{path[:99]}?{SECRET}"}),
    "warning": lambda path: (400, {"X-HF-Warning": f"a; {SECRET}"}),
}
HURRY = "import sys; sys.path.insert(0, {!r}); import modelinfo; from scored import cli, hub\n"
HURRY += "hub.ATTEMPTS = 2; cli.run(modelinfo.main)"


@pytest.mark.tried("a Hub that repeats the token in its errors; a URL with a password", 2 * len(STAGES) + 2,
                   "it is in no message, row, journal or other file")  # fmt: skip
def test_token_is_told_to_nobody(watched, tmp_path):
    env, _ = watched
    data, output = ["--data", emotion(tmp_path / "emotion"), "--split", "test"], ""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as hub:
        threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True).start()
        hub.heard, url = [], f"http://127.0.0.1:{hub.server_port}"
        env |= {"HF_ENDPOINT": url, "HF_TOKEN": SECRET}
        for hub.stage in STAGES:
            files = ["--output", tmp_path / f"{hub.stage}.json", "--ignore", tmp_path / f"{hub.stage}-i.json"]
            done = run("-c", HURRY.format(str(ROOT)), "--ids", "a/b", *files, env=env)
            assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr, done.stderr
            output += done.stdout + done.stderr
            done = measured("sentiment_analysis", tmp_path, f"a/{hub.stage}", *data, env=env)
            assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
            output += done.stdout + done.stderr
        assert set(hub.heard) == {f"Bearer {SECRET}"}  # they did have it
        hub.shutdown()
    inside = url.replace("//", f"//me:{PASSWORD}@")
    arguments = ["--endpoint", inside, "--ids", "a/b", "--output", tmp_path / "x.json"]
    done = run("-c", HURRY.format(str(ROOT)), *arguments, env=env)
    assert done.returncode == 2 and "no name and password" in done.stderr
    output += done.stderr
    done = measured("sentiment_analysis", tmp_path, "a/inside", *data, env=env | {"HF_ENDPOINT": inside})
    output += done.stdout + done.stderr
    assert output.count("failed at resolve") == len(STAGES) + 1 and "***" in output
    output += everything(tmp_path)
    assert not [part for part in ("S3cret", "0ther", PASSWORD) if part in output]


LOGGING = f"""
import contextlib, logging, sys
sys.path.insert(0, {str(ROOT)!r})
from scored.cli import run
for _ in range(2000):
    with contextlib.suppress(SystemExit):
        run(lambda: 0)
logging.getLogger("a library").warning("%s and %s", {OTHER!r}, "another secret")
"""


def test_log_tells_no_token_however_often_a_script_ran():
    """Each run once put a layer of its own on the one before, until the stack was full."""
    done = run("-c", LOGGING, env=os.environ | {"HF_TOKEN": "another secret"})
    assert (done.returncode, done.stderr) == (0, "*** and ***\n")


@pytest.mark.tried("a download that the Hub sends to another host", 1, "fetched there, without the token")
def test_token_is_not_sent_to_another_host(watched, zoo, tmp_path):
    env, _ = watched
    with FakeHub(models={"a/text": zoo / "text"}) as other, FakeHub(models={"a/text": zoo / "text"}) as hub:
        elsewhere, handler = listening(other), hub.RequestHandlerClass
        away, given = other.url.replace("127.0.0.1", "localhost"), set()

        def redirect(self):
            given.add(self.headers.get("authorization"))
            if "/resolve/" not in self.path:
                return handler.do_GET(self)
            name = self.path.rpartition("/")[2]
            size, sha = (zoo / "text" / name).stat().st_size, hub.sha("models", "a/text")
            there = {"Location": f"{away}{self.path}", "X-Repo-Commit": sha, "X-Linked-Size": str(size)}
            there |= {"X-Linked-Etag": f'"{name}"', "X-HF-Warning": f"a; you gave me {SECRET}"}
            self.answer(302, b"", there)

        hub.RequestHandlerClass = type("Sent", (handler,), {"do_GET": redirect})
        env |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": SECRET}
        data = ["--data", emotion(tmp_path / "emotion"), "--split", "test"]
        done = measured("sentiment_analysis", tmp_path, "a/text", *data, env=env)
        assert done.returncode == 0, done.stderr
        assert given == {f"Bearer {SECRET}"}
        assert [path for path, *_ in elsewhere if "model.safetensors" in path]
        assert {token for _, token, _ in elsewhere} == {None}
        assert "you gave me ***" in done.stderr
    shutil.rmtree(tmp_path / "hf")
    assert SECRET not in everything(tmp_path) + done.stdout + done.stderr
