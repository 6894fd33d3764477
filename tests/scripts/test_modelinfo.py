"""modelinfo.py against a real HTTP server on loopback, through the real huggingface_hub client."""

import itertools
import json
import os
import stat
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

import fake_hub
import modelinfo
from hub_refresh import expected_records, model, now, read_reasons
from project import ROOT
from scored import hub as api
from scored import hub_records
from scored.files import UserError
from scored.records import read_records, write_records


@pytest.mark.parametrize("count", [0, 1, 1000, 1001, 2500])
def test_requests_are_few(refresh, count):
    """ceil(N / 1000) plus at most 2 in full; the same for k changes; and no more is taken."""
    with fake_hub.FakeHub(map(model, range(count))) as hub:
        assert refresh(hub) == expected_records(hub.models.values())
        assert len(hub.requests) <= -(-count // 1000) + 2
        for changes in (0, 3, 1200) if count else ():
            for number in range(min(changes, count)):
                name = f"user/m{number:05}"
                hub.models[name] = hub.models[name] | {"likes": changes, "lastModified": now()}
            hub.requests.clear()
            assert refresh(hub) == expected_records(hub.models.values())
            assert len(hub.requests) <= -(-changes // 1000) + 2


def test_both_files_are_on_disk_before_the_journal_is_removed(refresh, monkeypatch, tmp_path):
    """The folder that names them is synchronized while the journal is still there."""
    fsync, seen = os.fsync, []

    def spy(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            seen.append(sorted(path.name for path in tmp_path.glob("*.json*")))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", spy)
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        refresh(hub)
    assert [names[:3] for names in seen] == [["ignore.json", "modelinfo.json", "modelinfo.json.journal"]]


# ── Strangers ─────────────────────────────────────────────────────────────────────────────────────────────


def test_hostile_records(refresh, capsys):
    """No record breaks the file or its line; what is not a model is reported."""
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
        result = {record["id"]: record for record in refresh(hub)}
    assert sorted(result) == [f"user/m{n:05}" for n in (1, 2, 5, 6, 7, 8, 9)]
    assert result["user/m00001"]["tags"] == ["\ud800 \0 \n ] \u2028 \x7f"]
    assert result["user/m00002"]["model-index"] == ["NaN", "Infinity", "1e999", "9" * 5000]
    assert result["user/m00009"]["tags"] == tags
    message = capsys.readouterr().err
    assert message.count("left out: ") == len(bad) + 3 and "private: user/m00040" in message


@pytest.mark.parametrize("depth", [90, 200, 400, 900, 100_000])
def test_deeply_nested_record_affects_only_itself(refresh, depth):
    """Its page is read, a string replaces what is too deep, and json.load reads the file."""
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        record = b'{"id": "user/m00000", "likes": 5, "tags": ["]\\"", %s1%s], "sha": "a"}'
        hub.raw["user/m00000"] = record % (b"[" * depth, b"]" * depth)
        result = refresh(hub)
        assert len(result) == 9
        assert (result[0]["likes"], result[0]["sha"], result[0]["tags"][0]) == (5, "a", ']"')
        assert ("nested too deeply" in json.dumps(result[0]["tags"])) == (depth > hub_records.MAX_DEPTH)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**30])
def test_integers_keep_their_digits(refresh, number):
    """Beyond 64 bits as text, since readers of JSON round such numbers; also through the next run."""
    with fake_hub.FakeHub([model(1), model(2, downloads=number, tags=["a: 1234567890123456789012"])]) as hub:
        for _ in range(2):
            downloads = refresh(hub)[1]["downloads"]
            assert downloads == (number if -(2**63) <= number < 2**64 else str(number))
            hub.models["user/m00001"] |= {"likes": 1, "lastModified": now()}


def test_removed_refused_and_restored_models(refresh, tmp_path):
    """By sweep or by id, a model goes to ignore.json with its reason, and leaves it when it is back."""
    (tmp_path / "ignore.json").write_text('{"by/hand": {"reason": "wrong", "since": "2022-01-01"}}')
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        refresh(hub)
        del hub.models["user/m00001"]
        hub.refused["user/m00002"] = 403, {"X-Error-Code": "GatedRepo"}
        hub.refused["user/m00003"] = 401, {"X-Error-Code": "RepoNotFound"}
        hub.models["new/name"] = model(4, id="new/name")
        hub.redirects["user/m00004"] = "new/name"
        records = {r["id"] for r in refresh(hub, "--ids", *(f"user/m0000{n}" for n in range(1, 6)))}
        assert records == {f"user/m0000{n}" for n in (0, 2, 5, 6, 7, 8)} | {"new/name"}
        assert read_reasons(tmp_path) == {
            "by/hand": "wrong",
            "user/m00001": "Hub: 404 not found",
            "user/m00002": "Hub: 403 gated",
            "user/m00003": "Hub: 401 not found or private",
            "user/m00004": "Hub: 404 renamed to new/name",
        }
        del hub.models["user/m00004"], hub.models["user/m00008"]
        refresh(hub, "--full")
        assert set(read_reasons(tmp_path)) == {"by/hand", "user/m00001", "user/m00004", "user/m00008"}
        assert read_reasons(tmp_path)["user/m00008"] == "Hub: not seen by a full sweep"
        for part in (["--limit", 2], ["--author", "new"], ["--filter", "x"], ["--task", "y"]):
            before = refresh(hub)
            assert {r["id"] for r in refresh(hub, "--full", *part)} == {r["id"] for r in before}
        for fault in (fake_hub.status(503), fake_hub.reset, fake_hub.invalid):
            hub.faults = [fault] * api.ATTEMPTS
            with pytest.raises(UserError, match="go on"):
                refresh(hub, "--ids", "user/m00005")
            refresh(hub, "--ids", "user/m00005")
        for code in (401, 403, 404):  # not the Hub's answer on a model
            hub.faults = [fake_hub.status(code)]
            with pytest.raises(UserError, match=f"answers {code}"):
                refresh(hub, "--ids", "user/m00005")
            refresh(hub, "--ids", "user/m00005")
        assert "user/m00005" not in read_reasons(tmp_path)


def test_partial_run_hides_no_change(refresh, tmp_path):
    """After --ids or --filter, the newest date in the file does not say where to begin."""
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        refresh(hub)
        hub.models["user/m00001"] |= {"likes": 5, "lastModified": "2025-01-01T00:00:00.000Z"}
        hub.models["user/m00002"] |= {"likes": 6, "lastModified": "2025-01-02T00:00:00.000Z"}
        refresh(hub, "--ids", "user/m00002")
        assert refresh(hub) == expected_records(hub.models.values())
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        output = tmp_path / "sample.json"
        assert len(refresh(hub, "--limit", 3, output=output)) == 3
        assert len(refresh(hub, output=output)) == 9


@pytest.mark.parametrize("options", [["--full"], ["--limit", 5], ["--ids", "user/m00001"]])
def test_any_record_of_groups_means_a_sweep(refresh, tmp_path, options):
    """Also after a sample or single models, which leave the others as they were."""
    old = list(itertools.islice(read_records(ROOT / "modelinfo.json"), 50))
    fetched = model(7, id="zz/newest", lastModified="2026-11-01T00:00:00.000Z")
    write_records(tmp_path / "modelinfo.json", map(hub_records.encode, [*old, *expected_records([fetched])]))
    with fake_hub.FakeHub([model(n, id=record["id"]) for n, record in enumerate(old[3:])]) as hub:
        hub.models |= {record["id"]: record for record in [fetched, *map(model, range(2000))]}
        result = refresh(hub, *options)
        if "--full" not in options:
            assert [record for record in result if "taken" in record]
            assert {record["id"] for record in result} >= {record["id"] for record in old}
            result = refresh(hub)
        assert result == expected_records(hub.models.values())
        assert set(read_reasons(tmp_path)) == {record["id"] for record in old[:3]}


def test_sweep_that_misses_most_models_changes_nothing(refresh, tmp_path):
    """A Hub that suddenly lists few models is not believed; the message says how to go on."""
    with fake_hub.FakeHub(map(model, range(300))) as hub:
        refresh(hub)
        files = [tmp_path / "modelinfo.json", tmp_path / "ignore.json"]
        before, models = [file.read_bytes() for file in files], hub.models
        hub.models = {k: v for k, v in models.items() if k < "user/m00100"}
        with pytest.raises(UserError, match=r"200 known ones are missing.*Delete .*\.journal"):
            refresh(hub, "--full")
        assert [file.read_bytes() for file in files] == before and not list(tmp_path.glob(".*"))
        (tmp_path / "modelinfo.json.journal").unlink()
        hub.models = {k: v for k, v in models.items() if k >= "user/m00100"}
        assert len(refresh(hub, "--full")) == 200


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"Retry_After": "7"}, 7),
        ({"RateLimit": '"api";r=0;t=9', "Retry_After": "7"}, 10),
        ({"RateLimit": '"api";r=5;t=9'}, 1),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 1),
        ({"Retry_After": "soon"}, 1),
        ({"Retry_After": "9" * 400}, None),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
