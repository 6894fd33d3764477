"""The Hub's list of models: the walks through it that a run needs, and their pages."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from msgspec.structs import replace

from scored.hub import Answer, Hub, HubFailed, HubRefused, RequestRefused
from scored.hub_records import FIELDS, read_page, read_record, time_of, to_lines
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
    """Fetch a page of a walk, which ends where models are too old."""
    return make_page(get_page(hub, url, report), walk, report)


def get_page(hub: Hub, url: str, report: Callable[[str], None]) -> Answer:
    """GET a page; ask for fewer models if the Hub cannot make it."""
    while True:
        try:
            return hub.get(url, read_page)
        except HubFailed as error:
            size = int(LIMIT.search(url)[0]) if LIMIT.search(url) else 0
            if not error.is_overloaded or size <= MIN_PAGE_SIZE:
                raise
            smaller = max(size // 2, MIN_PAGE_SIZE)
            url = LIMIT.sub(str(smaller), url)
            report(f"the Hub cannot make a page of {size} models: asking for {smaller}")


def make_page(answer: Answer, walk: Walk, report: Callable[[str], None]) -> Page:
    """Make lines of a page's records; without a next page if the walk ends here."""
    next_url = answer.next_url
    if walk.since and first_time(reversed(answer.value), walk) < walk.since:  # also where none has a date
        next_url = None
    return Page(make_lines(answer.value, report), [], next_url, answer.date)


def first_time(records: Iterable, walk: Walk) -> str:
    """Return the walk's date of the first record that has one; "" if none has."""
    times = (time_of(record, walk.field) for record in records)
    return next(filter(None, times), "")


def ask(forms: list[Plan], get: Callable[[Plan], Answer]) -> tuple[Answer, Plan]:
    """Ask in the first of these forms that the Hub does not refuse with 400; else raise the first refusal."""
    refusal = None
    for form in forms:
        try:
            return get(form), form
        except RequestRefused as error:
            refusal = refusal or error
            if error.code != 400:
                raise
    raise refusal


def list_forms(plan: Plan) -> list[Plan]:
    """List this plan, and the same without what some Hubs refuse."""
    return [plan, replace(plan, has_results=False)] if plan.has_results else [plan]


def fetch_first_page(hub: Hub, plan: Plan, stage: int, report: Callable[[str], None]) -> tuple[Page, Plan]:
    """Fetch the first page of a walk in a form that the Hub takes; note the form in the plan."""
    forms = list_forms(plan)
    if list_walks(plan)[stage].is_ascending:
        forms += [replace(form, is_descending=True) for form in forms]

    def get(form: Plan) -> Answer:
        return get_page(hub, walk_url(hub.endpoint, form, list_walks(form)[stage]), report)

    answer, form = ask(forms, get)
    walk = list_walks(form)[stage]
    first, last = first_time(answer.value, walk), first_time(reversed(answer.value), walk)
    if walk.is_ascending and first > last:  # the Hub ignores the order
        form = replace(form, is_descending=True)
    return make_page(answer, walk, report), form


def fetch_model(hub: Hub, plan: Plan, name: str, report: Callable[[str], None]) -> tuple[Page, Plan]:
    """Fetch the record of one model. What the Hub refuses to say of it costs only this model."""

    def get(form: Plan) -> Answer:
        url = f"{hub.endpoint}/api/models/{name}?{urlencode(expanded_fields(form))}"
        return hub.get(url, read_record)

    try:
        answer, plan = ask(list_forms(plan), get)
    except HubRefused as reason:
        return Page([], [(name, str(reason))]), plan
    except RequestRefused as error:
        if error.code in (400, 410, 451) or (error.is_hubs and error.code in (403, 404)):
            report(f"{name} was not refreshed: {error}")
            return Page([], [], failed=[name]), plan
        raise
    lines, renamed = make_lines([answer.value], report), []
    if lines and lines[0][0] != name:
        renamed = [(name, f"404 renamed to {lines[0][0]}")]
    return Page(lines, renamed), plan


def make_lines(records: list, report: Callable[[str], None]) -> list[tuple[str, bytes]]:
    """Convert records to (id, line), and report those that are left out."""
    lines, left_out = to_lines(records)
    for reason in left_out:
        report(f"left out: {reason}")
    return lines
