"""The Hub's API: JSON from one endpoint, no faster than its quota allows, with retries."""

import json
import re
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from scored.cli import redact
from scored.files import UserError

WAITS, MAX_WAIT = (1, 4, 16), 600  # seconds between attempts; the longest that the Hub may ask for
QUOTA_WAIT = 300.0  # seconds of the Hub's window for a quota: the wait after a 429 that names none
# The same for a sweep of the Hub, which goes on for hours.
ATTEMPTS, BACKOFF, MAX_BACKOFF, MAX_QUOTA_WAIT = 10, 1.0, 60.0, 3600
TIMEOUT = 60.0  # seconds of one request
NEW_TOKEN = "set it to a valid token, or log in again with `hf auth login`"
TOKEN_TROUBLE = re.compile("token|credentials", re.IGNORECASE)  # in the Hub's messages


class HubRefused(Exception):
    """The Hub says that this one model is not there, or not for us."""


class RequestRefused(UserError):
    """An answer that nothing is repeated for and that says nothing on whether a model is there."""

    def __init__(self, message: str, code: int, is_hubs: bool):
        super().__init__(message)
        self.code, self.is_hubs = code, is_hubs  # is_hubs: the Hub's own, not of something before it


class HubFailed(UserError):
    """All attempts failed. `is_overloaded`: with 5xx or timeouts, so that a smaller page may succeed."""

    def __init__(self, message: str, is_overloaded: bool):
        super().__init__(message)
        self.is_overloaded = is_overloaded


class BadAnswer(Exception):
    """An answer is not the JSON that was asked for."""


def print_and_sleep(seconds: float, reason: str) -> None:
    """Wait before the next attempt, and say so."""
    print(f"the Hub failed ({reason}): waiting {seconds:.0f} s", file=sys.stderr)
    time.sleep(seconds)


def with_retries(
    call: Callable,
    *args,
    waits: Sequence[float] | None = None,
    max_wait: float = MAX_WAIT,
    pause: Callable[[float, str], None] = print_and_sleep,
    **options,
):
    """Call the Hub; wait out rate limits and retry network errors. Raises the last error.

    Between attempts it waits for the seconds in `waits`, or as long as the Hub says, up to `max_wait`.
    """
    for wait in WAITS if waits is None else waits:
        try:
            return call(*args, **options)
        except Exception as error:
            response = getattr(error, "response", None)
            reason, stated = transient_reason(error), stated_wait(response)
            if not reason or stated > max_wait:
                raise
            if response is not None and response.status_code == 429 and not names_wait(response):
                stated = max(wait, QUOTA_WAIT)
        pause(stated or wait, reason)
    return call(*args, **options)


def transient_reason(error: Exception) -> str:
    """Describe an error that may go away when the request is repeated; "" for any other error."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        code = error.response.status_code
        return f"HTTP {code}" if code in (408, 429) or (code >= 500 and code != 501) else ""
    if isinstance(error, (httpx2.TransportError, httpx2.DecodingError)) and not certificate_error(error):
        return redact(f"{type(error).__name__}: {error}")
    return str(error) if isinstance(error, BadAnswer) else ""


def certificate_error(error: BaseException) -> str:
    """Return what is wrong with a server's certificate; "" for any other error."""
    cause = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        cause = cause.__cause__ or cause.__context__
    return str(error) if "CERTIFICATE_VERIFY_FAILED" in str(error) else ""


def is_offline(error: BaseException) -> bool:
    """Tell whether a request failed because there is no network, or HF_HUB_OFFLINE forbids it."""
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
        return not certificate_error(error)
    return isinstance(error, OfflineModeIsEnabled)


def has_token(response) -> bool:
    """Tell whether a token was sent with the request that this response answers."""
    with suppress(RuntimeError):  # a response without a request
        return "authorization" in response.request.headers
    return False


def is_about_model(response) -> bool:
    """Tell whether a 401, 403 or 404 says that a model is missing, private, gated or disabled.

    Else it concerns the token or the server. The real Hub answers 401 to everything if a token is expired.
    """
    if response.headers.get("X-Error-Code") in ("RepoNotFound", "GatedRepo"):
        return True
    text = error_text(response)
    if text == "Access to this resource is disabled.":
        return True
    if response.status_code == 401:
        return bool(text) and not has_token(response)
    return response.status_code == 404 and text.casefold() == "repository not found"


