"""Requests to the Hub: what is repeated, how long it waits, and when it gives up."""

import httpx2
import pytest
from huggingface_hub import HfApi

import fake_hub
from scored import hub as api

QUOTA = '"api";r={};t={}'


@pytest.fixture
def ask(monkeypatch):
    """Ask a Hub in trouble for a model; return its SHA or the error's name, the requests, the waits."""
    waits = []
    monkeypatch.setattr(api.time, "sleep", waits.append)

    def ask(fault, times=9):
        waits.clear()
        with fake_hub.FakeHub([{"id": "a/b", "sha": "1"}]) as hub:
            hub.faults = [fault] * times
            try:
                answer = api.with_retries(HfApi(hub.url).model_info, "a/b").sha
            except Exception as error:
                answer = type(error).__name__
            return answer, len(hub.requests), list(waits)

    return ask


def test_server_errors_are_retried_three_times(ask, capsys):
    assert ask(fake_hub.status(503)) == ("HfHubHTTPError", 4, [1, 4, 16])
    assert ask(fake_hub.status(503), times=2) == ("1", 3, [1, 4])
    assert ask(fake_hub.reset)[:2] == ("ReadError", 4)
    assert "the Hub failed (HTTP 503): waiting 4 s" in capsys.readouterr().err


def test_quota_is_waited_for_unless_that_takes_too_long(ask):
    assert ask(fake_hub.status(429, RateLimit=QUOTA.format(0, 99)), times=1) == ("1", 2, [100])
    assert ask(fake_hub.status(429, RateLimit=QUOTA.format(0, 9999)))[1:] == (1, [])


@pytest.mark.parametrize("code", [400, 403])
def test_final_answers_are_not_retried(ask, code):
    assert ask(fake_hub.status(code))[1:] == (1, [])


@pytest.mark.parametrize(
    "code, headers, seconds",
    [
        (429, {}, 0),
        (429, {"Retry-After": "7"}, 7),
        (503, {"Retry-After": " 7 "}, 7),
        (200, {"Retry-After": "7"}, 0),
        (200, {"RateLimit": QUOTA.format(0, 9)}, 10),
        (200, {"RateLimit": QUOTA.format(1, 9)}, 0),
        (429, {"RateLimit": QUOTA.format(0, 9), "Retry-After": "7"}, 10),
        (429, {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2015 07:29:00 GMT"}, 60),
        (429, {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2015 07:27:00 GMT"}, 0),
        (429, {"Retry-After": "soon"}, 0),
        (429, {"Retry-After": "-5"}, 0),
        (429, {"Retry-After": "9" * 400}, float("inf")),
        (429, {"RateLimit": QUOTA.format(0, "9" * 5000), "Retry-After": "7"}, 7),
    ],
)
def test_stated_wait(code, headers, seconds):
    assert api.stated_wait(httpx2.Response(code, headers=headers)) == seconds
