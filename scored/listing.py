"""The Hub's list of models: the walks through it that a run needs, and their pages."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from msgspec.structs import replace

from scored.hub import Hub, HubFailed, HubRefused, RequestRefused
from scored.hub_records import FIELDS, read_page, read_record, time_of, to_line
from scored.journal import Page, Plan

PAGE_SIZE = 1000  # the most records that the Hub gives at once
MIN_PAGE_SIZE = 100  # smaller pages are not tried when the Hub cannot make larger ones
LIMIT = re.compile(r"(?<=[?&]limit=)\d+")
RESULTS = "evalResults"  # not known to every Hub


@dataclass(frozen=True)
class Walk:
    """A way through the Hub's list by one date: all of it, or the newest models down to `since`."""

    field: str  # createdAt or lastModified
    since: str = ""
    is_ascending: bool = False


def list_walks(plan: Plan) -> list[Walk]:
    """List the walks of a run. A sweep ends with what was created or changed while it went on."""
    changes = Walk("lastModified", plan.since)
    if not plan.full:
        return [changes, Walk("createdAt", plan.created_since or plan.since)]
    if plan.is_descending:  # what was created meanwhile stands before its first page
        return [Walk("createdAt"), Walk("createdAt", plan.since), changes]
    return [Walk("createdAt", is_ascending=True), changes]


def expanded_fields(plan: Plan) -> list[tuple[str, str]]:
    """List the parameters that name the fields of a record."""
    fields = [*FIELDS, "private"]
    if not plan.has_results:
        fields.remove(RESULTS)
    return [("expand", field) for field in fields]


def walk_url(endpoint: str, plan: Plan, walk: Walk) -> str:
    """Return the URL of a walk's first page."""
    chosen = plan.arguments
    selection = {"filter": chosen["filter"], "pipeline_tag": chosen["task"], "author": chosen["author"]}
    query = [("sort", walk.field), ("direction", 1 if walk.is_ascending else -1)]
    query.append(("limit", min(PAGE_SIZE, chosen["limit"] or PAGE_SIZE)))
    query += [(key, value) for key, value in selection.items() if value]
    return f"{endpoint}/api/models?{urlencode(query + expanded_fields(plan))}"


def fetch_page(hub: Hub, url: str, walk: Walk, report: Callable[[str], None]) -> Page:
    """Fetch a page, a smaller one if the Hub cannot make it; a walk ends where models are too old."""
    answer = None
    while answer is None:
        try:
            answer = hub.get(url, read_page)
        except HubFailed as error:
            size = int(LIMIT.search(url)[0]) if LIMIT.search(url) else 0
            if not error.is_overloaded or size <= MIN_PAGE_SIZE:
                raise
            smaller = max(size // 2, MIN_PAGE_SIZE)
            url = LIMIT.sub(str(smaller), url)
            report(f"the Hub cannot make a page of {size} models: asking for {smaller}")
    times = [time_of(record, walk.field) for record in answer.value]
    dated = [time for time in times if time]
    is_at_end = bool(walk.since) and (not dated or dated[-1] < walk.since)
    is_reversed = walk.is_ascending and len(dated) > 1 and dated[0] > dated[-1]
    next_url = None if is_at_end else answer.next_url
    return Page(make_lines(answer.value, report), [], next_url, answer.date, is_reversed)


def fetch_first_page(hub: Hub, plan: Plan, stage: int, report: Callable[[str], None]) -> tuple[Page, Plan]:
    """Fetch the first page of a walk, in the first form that the Hub does not refuse; note the form."""
    forms = [plan]
    if plan.has_results:
        forms.append(replace(plan, has_results=False))
    if list_walks(plan)[stage].is_ascending:
        forms += [replace(form, is_descending=True) for form in forms]
    refusal = None
    for form in forms:
        walk = list_walks(form)[stage]
        try:
            page = fetch_page(hub, walk_url(hub.endpoint, form, walk), walk, report)
        except RequestRefused as error:
            refusal = refusal or error
            if error.code != 400:
                raise
        else:
            return page, replace(form, is_descending=form.is_descending or page.is_reversed)
    raise refusal


def fetch_model(hub: Hub, plan: Plan, name: str, report: Callable[[str], None]) -> tuple[Page, Plan]:
    """Fetch the record of one model. What the Hub refuses to say of it costs only this model."""
    forms = [plan, replace(plan, has_results=False)] if plan.has_results else [plan]
    for form in forms:
        url = f"{hub.endpoint}/api/models/{name}?{urlencode(expanded_fields(form))}"
        try:
            lines = make_lines([hub.get(url, read_record).value], report)
        except HubRefused as reason:
            return Page([], [(name, str(reason))]), plan
        except RequestRefused as error:
            refusal = error
            if error.code != 400:
                break
        else:
            is_renamed = lines and lines[0][0] != name
            return Page(lines, [(name, f"404 renamed to {lines[0][0]}")] if is_renamed else []), form
    if refusal.code in (400, 410, 451) or (refusal.is_hubs and refusal.code in (403, 404)):
        report(f"{name} was not refreshed: {refusal}")
        return Page([], [], failed=[name]), plan
    raise refusal


def make_lines(records: list, report: Callable[[str], None]) -> list[tuple[str, bytes]]:
    """Convert records to (id, line), and report those that are left out."""
    lines = []
    for record in records:
        line = to_line(record)
        if isinstance(line, str):
            report(f"left out: {line}")
        else:
            lines.append(line)
    return lines