def token_trouble(error: BaseException) -> str:
    """Say that an error is about our token, which then is to blame for it; "" for any other error."""
    response = getattr(error, "response", None)
    if response is None or response.status_code != 401 or not has_token(response) or is_about_model(response):
        return ""
    return f"the Hub refuses HF_TOKEN ({redact(error_text(response))[:80] or 401}): {NEW_TOKEN}"


def error_text(response) -> str:
    """Return the error that the Hub's own answer states; "" for the page of something before it."""
    message = response.headers.get("X-Error-Message")
    if message:
        return message
    with suppress(ValueError, RecursionError):
        body = json.loads(response.content)
        if isinstance(body, dict) and "error" in body:
            return str(body["error"])
    return response.headers.get("X-Error-Code", "")


def names_wait(response) -> bool:
    """Tell whether a response's headers say, in a form that can be read, when to ask again."""
    from huggingface_hub.utils import parse_ratelimit_headers

    with suppress(ValueError, TypeError, OverflowError):
        if parse_ratelimit_headers(response.headers):
            return True
    after = response.headers.get("retry-after", "").strip()
    with suppress(ValueError, TypeError, OverflowError):
        return after.isdecimal() or bool(parsedate_to_datetime(after))
    return False


def stated_wait(response) -> float:
    """Return the seconds that the server wants us to wait before the next request; 0 if it names none."""
    from huggingface_hub.utils import parse_ratelimit_headers

    if response is None:
        return 0.0
    with suppress(ValueError, TypeError, OverflowError):  # headers may hold anything
        quota = parse_ratelimit_headers(response.headers)
        if quota and quota.remaining == 0:
            return quota.reset_in_seconds + 1.0  # it rounds
    has_failed = response.status_code == 429 or response.status_code >= 500
    after = response.headers.get("retry-after", "").strip()
    if has_failed and after.isdecimal():
        return float(after)
    if has_failed and after:
        with suppress(ValueError, TypeError, OverflowError):
            return max(0.0, (parsedate_to_datetime(after) - response_date(response)).total_seconds())
    return 0.0


def response_date(response) -> datetime:
    """Return the server's time, or ours where it does not say."""
    try:
        return parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError, TypeError, OverflowError):
        return datetime.now(UTC)


@dataclass(frozen=True)
class Answer:
    """What the Hub answers: a decoded body, the URL of the next page if there is one, the Hub's time."""

    value: object
    next_url: str | None
    date: datetime


