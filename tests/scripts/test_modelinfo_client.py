"""modelinfo.py against Hubs that behave as the real one, a mirror and another server were recorded to."""

import itertools
import json
import subprocess
import threading
import types

import pytest

import fake_hub
import modelinfo
from hub_refresh import expected_records, model, now, read_reasons
from scored import hub as api
from scored import listing
from scored.files import UserError
from scored.hub_records import FIELDS
from scored.records import read_records

OLD = "2020-01-01T00:00:00.000Z"


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")


def files_of(folder):
    """Read both files, as bytes; None for one that is not there."""
    paths = [folder / "modelinfo.json", folder / "ignore.json"]
    return [path.read_bytes() if path.exists() else None for path in paths]


# ── What removes a record ─────────────────────────────────────────────────────────────────────────────────


def test_expired_token_removes_no_model(refresh, tmp_path, token):
    """The Hub answers 401 to everything then: by id, by change and in full, both files stay as they are."""
    with fake_hub.FakeHub(map(model, range(5))) as hub:
        refresh(hub)
        before = files_of(tmp_path)
        hub.always = [fake_hub.token_is_expired]
        for options in (["--ids", "user/m00000", "user/m00001", "user/m00002"], [], ["--full"]):
            with pytest.raises(UserError, match=r"401 User Access Token .* is expired; HF_TOKEN is refused"):
                refresh(hub, *options)
            assert files_of(tmp_path) == before and not list(tmp_path.glob("*.journal*"))
        hub.always = []
        assert refresh(hub) == expected_records(hub.models.values())


@pytest.mark.parametrize(
    "code, headers, with_token, reason",
    [
        (401, {"X-Error-Code": "RepoNotFound"}, True, "401 not found or private"),
        (401, {"X-Error-Code": "RepoNotFound"}, False, "401 not found or private"),
        (401, {"X-Error-Message": "Invalid username or password."}, False, "401 not found or private"),
        (401, {"X-Error-Code": "GatedRepo"}, True, "401 gated"),
        (403, {"X-Error-Code": "GatedRepo"}, True, "403 gated"),
        (403, {"X-Error-Message": "Access to this resource is disabled."}, True, "403 disabled"),
        (404, {"X-Error-Code": "RepoNotFound"}, True, "404 not found"),
        (404, {"X-Error-Message": "Repository not found"}, False, "404 not found"),
    ],
)
def test_answer_on_a_model_goes_to_ignore_json(
    refresh, tmp_path, monkeypatch, code, headers, with_token, reason
):
    if with_token:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with fake_hub.FakeHub(map(model, range(5))) as hub:
        refresh(hub)
        hub.refused["user/m00002"] = code, headers
        names = [record["id"] for record in refresh(hub, "--ids", "user/m00002", "user/m00003")]
        assert read_reasons(tmp_path) == {"user/m00002": f"Hub: {reason}"}
        assert ("user/m00002" in names) == ("gated" in reason) and "user/m00003" in names


@pytest.mark.parametrize("code", [400, 403, 404, 410, 451])
def test_other_refusal_costs_that_id_only(refresh, tmp_path, capsys, code):
    """It is reported, its record stays, nothing is ignored, and the exit code says that some failed."""
    with fake_hub.FakeHub(map(model, range(5))) as hub:
        refresh(hub)
        hub.models["user/m00001"] |= {"likes": 7}
        hub.models["user/m00002"] |= {"likes": 8}
        hub.models["user/m00003"] |= {"likes": 9}
        hub.refused["user/m00002"] = code, {"X-Error-Message": "Not for you"}
        records = refresh(hub, "--ids", *(f"user/m0000{n}" for n in (1, 2, 3)))
        assert [record.get("likes") for record in records] == [None, 7, None, 9, None]
        assert read_reasons(tmp_path) == {}
        message = capsys.readouterr().err
        assert f"user/m00002 was not refreshed: {hub.url} answers {code} Not for you" in message
        assert "1 of 3 models were not refreshed" in message
        places = ["--output", tmp_path / "modelinfo.json", "--ignore", tmp_path / "ignore.json"]
        arguments = ["--endpoint", hub.url, *places, "--ids", "user/m00002"]
        assert modelinfo.main(list(map(str, arguments))) == 1


