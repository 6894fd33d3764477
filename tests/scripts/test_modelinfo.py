"""modelinfo.py against a real HTTP server on loopback, through the real huggingface_hub client."""

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
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

import fake_hub
import modelinfo
from project import ROOT
from scored import hub as api
from scored import hub_records, journal
from scored.files import UserError
from scored.records import read_records


def model(number, **fields):
    stamp = f"2024-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"
    return {"id": f"user/m{number:05}", "tags": ["pytorch"], "downloads": number, "sha": "0" * 40} | {
        "createdAt": stamp, "lastModified": stamp, "siblings": ["not asked for"], **fields}  # fmt: skip


def now():
    return modelinfo.format_time(datetime.now(UTC))


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No token of the machine's, no proxy, no long pauses."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name, seconds in (("BACKOFF", 0.01), ("MAX_BACKOFF", 0.05), ("TIMEOUT", 3)):
        monkeypatch.setattr(api, name, seconds)


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Runs modelinfo.py in this process; returns the records of the file, checked for its form."""

    def go(hub, *options, output=tmp_path / "modelinfo.json", page=1000):
        monkeypatch.setattr(modelinfo, "PAGE_SIZE", page)
        names = ["--output", str(output), "--ignore", str(tmp_path / "ignore.json")]
        modelinfo.main(["--endpoint", hub.url, *names, *map(str, options)])
        assert not list(tmp_path.glob("*.journal*")) and not list(tmp_path.glob(".*tmp"))
        return checked(output)

    return go


def checked(path):
    def constant(text):
        raise AssertionError(f"{text} in the file")

    found = json.loads(path.read_bytes(), parse_constant=constant)
    assert [r["id"] for r in found] == sorted({r["id"] for r in found})
    assert len(path.read_bytes().splitlines()) == len(found) + 2
    assert list(read_records(path)) == found
    return found


def expected(records):
    keys = ["id", *modelinfo.FIELDS]
    return sorted(({k: r[k] for k in keys if k in r} for r in records), key=lambda r: r["id"])


def ignored(tmp_path):
    return {k: v["reason"] for k, v in json.loads((tmp_path / "ignore.json").read_text()).items()}


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
def test_real_records_with_every_fault_and_a_hub_that_changes(go, shared, tmp_path):
    """29,432 models under faults, quotas, and a model changed, added and deleted between pages: each once."""
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
        found = go(hub)
        assert found == expected(hub.models.values())
        assert {r["id"]: r for r in found}[names[5]]["downloads"] == 7777777
        assert len(hub.requests) <= 30 + 2 + WRONG and hub.broken_quota == 0
    assert ignored(tmp_path) == {}


@pytest.mark.parametrize("count", [0, 1, 1000, 1001, 2500])
def test_requests(go, count):
    """ceil(N / 1000) plus at most 2 in full; the same for k changes; and no more is taken."""
    with fake_hub.FakeHub(map(model, range(count))) as hub:
        assert go(hub) == expected(hub.models.values())
        assert len(hub.requests) <= -(-count // 1000) + 2
        for changes in (0, 3, 1200) if count else ():
            for number in range(min(changes, count)):
                name = f"user/m{number:05}"
                hub.models[name] = hub.models[name] | {"likes": changes, "lastModified": now()}
            hub.requests.clear()
            assert go(hub) == expected(hub.models.values())
            assert len(hub.requests) <= -(-changes // 1000) + 2


# ── Killed ────────────────────────────────────────────────────────────────────────────────────────────────


def doomed(folder, url, full, at=None):
    """In a process of its own: a run that kills itself before its `at`-th act on the files in `folder`."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    modelinfo.PAGE_SIZE, modelinfo.today = 10, lambda: "2026-11-01"
    number = itertools.count(1)

    def hook(event, arguments):
        acts = ("open", "os.rename", "os.remove", "sqlite3.connect")
        if event in acts and str(arguments[0]).startswith(str(folder)) and next(number) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    names = ["--output", str(folder / "modelinfo.json"), "--ignore", str(folder / "ignore.json")]
    modelinfo.main(["--endpoint", url, *names, *["--full"] * full])


@pytest.fixture(scope="module")
def start():
    """Starts `doomed` in a fork of a process that has imported all it needs: in milliseconds."""
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("HF_TOKEN", "")
        context.set_forkserver_preload(["test_modelinfo", "huggingface_hub.utils", "httpx2", "tqdm"])
        wait(context.Process(target=time.sleep, args=(0,)))
    return lambda *args: context.Process(target=doomed, args=args)


