"""Runners and a Hub that refuses the token, has renamed a model, or cannot be reached."""

import os
import shutil
from pathlib import Path
from unittest import mock

import pytest

from bench import CARD, failures
from fake_hub import FakeHub, token_is_expired
from scored import hub as api

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def offline():
    """Set HF_HUB_OFFLINE."""
    import huggingface_hub.constants as constants

    with mock.patch.object(constants, "HF_HUB_OFFLINE", True):
        yield


@pytest.fixture
def warm(bench):
    """A bench whose cache holds ann/good: (bench, its commit)."""
    with FakeHub(models={"ann/good": Path(bench.model("good", CARD.format("test")))}) as hub:
        assert bench.call("ann/good", "--protocol", "standard", hub=hub.url).returncode == 0
        sha = hub.sha("models", "ann/good")
    assert "revision" not in bench.rows()[0]["notes"]
    return bench, sha


def test_expired_token_is_named_and_the_model_is_not_called_missing(bench, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with FakeHub(models={"ann/good": Path(bench.model("good"))}) as hub:
        hub.always = [token_is_expired]
        done = bench.call("ann/good", hub=hub.url)
    assert done.returncode == 1
    stage, error = failures(bench.rows())["good"]
    assert stage == "resolve" and "no such model" not in error and "hf_secret" not in error
    assert error.startswith('the Hub refuses HF_TOKEN (User Access Token "research" is expired): set it')


@pytest.mark.parametrize("typed", ["old/name", "Old/NAME", "ann/GOOD"])
def test_renamed_model_is_measured_once_under_its_new_id(bench, typed):
    with FakeHub(models={"ann/good": Path(bench.model("good"))}) as hub:
        hub.redirects["old/name"] = "ann/good"
        done = bench.call(typed, "ann/good", "--protocol", "standard", hub=hub.url)
    assert done.returncode == 0, done.stderr
    assert [row["model"] for row in bench.rows()] == ["ann/good"]
    assert len(bench.loads()) == 1 and done.stdout.count("accuracy") == 1


@pytest.mark.parametrize("revision", [None, "main", "commit"])
def test_offline_runner_measures_what_is_cached(warm, offline, revision):
    bench, sha = warm
    name = {None: "ann/good", "main": "ann/good@main", "commit": f"ann/good@{sha}"}[revision]
    done = bench.call(name, "--protocol", "doubled", hub=NOWHERE)
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in bench.rows() if row["protocol"] == "doubled"]
    assert (row["model"], row["revision"]) == ("ann/good", sha)
    cached = f"the cached {sha}" if revision == "commit" else "the newest commit in the cache"
    assert row["notes"]["revision"] == f"{cached}: the Hub could not be asked"
    assert [claim["value"] for claim in row["claims"]] == [0.9]  # its card is in the cache, too


def test_offline_main_is_that_of_the_cache(warm, offline):
    """Where another program has noted to which commit a branch pointed, that one is measured."""
    bench, sha = warm
    (snapshot,) = (bench.folder / "hf" / "hub").rglob(sha)
    newer = snapshot.with_name("1" * 40)
    shutil.copytree(snapshot, newer)
    os.utime(newer, (2e9, 2e9))
    assert bench.call("ann/good", "--protocol", "doubled", hub=NOWHERE).returncode == 0
    reference = snapshot.parents[1] / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text(sha)
    assert bench.call("ann/good", "--protocol", "doubled", hub=NOWHERE).returncode == 0
    rows = [row for row in bench.rows() if row["protocol"] == "doubled"]
    assert {row["revision"]: row["notes"]["revision"].partition(":")[0] for row in rows} == {
        sha: "the cached main",
        "1" * 40: "the newest commit in the cache",
    }


def test_without_a_network_the_cache_is_measured(warm, monkeypatch):
    bench, sha = warm
    monkeypatch.setattr(api, "WAITS", (0.01,))
    done = bench.call("ann/good", "--protocol", "doubled", hub=NOWHERE)
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in bench.rows() if row["protocol"] == "doubled"]
    assert row["revision"] == sha and "the Hub could not be asked" in row["notes"]["revision"]


def test_offline_runner_says_what_the_cache_lacks(warm, offline):
    bench, _ = warm
    done = bench.call("ann/none", f"ann/good@{'0' * 40}", hub=NOWHERE)
    assert done.returncode == 1
    errors = {error for _, error in failures(bench.rows()).values()}
    assert errors == {"HF_HUB_OFFLINE is set, and the cache does not hold it"}
    (weights,) = (bench.folder / "hf" / "hub").rglob("model.safetensors")
    weights.unlink()
    assert bench.call("ann/good", "--force", hub=NOWHERE).returncode == 1
    assert failures(bench.rows())["good"] == (
        "resolve",
        "the cache lacks some of its files, and the Hub cannot be asked",
    )


def test_server_errors_are_not_taken_for_a_missing_network(warm, monkeypatch):
    """A Hub that answers could say that a model has changed: nothing is measured in its stead."""
    bench, _ = warm
    monkeypatch.setattr(api, "WAITS", (0.01,))
    with FakeHub() as hub:
        hub.always = [lambda handler: not handler.answer(503, {"error": "busy"})]
        assert bench.call("ann/good", "--force", hub=hub.url).returncode == 1
    assert "503" in failures(bench.rows())["good"][1]
