"""The Hub's API: JSON from one endpoint, no faster than its quota allows, with retries."""

import json
import re
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
# The same for a sweep of the Hub, which goes on for hours.
ATTEMPTS, BACKOFF, MAX_BACKOFF, MAX_QUOTA_WAIT = 10, 1.0, 60.0, 3600
TIMEOUT = 60.0  # seconds of one request


class HubRefused(Exception):
    """The Hub says that it will not show this one model."""


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
            reason, stated = transient_reason(error), stated_wait(getattr(error, "response", None))
            if not reason or stated > max_wait:
                raise
        pause(stated or wait, reason)
    return call(*args, **options)


def transient_reason(error: Exception) -> str:
    """Describe an error that may go away when the request is repeated; "" for any other error."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        code = error.response.status_code
        return f"HTTP {code}" if code in (408, 429) or code >= 500 else ""
    if isinstance(error, (httpx2.TransportError, httpx2.DecodingError)):
        return redact(f"{type(error).__name__}: {error}")
    return str(error) if isinstance(error, BadAnswer) else ""


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
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, BadAnswer) as error:
            reason = transient_reason(error)
            if not reason:  # redirects in a circle, offline mode
                raise UserError(f"cannot ask {self.endpoint}: {error}") from None
        again = "Run the same command again to go on"
        raise UserError(f"{self.endpoint} failed {ATTEMPTS} times; last error: {reason}. {again}")

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
        """Make HubRefused of a 4xx that is the Hub's answer on one model, UserError of any other."""
        from huggingface_hub.errors import DisabledRepoError, GatedRepoError

        response, code, body = error.response, error.response.status_code, None
        message = redact(response.headers.get("X-Error-Message") or "")
        with suppress(ValueError, RecursionError):
            body = json.loads(response.content)
        is_hubs = "X-Error-Code" in response.headers or (isinstance(body, dict) and "error" in body)
        is_model = urlsplit(url).path != urlsplit(f"{self.endpoint}/api/models").path
        is_expired = "Invalid credentials" in message + str(body)
        reasons = {401: "not found or private", 403: "forbidden", 404: "not found"}
        if is_model and is_hubs and code in reasons and not is_expired:
            reason = reasons[code]
            if isinstance(error, GatedRepoError):
                reason = "gated"
            elif isinstance(error, DisabledRepoError):
                reason = "disabled"
            return HubRefused(f"{code} {reason}")
        advice = {401: "check HF_TOKEN", 400: "check --filter, --task, --author; or the journal is too old"}
        return UserError(
            f"{self.endpoint} answers {code} {message[:80]}; {advice.get(code, 'check --endpoint')}"
        )


def _origin(url: str) -> tuple:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
