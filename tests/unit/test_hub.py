"""Requests to the Hub: what is repeated, how long it waits, and when it gives up."""

import ssl

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import hf_raise_for_status

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


def refusal(code, headers=(), token=None, body=b"", url="https://huggingface.co/api/models/a/b"):
    """Make the error that huggingface_hub raises for an answer."""
    request = httpx2.Request("GET", url, headers={"authorization": f"Bearer {token}"} if token else {})
    response = httpx2.Response(code, headers=dict(headers), content=body, request=request)
    with pytest.raises(HfHubHTTPError) as raised:
        hf_raise_for_status(response)
    return raised.value


EXPIRED = {"X-Error-Message": 'User Access Token "research" is expired'}
NOT_FOUND = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
ANONYMOUS = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Invalid username or password."}


@pytest.mark.parametrize(
    "code, headers, token, body, is_about_model, is_about_token",
    [
        (401, EXPIRED, "hf_x", b"", False, True),
        (401, {}, "hf_x", b'{"error":"Invalid credentials in Authorization header"}', False, True),
        (401, {}, "hf_x", b"<html>login</html>", False, True),
        (401, NOT_FOUND, "hf_x", b"", True, False),
        (401, {"X-Error-Code": "GatedRepo"}, "hf_x", b"", True, False),
        (401, ANONYMOUS, None, b"", True, False),
        (401, {}, None, b'{"error":"Invalid username or password."}', True, False),
        (401, {}, None, b"<html>login</html>", False, False),
        (403, {"X-Error-Code": "GatedRepo"}, "hf_x", b"", True, False),
        (403, {"X-Error-Message": "Your token lacks permissions"}, "hf_x", b"", False, False),
        (403, {"X-Error-Message": "Access to this resource is disabled."}, None, b"", True, False),
        (404, NOT_FOUND, None, b"", True, False),
        (404, {}, None, b'{"error":"Repository not found"}', True, False),
        (404, {}, None, b'{"error":"no such page"}', False, False),
        (404, {}, None, b"<html></html>", False, False),
        (400, {}, "hf_x", b'{"error":"Repository not found"}', False, False),
        (451, {}, None, b'{"error":"Unavailable for legal reasons"}', False, False),
    ],
)
def test_answers_on_a_model_and_on_the_token(code, headers, token, body, is_about_model, is_about_token):
    error = refusal(code, headers, token, body)
    assert api.is_about_model(error.response) == is_about_model
    assert bool(api.token_trouble(error)) == is_about_token


def test_token_trouble_says_what_the_hub_says_without_the_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    text = api.token_trouble(refusal(401, {"X-Error-Message": "Token hf_abc is expired"}, "hf_abc"))
    assert text.startswith("the Hub refuses HF_TOKEN (Token *** is expired)") and "hf auth login" in text
    assert api.token_trouble(ValueError("x")) == ""


def test_429_that_names_no_time_is_waited_for_as_long_as_a_quota_lasts(ask):
    assert ask(fake_hub.status(429), times=1) == ("1", 2, [300])
    assert ask(fake_hub.status(429, Retry_After="soon"), times=1) == ("1", 2, [300])
    assert ask(fake_hub.status(429, Retry_After="7"), times=1) == ("1", 2, [7])
    assert ask(fake_hub.status(429, RateLimit=QUOTA.format(5, 9)), times=1) == ("1", 2, [1])


def test_not_implemented_is_not_retried(ask):
    assert ask(fake_hub.status(501))[1:] == (1, [])


def test_certificate_error_is_found_in_its_causes():
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_message = "self-signed certificate"
    error = httpx2.ConnectError("failed")
    error.__cause__ = OSError("failed")
    error.__cause__.__context__ = cause
    assert api.certificate_error(error) == "self-signed certificate" and not api.is_offline(error)
    assert api.transient_reason(error) == ""
    assert api.certificate_error(httpx2.ConnectError("refused")) == ""
    assert api.is_offline(httpx2.ConnectError("refused")) and not api.is_offline(httpx2.ReadError("cut"))
