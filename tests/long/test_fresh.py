"""A copy of the checkout runs where a newcomer puts it: an unusual path, another working directory."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fake_hub
from namespaces import NAMESPACE, need_namespaces
from project import ROOT

SCRIPTS = ("ptm.py", "audit.py", "reproducibility/results.py", "err.py", "modelinfo.py")
WRITING = {  # script -> the flags that let it write elsewhere
    "modelinfo.py": ("--output {}/m.json --ignore {}/i.json", "--endpoint http://127.0.0.1:9"),
    "audit.py": ("--output {}/audit.json --figures {}", ""),
    "reproducibility/results.py": ("--output {}", ""),
    "err.py": ("--output {}", ""),
    "reproducibility/sentiment_analysis.py": ("--results {}/r.json --predictions {}", "nobody/x"),
    "reproducibility/explain.py": ("--output {}/e.json --predictions {}", "nobody/x"),
}


@pytest.fixture
def copy(tmp_path) -> Path:
    """The files that git tracks, in a folder with a space and a letter that is none of ASCII's."""
    folder = tmp_path / "dir with späces ü" / "scored"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def newcomer(tmp_path: Path, **more: str) -> dict[str, str]:
    """An environment with a home of its own, no locale, no token and no git."""
    (tmp_path / "home").mkdir(exist_ok=True)
    return {"HOME": str(tmp_path / "home"), "PATH": "/nowhere", "LC_ALL": "C", "NO_PROXY": "127.0.0.1"} | more


@pytest.mark.tried(
    "each script from a path with spaces and an ü, another folder, the C locale, no git, no ../shared",
    len(SCRIPTS),
    "they run and write what the checkout ships, byte for byte",
)
def test_fresh_copy_in_an_unusual_folder(copy, tmp_path):
    for name in ("err.png", "assets/data/audit.json", "reproducibility/results.json"):
        (copy / name).unlink()
    with fake_hub.FakeHub([{"id": "user/m", "lastModified": "2024-01-01T00:00:00.000Z"}]) as hub:
        for script in SCRIPTS:
            command = [sys.executable, copy / script]
            if script == "modelinfo.py":
                command += ["--full", "--limit", "1"]
            done = subprocess.run(command, cwd="/", env=newcomer(tmp_path, HF_ENDPOINT=hub.url),
                                  capture_output=True, text=True)  # fmt: skip
            assert done.returncode == 0 and "Traceback" not in done.stderr, (script, done.stderr)
            if script == "ptm.py":
                assert "models" in done.stdout
    for name in ("assets/data/err.json", "reproducibility/results.json", "reproducibility/results.csv"):
        assert (copy / name).read_bytes() == (ROOT / name).read_bytes()
    shipped = json.loads((ROOT / "assets/data/audit.json").read_text())
    assert json.loads((copy / "assets/data/audit.json").read_text()) == shipped
    assert (copy / "err.png").read_bytes()[:4] == b"\x89PNG"
    assert '"user/m"' in (copy / "modelinfo.json").read_text()


@pytest.mark.shared
@pytest.mark.tried(
    "a runner from such a copy, with data elsewhere and without git",
    1,
    "the same accuracy; the row says that the commit is unknown",
)
def test_runner_in_an_unusual_folder(copy, tmp_path, shared):
    arguments = [shared / "models/emotion-tiny", "--data", shared / "emotion", "--split", "validation"]
    arguments += ["--protocol", "standard", "--device", "cpu"]
    command = [sys.executable, copy / "reproducibility/sentiment_analysis.py", *arguments]
    done = subprocess.run(command, cwd="/", env=newcomer(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((copy / "reproducibility/results/EMOTION/sentiment-analysis.json").read_text())[
        "rows"
    ]
    assert row["metrics"]["accuracy"] == 0.9025
    assert (row["code"]["git"], row["code"]["dirty"]) == (None, False)


@pytest.mark.tried(
    "a checkout that cannot be written to, under each script that writes",
    len(WRITING),
    "one line and exit code 2 before any work; with flags for another folder it runs",
)
def test_read_only_checkout(copy, tmp_path):
    need_namespaces()
    out, env = tmp_path / "out", newcomer(tmp_path, PATH=os.environ["PATH"], HF_ENDPOINT="http://127.0.0.1:9")
    read_only = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd / && exec "$@"'
    emotion = tmp_path / "emotion"
    emotion.mkdir()
    for split in ("train", "validation", "test"):
        (emotion / f"{split}.jsonl").write_text('{"text": "i feel fine", "label": 1}\n')

    def run(script: str, arguments: str) -> subprocess.CompletedProcess:
        command = [*NAMESPACE, read_only, str(copy), sys.executable, str(copy / script), *arguments.split()]
        if "nobody/x" in arguments:
            command += ["--data", str(emotion)]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    for script, (elsewhere, arguments) in WRITING.items():
        done = run(script, arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr, (script, done.stderr)
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"{Path(script).name}: ") and ("Read-only" in last or "--output" in last), (
            script,
            last,
        )
        assert ("choose another with --" in last) == ("nobody/x" in arguments), (script, last)
        if arguments:  # goes to the Hub, which is not there
            continue
        done = run(script, elsewhere.format(*[out] * 2))
        assert done.returncode == 0, (script, done.stderr)
    assert (out / "err.png").exists() and (out / "results.json").exists() and (out / "audit.json").exists()
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()} == before