def wait(process, seconds=60.0):
    """The exit code of a process that is killed after so many seconds."""
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode


@pytest.fixture(params=["full", "changes"])
def scene(request, start, tmp_path):
    """(Hub, run, reset, same): a run to kill, from a file with models gone, changed, added and come back."""
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
            """True if the files, byte for byte, are those of the run that nobody killed."""
            return whole == {path.name: path.read_bytes() for path in folder.iterdir()}

        yield SimpleNamespace(hub=hub, run=run, reset=reset, same=same, folder=folder, old=old)


@pytest.mark.tried(
    "SIGKILL at random instants of a refresh, full or of changes",
    2 * KILLS,
    "resumed, both files are byte for byte those of a run that nobody killed",
)
def test_kill_9_at_50_random_instants(scene):
    """Drawn over the time of an undisturbed run, each resumed: the files of a run that nobody killed."""
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


def test_kill_9_at_every_act_on_a_file(scene):
    """Before each opening, replacement and removal: the old file or the new is there, whole; it resumes."""
    new = (scene.folder / "modelinfo.json").read_bytes()
    old = (scene.old / "modelinfo.json").read_bytes()
    for at in itertools.count(1):
        scene.reset()
        if scene.run(at) == 0:
            break
        assert (scene.folder / "modelinfo.json").read_bytes() in (old, new)
        assert scene.run() == 0 and scene.same(), f"killed before act {at}"
    assert at > 12


def test_both_files_are_on_disk_before_the_journal_goes(go, monkeypatch, tmp_path):
    """The folder that names them is synchronized while the journal is still there."""
    fsync, seen = os.fsync, []

    def spy(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            seen.append(sorted(path.name for path in tmp_path.glob("*.json*")))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", spy)
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        go(hub)
    assert [names[:3] for names in seen] == [["ignore.json", "modelinfo.json", "modelinfo.json.journal"]]


# ── Strangers ─────────────────────────────────────────────────────────────────────────────────────────────


def test_hostile_records(go, capsys):
    """What strangers write neither breaks the file nor leaves its line; what is no model is named aloud."""
    tags = [f"tag-{n}" for n in range(1_000_000)]
    models = [model(n) for n in range(1, 9)] + [model(9, tags=tags)]
    bad = ["../../etc/passwd", "a/..", "x\n]", "a/b/c", "\ud800/x", ""]
    models += [model(20 + n, id=name) for n, name in enumerate(bad)] + [model(40, private=True)]
    with fake_hub.FakeHub(models) as hub:
        hub.raw["user/m00001"] = b'{"id": "user/m00001", "tags": ["\\ud800 \\u0000 \\n ] \\u2028 \x7f"]}'
        hub.raw["user/m00002"] = (
            b'{"id": "user/m00002", "model-index": [NaN, Infinity, 1e999, ' + b"9" * 5000 + b"]}"
        )
        hub.raw["user/m00003"] = b'{"id": null}'
        hub.raw["user/m00004"] = b'"a string"'
        found = {record["id"]: record for record in go(hub)}
    assert sorted(found) == [f"user/m{n:05}" for n in (1, 2, 5, 6, 7, 8, 9)]
    assert found["user/m00001"]["tags"] == ["\ud800 \0 \n ] \u2028 \x7f"]
    assert found["user/m00002"]["model-index"] == ["NaN", "Infinity", "1e999", "9" * 5000]
    assert found["user/m00009"]["tags"] == tags
    said = capsys.readouterr().err
    assert said.count("left out: ") == len(bad) + 3 and "private: user/m00040" in said


@pytest.mark.parametrize("depth", [90, 200, 400, 900, 100_000])
def test_a_record_nested_too_deeply_costs_itself_alone(go, depth):
    """Its page is read, what lies too deep says so, and the file is read by json.load."""
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        record = b'{"id": "user/m00000", "likes": 5, "tags": ["]\\"", %s1%s], "sha": "a"}'
        hub.raw["user/m00000"] = record % (b"[" * depth, b"]" * depth)
        found = go(hub)
        assert len(found) == 9
        assert (found[0]["likes"], found[0]["sha"], found[0]["tags"][0]) == (5, "a", ']"')
        assert ("nested too deeply" in json.dumps(found[0]["tags"])) == (depth > hub_records.MAX_DEPTH)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**30])