@pytest.mark.parametrize("code", [400, 500, 502, 503, 504])
@pytest.mark.parametrize("options", [["--ids", "user/m00001", "user/m00002"], [], ["--full"]])
def test_400_and_5xx_remove_nothing(refresh, tmp_path, monkeypatch, code, options):
    monkeypatch.setattr(api, "ATTEMPTS", 2)
    with fake_hub.FakeHub(map(model, range(5))) as hub:
        refresh(hub)
        before = files_of(tmp_path)
        hub.always = [lambda handler: not handler.answer(code, {"error": "no"})]
        if code == 400 and "--ids" in options:
            refresh(hub, *options)
        else:
            with pytest.raises(UserError, match=str(code)):
                refresh(hub, *options)
        assert files_of(tmp_path) == before


@pytest.mark.parametrize("typed", ["old/name", "Old/NAME", "NEW/name", "new/name"])
def test_renamed_model_is_one_model_under_its_new_id(refresh, tmp_path, typed):
    """Whatever letter case was typed; a record whose id differs only in letter case is replaced, too."""
    with fake_hub.FakeHub([model(1, id="old/name"), model(2)]) as hub:
        refresh(hub)
        hub.models["new/name"] = hub.models.pop("old/name") | {"id": "new/name"}
        hub.redirects["old/name"] = "new/name"
        if "new" in typed.casefold():
            text = (tmp_path / "modelinfo.json").read_text().replace("old/name", "New/Name")
            (tmp_path / "modelinfo.json").write_text(text)
            hub.redirects.clear()
        assert [record["id"] for record in refresh(hub, "--ids", typed)] == (
            ["new/name", "user/m00002"] if typed != "new/name" else ["New/Name", "new/name", "user/m00002"]
        )
        is_renamed = typed.casefold() == "old/name"
        assert read_reasons(tmp_path) == ({"old/name": "Hub: 404 renamed to new/name"} if is_renamed else {})


# ── What a refresh of changes sees ────────────────────────────────────────────────────────────────────────


def test_refresh_keeps_all_records_of_its_pages(refresh):
    """Older ones than the newest known date, too: they are on the page, and newer than ours."""
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        refresh(hub)
        hub.models["public/now"] = model(3, id="public/now")  # an old date, made public since
        hub.models["user/m00004"] |= {"downloads": 77}
        assert refresh(hub) == expected_records(hub.models.values())


def test_refresh_begins_before_the_newest_date(refresh):
    """By the clock skew between the Hub's machines: what was modified just before may appear after it."""
    with fake_hub.FakeHub(map(model, range(900))) as hub:
        refresh(hub)
        late = model(899 - 250, id="late/one", createdAt=OLD)  # 250 s before the newest
        early = model(899 - 450, id="early/one", createdAt=OLD)
        hub.models |= {record["id"]: record for record in (late, early)}
        names = {record["id"] for record in refresh(hub, page=10)}
        assert "late/one" in names and "early/one" not in names


def test_new_model_with_old_commits_is_seen(refresh, tmp_path):
    """Its date of change is that of commits made long before: it is found by its date of creation."""
    with fake_hub.FakeHub(map(model, range(900))) as hub:
        refresh(hub)
        new = [model(n, id=f"new/m{n}", createdAt=now(), lastModified=OLD) for n in range(25)]
        hub.models |= {record["id"]: record for record in new}
        hub.requests.clear()
        assert refresh(hub, page=10) == expected_records(hub.models.values())
        pages = 3 + 31 + 31  # of the new ones, and twice the 300 s of clock skew
        assert len(hub.requests) <= pages + 3
    assert not (tmp_path / "modelinfo.json.since").exists()


def test_new_model_is_seen_after_a_partial_run(refresh):
    """A newer model that --ids brought does not hide those created before it."""
    with fake_hub.FakeHub(map(model, range(90))) as hub:
        refresh(hub)
        for day in range(1, 26):
            name = f"new/m{day}"
            stamp = f"2024-02-{day:02}T00:00:00.000Z"
            hub.models[name] = model(1, id=name, createdAt=stamp, lastModified=OLD)
        refresh(hub, "--ids", "new/m25")
        assert refresh(hub, page=10) == expected_records(hub.models.values())


def test_summary_and_help_say_what_only_a_full_sweep_sees(refresh, capsys):
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        refresh(hub)
        assert "Only --full sees" not in capsys.readouterr().err
        refresh(hub)
        message = capsys.readouterr().err
    assert "Only --full sees what was deleted, renamed, made private, or made public" in message
    with pytest.raises(SystemExit):
        modelinfo.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "only this sees what was deleted, renamed, made private, or made public" in text


