"""Builders of Hub records and of the counts that the audit makes of them, and hostile texts."""

from collections.abc import Iterable

import audit
from ptm import PTM

HOSTILE = [
    "$\\frac{1}{",
    "a$b$c\\x",
    "\x1b[31mred\x00\n\r\t",
    "\u202eright to left\u2066",
    "שלום עולם",
    "مرحبا",
    "名前/模型",
    "z\u0336a\u0336",
    "\ud800",
    "x" * 10_000,
    "$" * 10_000,
    "",
    " ",
    "%s{0}",
    "<b>",
    "__",
]


def record(name: str, **fields) -> dict:
    """Make a record with metadata and without claims."""
    return {
        "id": name,
        "sha": "0",
        "tags": [],
        "downloads": 0,
        "lastModified": "2026-05-01T00:00:00.000Z",
        **fields,
    }


def claiming(name: str, value: float, base: str | None = None, **metric) -> dict:
    """Make a record that claims an accuracy on imdb."""
    metrics = [{"type": "accuracy", "value": value, **metric}]
    index = [{"results": [{"dataset": {"type": "imdb"}, "metrics": metrics}]}]
    tags = [f"base_model:{base}", f"base_model:finetune:{base}"] if base else []
    return record(name, cardData={"model-index": index}, tags=tags)


def count_trends(records: Iterable[dict]) -> dict:
    """Audit these records."""
    return audit.audit(PTM.from_record(each) for each in records)


def hostile_records() -> list[dict]:
    """Make records with hostile texts in each field."""
    records = []
    for i, text in enumerate(HOSTILE):
        for j in range(3):
            metric = {"type": text, "value": 0.5123, "name": text}
            index = [{"results": [{"dataset": {"type": text, "split": text}, "metrics": [metric]}]}]
            raw = record(
                f"{text}/{i}-{j}",
                pipeline_tag=text,
                createdAt=text,
                lastModified=text,
                downloads=10**30 if j else -1,
                tags=[f"base_model:{text}", f"dataset:{text}", f"license:{text}", text],
                cardData={"model-index": index},
            )
            records.append(raw)
        records += hostile_family(text, i)
    return records


def hostile_family(text: str, number: int) -> list[dict]:
    """Make models and their base, of the Hub's types, with a hostile name, license and data set."""
    index = [{"results": [{"dataset": {"type": text}, "metrics": [{"type": text, "value": text}]}]}]
    tags = [f"base_model:{text}/base", f"license:{text}", f"dataset:{text}"]
    months = {
        "createdAt": f"2024-{1 + number % 12:02}-01",
        "pipeline_tag": ("fill-mask", "translation")[number % 2],
    }
    return [
        record(f"{text}/base", tags=[f"license:{number}"]),
        record(f"{text}/rejected", tags=tags, cardData={"model-index": index}, **months),
        {**claiming(f"{text}/claim", 0.5 + number / 100), **months},
    ]