class Hub:
    """GETs JSON from one endpoint through huggingface_hub's session, and shows what it waits for."""

    def __init__(self, endpoint: str, show: Callable[[str], None]):
        from huggingface_hub.utils import build_hf_headers

        self.endpoint, self.show = endpoint, show
        self.requests = self.bytes = 0
        self.ready = 0.0  # when the quota allows the next request (monotonic)
        self.headers = build_hf_headers(library_name="scored")
        if not re.fullmatch(r"[ -~]*", self.headers.get("authorization", "")):
            raise UserError("HF_TOKEN contains invalid characters; set it again or log in again")

    def get(self, url: str, read: Callable[[bytes], object]) -> Answer:
        """GET a URL until it succeeds; `read` decodes the body. Raises HubRefused, UserError."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError

        waits = [min(BACKOFF * 2**attempt, MAX_BACKOFF) for attempt in range(ATTEMPTS - 1)]
        options = {"waits": waits, "max_wait": MAX_QUOTA_WAIT, "pause": self._pause}
        try:
            return with_retries(self._request, url, read, **options)
        except HfHubHTTPError as error:
            self._check_wait(stated_wait(error.response))
            reason = transient_reason(error)
            if not reason:
                raise self._explain_refusal(error, url) from None
            is_overloaded = error.response.status_code >= 500 or error.response.status_code == 408
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, BadAnswer) as error:
            reason = transient_reason(error)
            if not reason:  # a bad certificate, redirects in a circle, offline mode
                raise UserError(f"cannot ask {self.endpoint}: {certificate_error(error) or error}") from None
            is_overloaded = isinstance(error, httpx2.TimeoutException)
        again = "Run the same command again to go on"
        message = f"{self.endpoint} failed {ATTEMPTS} times; last error: {reason}. {again}"
        raise HubFailed(message, is_overloaded)

    def _request(self, url: str, read: Callable[[bytes], object]) -> Answer:
        import httpx2

        left = self.ready - time.monotonic()
        self._check_wait(left)
        self._pause(left, "quota used up")
        self.requests += 1
        self.show(f"request {self.requests:,}")
        try:
            return self._request_once(url, read)
        except (UserError, OSError, httpx2.HTTPError, httpx2.InvalidURL):
            raise
        except Exception as error:  # what libraries make of a stranger's page, header or error message
            raise BadAnswer(f"not the JSON that was asked for ({str(error)[:80]})") from error

    def _request_once(self, url: str, read: Callable[[bytes], object]) -> Answer:
        from huggingface_hub.utils import fix_hf_endpoint_in_url, get_session, hf_raise_for_status

        response = get_session().get(url, headers=self.headers, timeout=TIMEOUT)
        self.bytes += response.num_bytes_downloaded
        self._require_same_host(str(response.url))
        hf_raise_for_status(response)
        self.ready = time.monotonic() + stated_wait(response)
        value = read(response.content)
        next_url = response.links.get("next", {}).get("url")
        if next_url:
            next_url = fix_hf_endpoint_in_url(next_url, self.endpoint)
            self._require_same_host(next_url)
        return Answer(value, next_url, response_date(response))

    def _pause(self, seconds: float, reason: str) -> None:
        end, left = time.monotonic() + seconds, seconds
        while left > 0:
            self.show(f"{reason}: waiting {left:.0f} s")
            time.sleep(min(left, 1))
            left = end - time.monotonic()

    def _check_wait(self, seconds: float) -> None:
        if seconds > MAX_QUOTA_WAIT:
            raise UserError(f"the Hub asks us to wait {seconds:.0f} s; run the same command again after that")

    def _require_same_host(self, url: str) -> None:
        """Raise UserError if a URL leaves the endpoint: the token and the file are for no other host."""
        if _origin(url) != _origin(self.endpoint):
            host = urlsplit(url).netloc.rpartition("@")[2]
            raise UserError(f"{self.endpoint} redirects to another host, {host!r}; set --endpoint")

    def _explain_refusal(self, error, url: str) -> Exception:
        """Make HubRefused of the Hub's answer on one model, RequestRefused of any other 4xx."""
        from huggingface_hub.errors import DisabledRepoError, GatedRepoError

        response, code = error.response, error.response.status_code
        is_listing = urlsplit(url).path == urlsplit(f"{self.endpoint}/api/models").path
        if not is_listing and is_about_model(response):
            reason = "not found or private" if code == 401 else "not found"
            if isinstance(error, GatedRepoError):
                reason = "gated"
            elif isinstance(error, DisabledRepoError):
                reason = "disabled"
            return HubRefused(f"{code} {reason}")
        text = error_text(response)
        answer = f"{self.endpoint} answers {code} {redact(text)[:80]}".rstrip()
        return RequestRefused(f"{answer}; {self._advice(response, is_listing)}", code, bool(text))

    def _advice(self, response, is_listing: bool) -> str:
        """Say what to do about a 4xx that does not concern one model."""
        code, text = response.status_code, error_text(response)
        if code == 401 and has_token(response) and (not is_listing or TOKEN_TROUBLE.search(text)):
            return f"HF_TOKEN is refused: {NEW_TOKEN}"
        if code == 400 and is_listing:
            return "check --filter, --task, --author; or the journal is too old"
        if not is_listing:
            return "check the id and --endpoint"
        advice = "it gives no list of models: choose another --endpoint, or name models with --ids"
        return advice if has_token(response) else f"{advice}, or set HF_TOKEN if it wants one"


def _origin(url: str) -> tuple:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
