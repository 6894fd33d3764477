"""modelinfo.py killed, without room, with wrong clocks, and a sweep of real records under faults."""

import gzip
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

import fake_hub
import modelinfo
from hub_refresh import expected_records, model, now, read_reasons
from project import ROOT
from scored import hub_records, journal, listing
from scored.files import UserError
from scored.records import read_records

STORM = [fake_hub.status(429)] * 3 + [fake_hub.status(429, Retry_After="0")]
ERRORS = [fake_hub.status(code) for code in (500, 502, 503, 504)]
FAULTS = [*STORM, fake_hub.fine, *ERRORS, fake_hub.fine, fake_hub.reset, fake_hub.cut, fake_hub.invalid]
FAULTS += [fake_hub.fine, fake_hub.stall(4), fake_hub.reset]
WRONG = sum(fault is not fake_hub.fine for fault in FAULTS)
KILLS, YEARS, FULL = 50, [-20, 20], ["journal", "sort", "file"]


@pytest.mark.shared
@pytest.mark.tried(
    "a sweep of 29,432 real models under 429, 5xx, cut, reset, invalid and silent answers",
    WRONG,
    "each model once, as the Hub has it; no request while the quota is used up",
)
def test_sweep_of_real_records_under_faults(refresh, shared, tmp_path):
    """29,432 models under faults and quotas while models change, appear and vanish: each is there once."""
    with gzip.open(shared / "hub/models-2022-02.jsonl.gz") as file:
        records = [json.loads(line) for line in file]
    with fake_hub.FakeHub(records, quota=8, window=4) as hub:
        hub.faults = list(FAULTS)
        names = sorted(hub.models)

        def change(number):
            if number == 25:
                hub.models[names[5]] = hub.models[names[5]] | {"downloads": 7777777, "lastModified": now()}
                hub.models["a-new/model"] = model(1, id="a-new/model", createdAt=now(), lastModified=now())
                del hub.models[names[-1]]

        hub.before = change
        result = refresh(hub)
        assert result == expected_records(hub.models.values())
        assert {r["id"]: r for r in result}[names[5]]["downloads"] == 7777777
        assert len(hub.requests) <= 30 + 2 + WRONG and hub.broken_quota == 0
    assert read_reasons(tmp_path) == {}


# ── The shipped file ──────────────────────────────────────────────────────────────────────────────────────


def test_shipped_file_is_swept(refresh, tmp_path, capsys):
    """Its records were taken from other sources, so the first run without flags is a full sweep."""
    old = list(read_records(ROOT / "modelinfo.json"))
    shutil.copy(ROOT / "modelinfo.json", tmp_path)
    still_there = [model(n, id=record["id"]) for n, record in enumerate(old[3:])]
    records = [*still_there, *map(model, range(500))]
    with fake_hub.FakeHub(records) as hub:
        hub.frozen = True
        result = refresh(hub)
        assert result == expected_records(hub.models.values())
        gone = {record["id"] for record in old[:3]}
        assert read_reasons(tmp_path) == dict.fromkeys(gone, "Hub: not seen by a full sweep")
        assert "sweeping the Hub" in capsys.readouterr().err
        hub.requests.clear()
        assert refresh(hub) == result and len(hub.requests) <= 2
        assert "sweeping" not in capsys.readouterr().err


def test_refresh_by_id_leaves_the_lines_of_the_shipped_file(refresh, tmp_path):
    """Only the line of that model changes: a record that is read and written is byte for byte the same."""
    shutil.copy(ROOT / "modelinfo.json", tmp_path)
    before = (tmp_path / "modelinfo.json").read_bytes().splitlines()
    name = "bert-base-uncased"
    with fake_hub.FakeHub([model(1, id=name)]) as hub:
        refresh(hub, "--ids", name)
    after = (tmp_path / "modelinfo.json").read_bytes().splitlines()
    assert len(after) == len(before) and len(set(after) - set(before)) == 1


