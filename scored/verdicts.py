"""Verdicts: the rules by which a claim is judged by a measurement."""

STUDY = "study-2022"  # the `source` of the study's rows


def is_whole(row: dict) -> bool:
    """Whether a row is about each example of its split once; so are the study's, which do not say."""
    examples = row.get("examples") or {}
    return examples.get("evaluated") in (None, examples.get("expected"))


def latest_rows(rows: list[dict]) -> list[dict]:
    """The rows that count: of several on one split of a model the newest, save that one on all examples comes
    before one on a part, and one in float32 before one in another type. Rows with an error all stay.
    """

    def rank(row: dict) -> tuple:
        settings = row.get("settings") or {}
        return is_whole(row), settings.get("dtype") == "float32", str(row.get("measured_at") or "")

    best = {}
    for row in sorted((row for row in rows if not row.get("error")), key=rank):
        best[tuple(row.get(key) for key in ("task", "source", "protocol", "model", "split"))] = row
    chosen = set(map(id, best.values()))
    return [row for row in rows if row.get("error") or id(row) in chosen]
