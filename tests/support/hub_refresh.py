"""Runs of modelinfo.py against a fake Hub, in this process."""

import json
from datetime import UTC, datetime

import pytest

import modelinfo
from scored import hub as api
from scored import listing
from scored.hub_records import FIELDS
from scored.records import read_records


def model(number, **fields):
    """Build a Hub record, one second newer than that of the number before."""
    stamp = f"2024-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"
    return {"id": f"user/m{number:05}", "tags": ["pytorch"], "downloads": number, "sha": "0" * 40} | {
        "createdAt": stamp, "lastModified": stamp, "siblings": ["not asked for"], **fields}  # fmt: skip


def now():
    """Return the time as the Hub writes it."""
    return modelinfo.format_time(datetime.now(UTC))


@pytest.fixture
def hub_environment(monkeypatch, tmp_path):
    """Keep the machine's token and proxy out of it, and pauses short."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name, seconds in (("BACKOFF", 0.01), ("MAX_BACKOFF", 0.05), ("TIMEOUT", 3), ("QUOTA_WAIT", 0.02)):
        monkeypatch.setattr(api, name, seconds)


@pytest.fixture
def refresh(tmp_path, monkeypatch, hub_environment):
    """Run modelinfo.py in this process; return the records of the file after checking its form."""

    def run(hub, *options, output=tmp_path / "modelinfo.json", page=1000):
        monkeypatch.setattr(listing, "PAGE_SIZE", page)
        places = ["--output", str(output), "--ignore", str(tmp_path / "ignore.json")]
        modelinfo.main(["--endpoint", hub.url, *places, *map(str, options)])
        assert not list(tmp_path.glob("*.journal*")) and not list(tmp_path.glob(".*tmp"))
        return read_checked(output)

    return run


def read_checked(path):
    """Read a file of records that must be strict JSON, sorted, one record per line."""

    def reject(text):
        raise AssertionError(f"{text} in the file")

    result = json.loads(path.read_bytes(), parse_constant=reject)
    assert [r["id"] for r in result] == sorted({r["id"] for r in result})
    assert len(path.read_bytes().splitlines()) == len(result) + 2
    assert list(read_records(path)) == result
    return result


def expected_records(records):
    """Reduce the Hub's records to what the file must hold."""
    keys = ["id", *FIELDS]
    return sorted(({k: r[k] for k in keys if k in r} for r in records), key=lambda r: r["id"])


def read_reasons(tmp_path):
    """Read ignore.json as id to reason."""
    return {k: v["reason"] for k, v in json.loads((tmp_path / "ignore.json").read_text()).items()}
