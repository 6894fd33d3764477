"""Which result rows count: whole ones, and of several on one split the newest. Rows are dicts, as in JSON."""

STUDY = "study-2022"  # the `source` of the study's rows
PARTIAL = "measured on a part of the data set only"
SURPLUS = "measured on more examples than the split has"


def is_whole(row: dict) -> bool:
    """Return whether a row is about each example of its split once; so are the study's, which do not say."""
    examples = row.get("examples") or {}
    return examples.get("evaluated") in (None, examples.get("expected"))


def why_incomplete(row: dict) -> str | None:
    """Return why a row is not about the whole split; None if it is."""
    if is_whole(row):
        return None
    return PARTIAL if row["examples"]["evaluated"] < row["examples"]["expected"] else SURPLUS


def latest_rows(rows: list[dict]) -> list[dict]:
    """Return the rows that count, in their order; failed rows all stay.

    Of several rows on one split of a model the newest counts, except that a row on all examples precedes one
    on a part, and one in float32 precedes one in another type.
    """

    def rank(row: dict) -> tuple:
        dtype = (row.get("settings") or {}).get("dtype")
        return is_whole(row), dtype == "float32", str(row.get("measured_at") or "")

    best = {}
    for row in sorted((row for row in rows if not row.get("error")), key=rank):
        best[tuple(row.get(key) for key in ("dataset", "source", "protocol", "model", "split"))] = row
    chosen = {id(row) for row in best.values()}
    return [row for row in rows if row.get("error") or id(row) in chosen]
