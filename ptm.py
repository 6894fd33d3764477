"""`PTM`: a pre-trained model as its Hub record describes it, with the claims of its card.

python ptm.py [FILE]      counts the claims in a file of Hub records, and why others could not be read
"""

import argparse
import collections
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec

from scored.claims import Claim, Rejected, first_text, read_eval_results, read_model_index
from scored.cli import HelpFormatter, run
from scored.files import ROOT
from scored.records import read_records, record_id


class _Record(
    msgspec.Struct,
    rename={
        **{"task": "pipeline_tag", "library": "library_name", "created": "createdAt"},
        **{"modified": "lastModified", "card": "cardData", "index": "model-index", "results": "evalResults"},
    },
):
    """What is read of a record, under PTM's names; the rest, lists of files above all, is never decoded."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    author: str | None = None
    sha: str | None = None
    task: str | None = None
    library: str | None = None
    downloads: int | None = None
    likes: int | None = None
    tags: tuple[str, ...] | None = ()
    created: str | None = None
    modified: str | None = None
    gated: bool | str | None = None
    disabled: bool | None = None
    card: Any = msgspec.UNSET
    index: Any = None
    results: Any = None


_FIELDS = msgspec.structs.fields(_Record)[1:]
_decode_records = msgspec.json.Decoder(list[_Record]).decode


def _fitting(record: dict) -> _Record:
    """A record of any shape; a field of another type than the Hub's counts as not stated."""
    fields = {"id": record_id(record)}
    if isinstance(tags := record.get("tags"), list):
        record = {**record, "tags": [tag for tag in tags if isinstance(tag, str)]}
    for field in _FIELDS:
        with suppress(KeyError, msgspec.ValidationError):
            fields[field.name] = msgspec.convert(record[field.encode_name], field.type)
    return _Record(**fields)


class PTM(msgspec.Struct, frozen=True):
    """A pre-trained model as its Hub record tells it. None is what the record does not say."""

    id: str
    author: str | None
    sha: str | None
    task: str | None
    library: str | None
    downloads: int | None  # of the last 30 days
    likes: int | None
    licence: str | None
    tags: tuple[str, ...]
    created: str | None  # ISO 8601, as the Hub writes it
    modified: str | None
    gated: str | None  # auto or manual, None for a model that anyone may have
    disabled: bool
    has_card: bool | None  # None where the record was fetched without card data
    claims: tuple[Claim, ...] = ()
    rejected: tuple[Rejected, ...] = ()

    @classmethod
    def from_record(cls, record: dict | _Record) -> "PTM":
        """A PTM from one record of the Hub's API. Raises ValueError only for a record without an id."""
        r = record if type(record) is _Record else _fitting(record)
        card = r.card if isinstance(r.card, dict) else {}
        tags, index, claims, rejected = r.tags or (), card.get("model-index") or r.index, (), ()
        if index or r.results:
            found = [*read_model_index(index), *read_eval_results(r.results)]
            claims = tuple([c for c in found if type(c) is Claim])
            rejected = tuple([c for c in found if type(c) is Rejected])
        licence = None
        for tag in tags:
            if "license:" in tag and tag.startswith("license:"):  # `in` takes a third of the time
                licence = tag[8:]
                break
        return cls(
            r.id,
            r.author or (r.id.partition("/")[0] if "/" in r.id else None),
            r.sha or None,
            r.task or None,
            r.library or None,
            r.downloads,
            r.likes,
            licence or first_text(card.get("license")),
            tags,
            r.created or None,
            r.modified or None,
            "manual" if r.gated is True else r.gated or None,
            r.disabled is True,
            bool(card) if r.card is not msgspec.UNSET else None,
            claims,
            rejected,
        )

    @classmethod
    def load(cls, path: Path = ROOT / "modelinfo.json") -> Iterator["PTM"]:
        """Every model of a file of records, one at a time; what `records` cannot read it reports."""
        return map(cls.from_record, read_records(path, decode=_decode_records))

    def tags_after(self, prefix: str) -> list[str]:
        """What follows `prefix` in the tags that have it: `tagged("dataset:")`, `tagged("base_model:")`."""
        return [tag[len(prefix) :] for tag in self.tags if prefix in tag and tag.startswith(prefix)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Counts the claims in a file of Hub records.", formatter_class=HelpFormatter
    )
    parser.add_argument(
        "file", nargs="?", type=Path, default=ROOT / "modelinfo.json", help="file of Hub records"
    )
    args = parser.parse_args()
    counts, reasons, units = collections.Counter(), collections.Counter(), collections.Counter()
    for model in PTM.load(args.file):
        counts["models"] += 1
        counts["models with a claim"] += bool(model.claims)
        counts["claims"] += len(model.claims)
        counts["rejected"] += len(model.rejected)
        units.update(claim.unit for claim in model.claims)
        reasons.update(rejected.kind for rejected in model.rejected)
    for title, counter in (("", counts), ("unit of the claims", units), ("rejected because", reasons)):
        if title and counter:
            print(f"{title}:")
        for name, count in counter.most_common():
            print(f"{count:>9,}  {name}")
    return 0


if __name__ == "__main__":
    run(main)