def test_whole_numbers_keep_their_digits(go, number):
    """Beyond 64 bits as text, since readers of JSON round such numbers; also through the next run."""
    with fake_hub.FakeHub([model(1), model(2, downloads=number, tags=["a: 1234567890123456789012"])]) as hub:
        for _ in range(2):
            found = go(hub)[1]["downloads"]
            assert found == (number if -(2**63) <= number < 2**64 else str(number))
            hub.models["user/m00001"] |= {"likes": 1, "lastModified": now()}


def test_gone_refused_and_back(go, tmp_path):
    """By full sweep or by id, a model goes to ignore.json with its reason, and leaves it on coming back."""
    (tmp_path / "ignore.json").write_text('{"by/hand": {"reason": "wrong", "since": "2022-01-01"}}')
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        go(hub)
        del hub.models["user/m00001"]
        hub.refused["user/m00002"] = 403, {"X-Error-Code": "GatedRepo"}
        hub.refused["user/m00003"] = 401, {"X-Error-Code": "RepoNotFound"}
        hub.models["new/name"] = model(4, id="new/name")
        hub.redirects["user/m00004"] = "new/name"
        found = {r["id"] for r in go(hub, "--ids", *(f"user/m0000{n}" for n in range(1, 6)))}
        assert found == {f"user/m0000{n}" for n in (0, 2, 5, 6, 7, 8)} | {"new/name"}
        assert ignored(tmp_path) == {
            "by/hand": "wrong",
            "user/m00001": "Hub: 404 not found",
            "user/m00002": "Hub: 403 gated",
            "user/m00003": "Hub: 401 not found or private",
            "user/m00004": "Hub: 404 renamed to new/name",
        }
        del hub.models["user/m00004"], hub.models["user/m00008"]
        go(hub, "--full")
        assert set(ignored(tmp_path)) == {"by/hand", "user/m00001", "user/m00004", "user/m00008"}
        assert ignored(tmp_path)["user/m00008"] == "Hub: not seen by a full sweep"
        for part in (["--limit", 2], ["--author", "new"], ["--filter", "x"], ["--task", "y"]):
            before = go(hub)
            assert {r["id"] for r in go(hub, "--full", *part)} == {r["id"] for r in before}
        for fault in (fake_hub.status(503), fake_hub.reset, fake_hub.invalid):
            hub.faults = [fault] * api.ATTEMPTS
            with pytest.raises(UserError, match="go on"):
                go(hub, "--ids", "user/m00005")
            go(hub, "--ids", "user/m00005")
        for code in (401, 403, 404):  # not the Hub's own word
            hub.faults = [fake_hub.status(code)]
            with pytest.raises(UserError, match=f"answers {code}"):
                go(hub, "--ids", "user/m00005")
            go(hub, "--ids", "user/m00005")
        assert "user/m00005" not in ignored(tmp_path)


def test_a_partial_run_hides_no_change(go, tmp_path):
    """The newest date in the file is no mark once --ids or --filter has fetched a newer model alone."""
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        go(hub)
        hub.models["user/m00001"] |= {"likes": 5, "lastModified": "2025-01-01T00:00:00.000Z"}
        hub.models["user/m00002"] |= {"likes": 6, "lastModified": "2025-01-02T00:00:00.000Z"}
        go(hub, "--ids", "user/m00002")
        assert go(hub) == expected(hub.models.values())
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        output = tmp_path / "taste.json"
        assert len(go(hub, "--limit", 3, output=output)) == 3
        assert len(go(hub, output=output)) == 9


@pytest.mark.shared
@pytest.mark.parametrize("options", [[], ["--full"], ["--limit", 5]])
def test_from_the_shipped_file(go, shared, tmp_path, options):
    """Its records have no dates: the first run sweeps, with or without --full, even after a taste."""
    old = [record["id"] for record in read_records(ROOT / "modelinfo.json")]
    with gzip.open(shared / "hub/models-2022-02.jsonl.gz") as file:
        records = [json.loads(line) for line in itertools.islice(file, 2000)]
    kept = [model(n, id=name) for n, name in enumerate(old[3:])]
    shutil.copy(ROOT / "modelinfo.json", tmp_path)
    with fake_hub.FakeHub([*records, *kept]) as hub:
        found = go(hub, *options)
        if "--limit" in options:
            assert set(old) <= {r["id"] for r in found} and len(found) <= len(old) + 5
            found = go(hub)
        assert found == expected(hub.models.values()) and not any("source" in r for r in found)
        gone = set(old) - set(hub.models)
        assert gone and ignored(tmp_path) == dict.fromkeys(gone, "Hub: not seen by a full sweep")
        hub.requests.clear()
        assert go(hub) == found and len(hub.requests) <= 2


