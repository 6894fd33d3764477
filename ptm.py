"""`PTM`: a pre-trained model as its Hub record describes it, with the claims of its card.

python ptm.py [FILE]        counts the claims in a file of Hub records, and why others could not be read
python ptm.py --card CARD   prints the claims of a README.md, and what a reader still has to guess
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec

from scored.claims import TRAINER, Claim, Rejected, first_text, read_eval_results, read_model_index
from scored.cli import HelpFormatter, run
from scored.files import ROOT
from scored.records import Taken, date_taken, is_known, read_records, record_id

_HUB_NAMES = {
    "task": "pipeline_tag",
    "library": "library_name",
    "created": "createdAt",
    "modified": "lastModified",
    "card": "cardData",
    "index": "model-index",
    "results": "evalResults",
}


class _Record(msgspec.Struct, rename=_HUB_NAMES):
    """The fields of a Hub record that PTM uses; the rest, lists of files above all, is never decoded."""

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
    taken: Taken | None = None


_OPTIONAL_FIELDS = msgspec.structs.fields(_Record)[1:]
_decode_records = msgspec.json.Decoder(list[_Record]).decode


def _lenient_record(record: dict) -> _Record:
    """Convert a record of any shape; a field of another type than the Hub's counts as not stated."""
    fields = {"id": record_id(record)}
    if "taken" in record:
        fields["taken"] = Taken()  # nothing is known, unless it can be read
    tags = record.get("tags")
    if isinstance(tags, list):
        record = {**record, "tags": [tag for tag in tags if isinstance(tag, str)]}
    for field in _OPTIONAL_FIELDS:
        with suppress(KeyError, msgspec.ValidationError):
            fields[field.name] = msgspec.convert(record[field.encode_name], field.type)
    return _Record(**fields)


class PTM(msgspec.Struct, frozen=True):
    """A pre-trained model as its Hub record describes it.

    None is what the record does not state: the model has none if it `is_known`.
    """

    id: str
    author: str | None
    sha: str | None
    task: str | None
    library: str | None
    downloads: int | None  # in the last 30 days
    likes: int | None
    license: str | None
    tags: tuple[str, ...]
    created: str | None  # ISO 8601, as the Hub writes it
    modified: str | None
    gated: str | None  # auto or manual; None for a model that anyone may download
    disabled: bool
    has_card: bool | None  # None where the record was fetched without card data
    claims: tuple[Claim, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    proposals: tuple[Claim, ...] = ()  # values in open pull requests, which are not the model's claims
    taken: Taken | None = None  # when groups of fields were taken; None if the record was fetched whole

    @classmethod
    def from_record(cls, record: dict | _Record) -> "PTM":
        """Make a PTM from one record of the Hub's API. Raises ValueError only for a record without an id."""
        if type(record) is not _Record:
            record = _lenient_record(record)
        card = record.card if isinstance(record.card, dict) else {}
        tags = record.tags or ()
        license = _license(tags)
        if license is None and card:
            license = first_text(card.get("license"))
        index = card.get("model-index") or record.index
        claims = proposals = rejected = ()
        if index or record.results:
            own_tags = card.get("tags")  # of a card that was read without its record
            is_by_trainer = TRAINER in tags or (isinstance(own_tags, list) and TRAINER in own_tags)
            entries = [*read_model_index(index, is_by_trainer), *read_eval_results(record.results)]
            claims = tuple([entry for entry in entries if type(entry) is Claim and not entry.proposal])
            proposals = tuple([entry for entry in entries if type(entry) is Claim and entry.proposal])
            rejected = tuple([entry for entry in entries if type(entry) is Rejected])
        return cls(
            record.id,
            record.author or (record.id.partition("/")[0] if "/" in record.id else None),
            record.sha or None,
            record.task or None,
            record.library or None,
            record.downloads,
            record.likes,
            license,
            tags,
            record.created or None,
            record.modified or None,
            "manual" if record.gated is True else record.gated or None,
            record.disabled is True,
            bool(card) if record.card is not msgspec.UNSET else None,
            claims,
            rejected,
            proposals,
            record.taken,
        )

    @classmethod
    def load(cls, path: Path = ROOT / "modelinfo.json") -> Iterator["PTM"]:
        """Read the models of a file of records, one at a time; broken lines are reported on stderr."""
        return map(cls.from_record, read_records(path, decode=_decode_records))

    def is_known(self, attribute: str) -> bool:
        """Tell whether an attribute is known, so that no value means none: `is_known("license")`."""
        return is_known(self.taken, attribute)

    def date_taken(self, attribute: str) -> str | None:
        """Return the date at which an attribute was taken; None if it was not, or if it was fetched."""
        return date_taken(self.taken, attribute)

    def tags_after(self, prefix: str) -> list[str]:
        """Return what follows `prefix` in the tags that have it, e.g. `tags_after("base_model:")`."""
        return [tag[len(prefix) :] for tag in self.tags if prefix in tag and tag.startswith(prefix)]


def _license(tags: tuple[str, ...]) -> str | None:
    for tag in tags:
        if "license:" in tag and tag.startswith("license:"):  # `in` takes a third of the time
            return tag[8:] or None
    return None


def count_claims(models: Iterable[PTM]) -> dict[str, Counter]:
    """Count models and claims, the claims by unit, and the rejected entries by reason."""
    totals, units, reasons = Counter(), Counter(), Counter()
    for model in models:
        totals["models"] += 1
        totals["models with a claim"] += bool(model.claims)
        totals["claims"] += len(model.claims)
        totals["rejected"] += len(model.rejected)
        if model.proposals:
            totals["values proposed in pull requests"] += len(model.proposals)
        units.update([claim.unit for claim in model.claims])
        reasons.update([rejected.kind for rejected in model.rejected])
    return {"": totals, "unit of the claims": units, "rejected because": reasons}


def check_card(text: str) -> int:
    """Print what is read from a card and what it leaves open; 1 if a claim lacks split, unit or average."""
    from scored.card_report import describe_card, missing_facts
    from scored.cards import find_card, read_model_card

    path, model_id = find_card(text)
    card = read_model_card(path.read_text(encoding="utf-8", errors="replace"), model_id)
    print(*describe_card(card), sep="\n")
    is_incomplete = any(missing_facts(claim) for claim in card.claims)
    return 1 if is_incomplete or card.has_invalid_metadata else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Count the claims in a file of Hub records, or check a model card.",
        epilog="Exit code of --card: 1 if metadata is unreadable or a claim lacks split, unit or average.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("file", nargs="?", type=Path, default=ROOT / "modelinfo.json", help="file of Hub records")
    add("--card", metavar="CARD", help="print the claims of a README.md or of a model on the Hub")
    args = parser.parse_args()
    if args.card:
        return check_card(args.card)
    for title, counter in count_claims(PTM.load(args.file)).items():
        if title and counter:
            print(f"{title}:")
        for name, count in counter.most_common():
            print(f"{count:>9,}  {name}")
    return 0


if __name__ == "__main__":
    run(main)