def test_walk_ends_on_a_hub_without_dates(refresh):
    """Where no record has a date of creation, the walk by it ends after one page."""
    records = [model(n) for n in range(50)]
    with fake_hub.FakeHub(records) as hub:
        for record in hub.models.values():
            del record["createdAt"]
        refresh(hub, page=10)
        hub.requests.clear()
        refresh(hub, page=10)
        assert len(hub.requests) <= 5 + 1


# ── Other Hubs ────────────────────────────────────────────────────────────────────────────────────────────

REFUSALS = {
    "results": [fake_hub.refuses(400, "expand", "evalResults", "Invalid enum value in expand")],
    "order": [fake_hub.refuses(400, "direction", "1", "Ascending order is not supported")],
}
REFUSALS["both"] = REFUSALS["results"] + REFUSALS["order"]


@pytest.mark.parametrize("refused", REFUSALS)
def test_refused_parameters_are_left_out(refresh, tmp_path, capsys, refused):
    """A 400 is first asked again in another form; the summary says what the records lack."""
    has_results = refused == "order"
    records = [model(n, evalResults=[{"value": n}]) for n in range(300)]
    fields = [field for field in FIELDS if has_results or field != "evalResults"]

    def expected():
        keys = ["id", *fields]
        rows = [{key: record[key] for key in keys if key in record} for record in hub.models.values()]
        return sorted(rows, key=lambda record: record["id"])

    with fake_hub.FakeHub(records) as hub:
        hub.always = REFUSALS[refused]
        assert refresh(hub, page=100) == expected()
        message = capsys.readouterr().err
        assert ("The Hub refuses evalResults: the records are without them." in message) != has_results
        hub.models["user/m00007"] |= {"likes": 3, "lastModified": now()}
        assert refresh(hub, page=100) == expected()
        hub.models["user/m00008"] |= {"likes": 4}
        assert refresh(hub, "--ids", "user/m00008", "user/m00009") == expected()
        assert read_reasons(tmp_path) == {}


def test_ignored_fields_are_named_in_the_summary(refresh, capsys):
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        refresh(hub)
        assert "No record has evalResults" in capsys.readouterr().err
        hub.models["user/m00001"]["evalResults"] = []
        refresh(hub, "--full")
        assert "evalResults" not in capsys.readouterr().err


@pytest.mark.parametrize("is_killed", [False, True])
def test_sweep_in_descending_order_misses_nothing(refresh, is_killed):
    """Where ascending order is ignored, models created meanwhile stand before the first page."""
    with fake_hub.FakeHub(map(model, range(45))) as hub:
        hub.is_always_descending = True

        def create(number):
            if number == 3:
                hub.models["new/one"] = model(1, id="new/one", createdAt=now(), lastModified=OLD)

        hub.before = create
        if is_killed:
            hub.faults = [fake_hub.fine] * 2 + [fake_hub.status(500)] * api.ATTEMPTS
            with pytest.raises(UserError, match="HTTP 500"):
                refresh(hub, page=10)
        assert refresh(hub, page=10) == expected_records(hub.models.values())
        assert "new/one" in hub.models


@pytest.mark.parametrize("fault", [fake_hub.overloaded_above(300), fake_hub.overloaded_above(100, 500)])
def test_page_that_the_hub_cannot_make_is_asked_for_in_parts(refresh, monkeypatch, capsys, fault):
    monkeypatch.setattr(api, "ATTEMPTS", 3)
    with fake_hub.FakeHub(map(model, range(1200))) as hub:
        hub.always = [fault]
        assert refresh(hub) == expected_records(hub.models.values())
        assert "cannot make a page of 1000 models: asking for 500" in capsys.readouterr().err
        assert len(hub.requests) <= 2 * 4 * 3 + 2 * 12


def test_page_that_takes_too_long_is_asked_for_in_parts(refresh, monkeypatch):
    monkeypatch.setattr(api, "ATTEMPTS", 2)
    monkeypatch.setattr(api, "TIMEOUT", 0.3)
    slow = itertools.count()

    def stall(handler):
        if int(fake_hub.parameters(handler)["limit"][0]) > 500:
            next(slow)
            threading.Event().wait(0.6)
        return False

    with fake_hub.FakeHub(map(model, range(20))) as hub:
        hub.always = [stall]
        assert refresh(hub) == expected_records(hub.models.values())
        assert next(slow) == 4  # two attempts in each of two walks