def test_a_sweep_that_misses_most_models_changes_nothing(go, tmp_path):
    """A Hub that suddenly lists next to nothing is not believed; the message says how to go on."""
    with fake_hub.FakeHub(map(model, range(300))) as hub:
        go(hub)
        files = [tmp_path / "modelinfo.json", tmp_path / "ignore.json"]
        before, models = [file.read_bytes() for file in files], hub.models
        hub.models = {k: v for k, v in models.items() if k < "user/m00100"}
        with pytest.raises(UserError, match=r"200 known ones are missing.*Delete .*\.journal"):
            go(hub, "--full")
        assert [file.read_bytes() for file in files] == before and not list(tmp_path.glob(".*"))
        (tmp_path / "modelinfo.json.journal").unlink()
        hub.models = {k: v for k, v in models.items() if k >= "user/m00100"}
        assert len(go(hub, "--full")) == 200


@pytest.mark.tried(
    "the clock twenty years back or on, and records from the future",
    len(YEARS),
    "no change is hidden",
)
@pytest.mark.parametrize("years", YEARS)
def test_a_clock_that_jumps(go, monkeypatch, years):
    """Neither our clock nor a record from the future hides a change."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=365 * years)

    with fake_hub.FakeHub(map(model, range(9))) as hub:
        hub.models["user/m00001"] |= {"lastModified": modelinfo.format_time(Clock.now(UTC))}
        hub.models["user/m00002"] |= {"lastModified": modelinfo.format_time(datetime.now(UTC) + timedelta(hours=9))}
        go(hub)
        monkeypatch.setattr(modelinfo, "datetime", Clock)
        elapsed = time.time
        monkeypatch.setattr(time, "time", lambda: elapsed() + 365 * 86400 * years)
        for likes in (5, 6):
            hub.models["user/m00003"] |= {"likes": likes, "lastModified": now()}
            assert go(hub) == expected(hub.models.values())


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"Retry_After": "7"}, 7),
        ({"RateLimit": '"api";r=0;t=9', "Retry_After": "7"}, 9),
        ({"RateLimit": '"api";r=5;t=9'}, 1),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 1),
        ({"Retry_After": "soon"}, 1),
        ({"Retry_After": "9" * 400}, None),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
def test_a_wait_is_as_long_as_the_server_says(go, monkeypatch, code, headers, seconds):
    """To the second, by a clock of the test's own; without a word of the server's, the back-off."""
    clock = SimpleNamespace(now=1000.0)
    slept = SimpleNamespace(
        monotonic=lambda: clock.now, time=time.time, sleep=lambda s: setattr(clock, "now", clock.now + s)
    )
    monkeypatch.setattr(api, "time", slept)
    monkeypatch.setattr(api, "BACKOFF", 1.0)
    monkeypatch.setattr(api, "MAX_BACKOFF", 60.0)
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        hub.faults = [fake_hub.status(code, **headers)]
        if seconds is None:
            with pytest.raises(UserError, match="asks us to wait"):
                go(hub)
        else:
            assert len(go(hub)) == 3 and clock.now - 1000 == pytest.approx(seconds)


def test_quota_is_honoured_ahead_of_the_429(go):
    """No request is made while the quota is used up, nor later than the server says."""
    with fake_hub.FakeHub(map(model, range(50)), quota=3, window=1) as hub:
        began = time.monotonic()
        assert len(go(hub, page=10)) == 50
        assert hub.broken_quota == 0 and len(hub.requests) == 6
        assert time.monotonic() - began >= 1


def test_token_goes_to_the_endpoint_alone(go, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with fake_hub.FakeHub(map(model, range(30))) as hub, fake_hub.FakeHub() as other:
        go(hub, page=10)
        assert hub.tokens == {"Bearer hf_secret"}
        hub.url, url = other.url, hub.url
        with pytest.raises(UserError, match="another host"):
            modelinfo.main(["--endpoint", url, "--output", str(tmp_path / "x")])
        assert not other.requests
        hub.url = url
        away = {"Location": f"{other.url}/api/models"}
        for options in ([], ["--ids", "user/m00001"]):
            hub.faults = [fake_hub.status(307, **away)]
            with pytest.raises(UserError, match="another host"):
                go(hub, *options, output=tmp_path / f"y{len(options)}")
        assert other.tokens == {None} and not list(tmp_path.glob("y?"))
    assert "hf_secret" not in "".join(capsys.readouterr())


def test_two_runs_other_arguments_and_bad_input(go, tmp_path):
    """Each is one clear line, and the unfinished run can still be finished."""
    path = tmp_path / "modelinfo.json.journal"
    with fake_hub.FakeHub(map(model, range(30))) as hub:
        with modelinfo.open_journal(path), pytest.raises(UserError, match="another run"):
            go(hub)
        hub.faults = [fake_hub.fine] + [fake_hub.status(500)] * api.ATTEMPTS
        with pytest.raises(UserError, match="HTTP 500"):
            go(hub, page=10)
        for other in (["--author", "user"], ["--endpoint", "http://127.0.0.1:9"]):
            with pytest.raises(UserError, match="other arguments"):
                go(hub, *other, page=10)
        before = len(hub.requests)
        assert len(go(hub, page=10)) == 30 and len(hub.requests) - before == 3
        old = (tmp_path / "modelinfo.json").read_bytes()
        path.write_bytes(b"no journal" * 200)
        with pytest.raises(UserError, match="not a database"):
            go(hub)
        path.unlink()
        for options in (
            ["--ids", "../x"],
            ["--limit", "0"],
            ["--endpoint", "ftp://x"],
            ["--ids", "a", "--full"],
        ):
            with pytest.raises(UserError):
                go(hub, *options)
        assert (tmp_path / "modelinfo.json").read_bytes() == old


@pytest.mark.tried(
    "no room for a page, a sort or the file of a refresh",
    len(FULL),
    "one line; the old file is untouched; with room again, the run goes on",
)
@pytest.mark.parametrize("where", FULL)
def test_full_disk_leaves_a_journal_to_go_on_from(go, monkeypatch, tmp_path, where):
    """A page, a sort or a file that does not fit is one clear line; with room again, the run goes on."""
    small = [s for s in journal.SCHEMA if "cache_size" not in s] + ["PRAGMA cache_size=-100"]
    connect, finish, hard = sqlite3.connect, modelinfo.write_outputs, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    sync, called = where == "sort", []
    said = {"journal": "is full", "sort": r"\.journal: .*(disk|full)", "file": "cannot write"}

    def limited(*args):
        called.append(where)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000 if sync else 100_000, hard))
        try:
            return finish(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    def narrow(*args, **kwargs):
        db = connect(*args, **kwargs)
        db.execute("PRAGMA max_page_count = 40")
        return db

    with fake_hub.FakeHub(map(model, range(2000))) as hub, monkeypatch.context() as patch:
        hub.models |= {f"user/m{n:05}": model(n, tags=["x" * 1000] * 100) for n in range(20 * sync)}
        (tmp_path / "modelinfo.json").write_text('[\n{"id":"old/model"}\n]\n')
        old = (tmp_path / "modelinfo.json").read_bytes()
        patch.setattr(journal, "SCHEMA", small if sync else journal.SCHEMA)
        patch.setattr(sqlite3, "connect", narrow if where == "journal" else connect)
        patch.setattr(modelinfo, "write_outputs", finish if where == "journal" else limited)
        with pytest.raises(UserError, match=said[where]):
            go(hub, page=100)
        assert (tmp_path / "modelinfo.json").read_bytes() == old
        assert [p.name for p in tmp_path.glob(".*")] == [] and called == [where] * (where != "journal")
        patch.undo()
        assert go(hub, page=100) == expected(hub.models.values())
        assert len(hub.requests) == 20 + 1 + (where == "journal")


def test_interrupt_and_help(tmp_path):
    """SIGTERM ends as Ctrl-C does: one line; exit code 143."""
    command = [sys.executable, ROOT / "modelinfo.py"]
    assert (
        "--ids-file"
        in subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=tmp_path).stdout
    )
    with fake_hub.FakeHub(map(model, range(30))) as hub:
        asked = threading.Event()
        hub.before = lambda number: asked.set()
        hub.faults = [fake_hub.stall(3)]
        options = ["--endpoint", hub.url, "--output", tmp_path / "m.json", "--ignore", tmp_path / "i.json"]
        with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
            assert asked.wait(30)
            process.terminate()
            said = process.stderr.read()
    assert process.returncode == 143 and "interrupted" in said and "Traceback" not in said