def test_wait_is_as_long_as_the_server_says(refresh, monkeypatch, code, headers, seconds):
    """To the second (a quota's seconds are rounded, so one more); otherwise the back-off."""
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
                refresh(hub)
        else:
            assert len(refresh(hub)) == 3 and clock.now - 1000 == pytest.approx(seconds)


def test_no_request_while_the_quota_is_used_up(refresh):
    """The script waits before the Hub answers 429."""
    with fake_hub.FakeHub(map(model, range(50)), quota=3, window=1) as hub:
        began = time.monotonic()
        assert len(refresh(hub, page=10)) == 50
        assert hub.broken_quota == 0 and len(hub.requests) == 6
        assert time.monotonic() - began >= 1


def test_token_is_sent_only_to_the_endpoint(refresh, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with fake_hub.FakeHub(map(model, range(30))) as hub, fake_hub.FakeHub() as other:
        refresh(hub, page=10)
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
                refresh(hub, *options, output=tmp_path / f"y{len(options)}")
        assert other.tokens == {None} and not list(tmp_path.glob("y?"))
    assert "hf_secret" not in "".join(capsys.readouterr())


def test_second_run_other_arguments_and_bad_input(refresh, tmp_path):
    """Each is one clear line; the unfinished run can still be finished."""
    path = tmp_path / "modelinfo.json.journal"
    with fake_hub.FakeHub(map(model, range(30))) as hub:
        with modelinfo.open_journal(path), pytest.raises(UserError, match="another run is using"):
            refresh(hub)
        hub.faults = [fake_hub.fine] + [fake_hub.status(500)] * api.ATTEMPTS
        with pytest.raises(UserError, match="HTTP 500"):
            refresh(hub, page=10)
        for other in (["--author", "user"], ["--endpoint", "http://127.0.0.1:9"]):
            with pytest.raises(UserError, match="other arguments"):
                refresh(hub, *other, page=10)
        before = len(hub.requests)
        assert len(refresh(hub, page=10)) == 30 and len(hub.requests) - before == 3
        old = (tmp_path / "modelinfo.json").read_bytes()
        path.write_bytes(b"not a journal" * 200)
        with pytest.raises(UserError, match="not a database"):
            refresh(hub)
        path.unlink()
        for options in (
            ["--ids", "../x"],
            ["--limit", "0"],
            ["--endpoint", "ftp://x"],
            ["--ids", "a", "--full"],
        ):
            with pytest.raises(UserError):
                refresh(hub, *options)
        assert (tmp_path / "modelinfo.json").read_bytes() == old


def test_help_and_sigterm(tmp_path):
    """SIGTERM ends as Ctrl-C does: one line; exit code 143."""
    command = [sys.executable, ROOT / "modelinfo.py"]
    assert (
        "--ids-file"
        in subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=tmp_path).stdout
    )
    with fake_hub.FakeHub(map(model, range(30))) as hub:
        requested = threading.Event()
        hub.before = lambda number: requested.set()
        hub.faults = [fake_hub.stall(3)]
        options = ["--endpoint", hub.url, "--output", tmp_path / "m.json", "--ignore", tmp_path / "i.json"]
        with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
            assert requested.wait(30)
            process.terminate()
            message = process.stderr.read()
    assert process.returncode == 143 and "interrupted" in message and "Traceback" not in message