@pytest.mark.shared
def test_shipped_records_are_those_of_their_sources(shared):
    """Each has the fields that modelinfo.py writes, in that order, as its source has them, and no others.

    Six names of the study's list are lines of a shell script, not models.
    """
    lines = []
    for record in read_records(shared / "hub/models-2022.jsonl.gz"):
        fields = {key: record[key] for key in ["id", *hub_records.FIELDS, "taken"] if key in record}
        lines.append(hub_records.encode(fields))
    not_models = {"fi", "then", "exit 1", "split -l 1000 $1", 'if [ -z "$1" ]'}
    not_models.add('echo "No repo names file supplied"')
    lines = [line for line in lines if json.loads(line)["id"] not in not_models]
    assert (ROOT / "modelinfo.json").read_bytes() == b"[\n%b\n]\n" % b",\n".join(lines)
    assert len(lines) == 77_316


# ── Killed ────────────────────────────────────────────────────────────────────────────────────────────────


def doomed(folder, url, full, at=None):
    """Run modelinfo.py and kill this process before its `at`-th operation on the files in `folder`."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    listing.PAGE_SIZE, modelinfo.today = 10, lambda: "2026-11-01"
    number = itertools.count(1)

    def hook(event, arguments):
        operations = ("open", "os.rename", "os.remove", "sqlite3.connect")
        if event in operations and str(arguments[0]).startswith(str(folder)) and next(number) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    names = ["--output", str(folder / "modelinfo.json"), "--ignore", str(folder / "ignore.json")]
    modelinfo.main(["--endpoint", url, *names, *["--full"] * full])


@pytest.fixture(scope="module")
def start():
    """Start `doomed` within milliseconds, in a fork of a process that has imported all it needs."""
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as patch:
        folders = [ROOT, ROOT / "tests/support", ROOT / "tests/long"]
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("HF_TOKEN", "")
        context.set_forkserver_preload(["test_modelinfo_long", "huggingface_hub.utils", "httpx2", "tqdm"])
        wait(context.Process(target=time.sleep, args=(0,)))
    return lambda *args: context.Process(target=doomed, args=args)


def wait(process, seconds=60.0):
    """Start a process, kill it after `seconds`, return its exit code."""
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode


@pytest.fixture(params=["full", "changes"])
def scene(request, start, tmp_path):
    """(Hub, run, reset, same): a run to kill, from a file with models gone, changed, added and restored."""
    full, old, folder = request.param == "full", tmp_path / "old", tmp_path / "work"
    entry = {"reason": "Hub: not seen by a full sweep", "since": "2022-01-01"}
    with fake_hub.FakeHub([model(n) for n in range(250)]) as hub:
        old.mkdir()
        (old / "ignore.json").write_text(json.dumps({"user/m00255": entry, "user/away": entry}))
        assert wait(start(old, hub.url, True)) == 0
        del hub.models["user/m00007"], hub.models["user/m00008"]
        late = {"lastModified": "2025-01-01T00:00:00.000Z"}
        hub.models |= {f"user/m{n:05}": model(n, likes=1, **late) for n in range(60, 256)}
        hub.frozen = True

        def reset():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(old, folder)

        def run(at=None, seconds=60.0):
            return wait(start(folder, hub.url, full, at), seconds)

        reset()
        assert run() == 0
        whole = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert whole.keys() == {"modelinfo.json", "ignore.json"}
        gone = {"user/m00007", "user/m00008"} if full else set()
        assert set(json.loads(whole["ignore.json"])) == {"user/away", *gone}

        def same():
            """Tell whether the files are those of an undisturbed run; a temporary one may remain."""
            paths = [path for path in folder.iterdir() if path.suffix != ".tmp"]
            return whole == {path.name: path.read_bytes() for path in paths}

        yield SimpleNamespace(hub=hub, run=run, reset=reset, same=same, folder=folder, old=old)


@pytest.mark.tried(
    "SIGKILL at random instants of a refresh, full or of changes",
    2 * KILLS,
    "resumed, both files are byte for byte those of a run that nobody killed",
)
def test_sigkill_at_50_random_instants(scene):
    """Resumed, the files are those of an undisturbed run, over whose time the instants are drawn."""
    scene.reset()
    began, rng, kills = time.monotonic(), random.Random(0), 0
    assert scene.run() == 0
    lasted = time.monotonic() - began
    scene.reset()
    while kills < KILLS:
        code = scene.run(seconds=rng.uniform(0, lasted))
        kills += code == -signal.SIGKILL
        if code == 0:
            assert scene.same()
            scene.reset()
    assert scene.run() == 0 and scene.same()


def test_sigkill_before_each_file_operation(scene):
    """Before each opening, replacement and removal: the old file or the new is there, whole; it resumes."""
    new = (scene.folder / "modelinfo.json").read_bytes()
    old = (scene.old / "modelinfo.json").read_bytes()
    for at in itertools.count(1):
        scene.reset()
        if scene.run(at) == 0:
            break
        assert (scene.folder / "modelinfo.json").read_bytes() in (old, new)
        assert scene.run() == 0 and scene.same(), f"killed before operation {at}"
    assert at > 12


@pytest.mark.tried(
    "the clock twenty years back or on, and records from the future",
    len(YEARS),
    "no change is hidden",
)
@pytest.mark.parametrize("years", YEARS)
def test_clock_jumps_by_twenty_years(refresh, monkeypatch, years):
    """Neither our clock nor a record from the future hides a change."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=365 * years)

    with fake_hub.FakeHub(map(model, range(9))) as hub:
        hub.models["user/m00001"] |= {"lastModified": modelinfo.format_time(Clock.now(UTC))}
        hub.models["user/m00002"] |= {
            "lastModified": modelinfo.format_time(datetime.now(UTC) + timedelta(hours=9))
        }
        refresh(hub)
        monkeypatch.setattr(modelinfo, "datetime", Clock)
        elapsed = time.time
        monkeypatch.setattr(time, "time", lambda: elapsed() + 365 * 86400 * years)
        for likes in (5, 6):
            hub.models["user/m00003"] |= {"likes": likes, "lastModified": now()}
            assert refresh(hub) == expected_records(hub.models.values())