def test_page_of_a_hundred_that_fails_ends_the_run(refresh, monkeypatch):
    monkeypatch.setattr(api, "ATTEMPTS", 2)
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        hub.always = [fake_hub.overloaded_above(99)]
        with pytest.raises(UserError, match="failed 2 times; last error: HTTP 504"):
            refresh(hub)
        assert len(hub.requests) == 5 * 2  # 1000, 500, 250, 125, 100
        hub.requests.clear()
        hub.always = [lambda handler: not handler.answer(429, {"error": "slow down"})]
        with pytest.raises(UserError, match="HTTP 429"):
            refresh(hub)
        assert len(hub.requests) == 2  # a smaller page would use up the quota faster


@pytest.mark.parametrize(
    "headers, seconds", [({}, 300), ({"Retry_After": "soon"}, 300), ({"Retry_After": "7"}, 7)]
)
def test_429_without_a_time_is_waited_for(refresh, monkeypatch, headers, seconds):
    clock = types.SimpleNamespace(now=1000.0)
    sleep = lambda pause: setattr(clock, "now", clock.now + pause)  # noqa: E731
    monkeypatch.setattr(api, "time", types.SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    monkeypatch.setattr(api, "QUOTA_WAIT", 300.0)
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        hub.faults = [fake_hub.status(429, **headers)]
        assert len(refresh(hub)) == 3 and clock.now - 1000 == pytest.approx(seconds)


@pytest.mark.parametrize("code", [401, 403, 404, 405, 501])
@pytest.mark.parametrize("with_token", [False, True])
def test_server_without_a_list_is_named_as_that(refresh, monkeypatch, code, with_token):
    """Models by id still work there."""
    if with_token:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        hub.always = [fake_hub.no_listing(code)]
        with pytest.raises(UserError, match=rf"{code}.*gives no list of models: .* --ids") as raised:
            refresh(hub)
        assert "check HF_TOKEN" not in str(raised.value) and len(hub.requests) == 1
        assert len(refresh(hub, "--ids", "user/m00001")) == 1


def test_first_request_that_fails_blocks_no_other_arguments(refresh, tmp_path):
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        with pytest.raises(UserError, match="failed"):
            modelinfo.main(["--endpoint", "http://127.0.0.1:9", "--output", str(tmp_path / "modelinfo.json")])
        assert not list(tmp_path.glob("*.journal*"))
        assert len(refresh(hub, "--ids", "user/m00001")) == 1
        journal = tmp_path / "modelinfo.json.journal"
        # Killed before its first page, a run leaves a journal with a plan.
        hub.always = [lambda handler: not handler.answer(500, {"error": "no"})]
        saved = []
        hub.before = lambda number: saved.append(journal.read_bytes()) if journal.exists() else None
        with pytest.raises(UserError, match="HTTP 500"):
            refresh(hub, "--author", "user")
        hub.before, hub.always = lambda number: None, []
        journal.write_bytes(saved[-1])
        assert refresh(hub) == expected_records(hub.models.values())


def test_bad_certificate_is_an_error_at_once(refresh, tmp_path, monkeypatch):
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    done = subprocess.run([*command, "-keyout", key, "-out", certificate], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        hub.socket = context.wrap_socket(hub.socket, server_side=True)
        hub.url = hub.url.replace("http://", "https://")
        monkeypatch.setattr(api, "BACKOFF", 100)
        with pytest.raises(UserError, match=r"cannot ask https://.*: self.signed certificate"):
            refresh(hub)
    assert not list(tmp_path.glob("*.journal*"))


def test_messages_are_sentences(refresh, tmp_path):
    """A broken file and a run of changes: what is wrong, then what to do."""
    path = tmp_path / "modelinfo.json"
    with fake_hub.FakeHub(map(model, range(3))) as hub:
        path.write_text('"one"')
        with pytest.raises(UserError, match=r"one per line\. With --full, this run replaces the file$"):
            refresh(hub)
        assert len(refresh(hub, "--full")) == 3
    assert len(list(read_records(path))) == len(json.loads(path.read_text())) == 3
    assert listing.PAGE_SIZE == 1000