@pytest.mark.tried(
    "no room for a page, a sort or the file of a refresh",
    len(FULL),
    "one line; the old file is untouched; with room again, the run goes on",
)
@pytest.mark.parametrize("where", FULL)
def test_full_disk_leaves_a_journal_to_go_on_from(refresh, monkeypatch, tmp_path, where):
    """A page, a sort or a file that does not fit is one clear line; with room again, the run goes on."""
    small = [s for s in journal.SCHEMA if "cache_size" not in s and "page_size" not in s]
    small = ["PRAGMA page_size=4096", *small, "PRAGMA cache_size=-100"]  # so that the sort needs the disk
    connect, write_outputs = sqlite3.connect, modelinfo.write_outputs
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    sync, called = where == "sort", []
    messages = {"journal": "is full", "sort": r"\.journal: .*(disk|full)", "file": "cannot write"}

    def limited(*args):
        called.append(where)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000 if sync else 100_000, hard))
        try:
            return write_outputs(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    def narrow(*args, **kwargs):
        db = connect(*args, **kwargs)
        db.execute("PRAGMA max_page_count = 10")
        return db

    with fake_hub.FakeHub(map(model, range(2000))) as hub, monkeypatch.context() as patch:
        hub.models |= {f"user/m{n:05}": model(n, tags=["x" * 1000] * 100) for n in range(20 * sync)}
        (tmp_path / "modelinfo.json").write_text('[\n{"id":"old/model"}\n]\n')
        old = (tmp_path / "modelinfo.json").read_bytes()
        patch.setattr(journal, "SCHEMA", small if sync else journal.SCHEMA)
        patch.setattr(sqlite3, "connect", narrow if where == "journal" else connect)
        patch.setattr(modelinfo, "write_outputs", write_outputs if where == "journal" else limited)
        with pytest.raises(UserError, match=messages[where]):
            refresh(hub, page=100)
        assert (tmp_path / "modelinfo.json").read_bytes() == old
        assert [p.name for p in tmp_path.glob(".*")] == [] and called == [where] * (where != "journal")
        patch.undo()
        assert refresh(hub, page=100) == expected_records(hub.models.values())
        assert len(hub.requests) == 20 + 1 + (where == "journal")
