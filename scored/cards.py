"""A whole model card: the claims of its metadata and of its text, as one list.

    card = read_model_card(text, "facebook/detr-resnet-50")

A value in the text that repeats one of the metadata is one claim. One that contradicts it stays a claim, and
both say so.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from scored.benchmarks import all_benchmarks
from scored.card_text import read_claims
from scored.claims import TRAINER, Claim, Rejected, read_model_index
from scored.files import UserError
from scored.hub import with_retries
from scored.verdicts import stated_precision

MAX_METADATA = 2 << 20  # characters of front matter that are read; PyYAML needs half a minute for them
FRONT_MATTER = re.compile(r"\s*---[\r\n]+(.*?)[\r\n]+---(?:[\r\n]|$)", re.DOTALL)


class ModelCard(msgspec.Struct, frozen=True):
    """What is read of a card."""

    claims: tuple[Claim, ...] = ()
    rejected: tuple[Rejected, ...] = ()  # entries of the metadata, and values in the text


def read_model_card(text: str, model_id: str, recorded: Sequence[Claim] | None = None) -> ModelCard:
    """Read the claims of a card's metadata and text. Takes any text and never raises.

    `recorded`: the claims of the Hub's record of this revision, which holds the same metadata.
    """
    metadata = read_front_matter(text)
    stated, rejected = list(recorded or ()), []
    if recorded is None and metadata.get("model-index"):
        tags = metadata.get("tags")
        is_by_trainer = isinstance(tags, list) and TRAINER in tags
        for entry in read_model_index(metadata["model-index"], is_by_trainer):
            (stated if isinstance(entry, Claim) else rejected).append(entry)
    in_text, not_taken = read_claims(text, model_id, metadata)
    return ModelCard(tuple(merge_claims(stated, in_text)), (*rejected, *not_taken))


def find_card(text: str) -> tuple[Path, str]:
    """Return a card's file and model id, for a file, a model's folder, or an id on the Hub (id@revision).

    Raises UserError.
    """
    path = Path(text)
    if path.is_dir():
        path = path / "README.md"
    if path.is_file():
        return path, path.resolve().parent.name
    if path.suffix or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?", text, re.ASCII):
        raise UserError(f"--card {text}: there is no such file, and it is not a model id")
    return _fetch_card(*text.partition("@")[::2])


def _fetch_card(model_id: str, revision: str) -> tuple[Path, str]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(with_retries(hf_hub_download, model_id, "README.md", revision=revision or None)), model_id
    except RepositoryNotFoundError as error:
        raise UserError(f"--card {model_id}: the Hub has no such model, or it is private or gated") from error
    except EntryNotFoundError as error:  # also without a network, if the card is not in the cache
        raise UserError(f"--card {model_id}: {str(error).splitlines()[0]}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"--card {model_id}: {str(error).splitlines()[0]}") from error


# ── Metadata ──────────────────────────────────────────────────────────────────────────────────────────────


def read_front_matter(text: str) -> dict:
    """Read the YAML between the first two lines of dashes; {} for what the Hub reads no claim in either."""
    import yaml

    block = FRONT_MATTER.match(text[: MAX_METADATA + 1])
    if block is None:
        return {}
    try:
        metadata = as_json(yaml.safe_load(block[1]))  # the pure-Python loader, which survives deep nesting
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def as_json(metadata: object) -> object:
    """Convert YAML to the JSON of a Hub record. Raises ValueError if aliases make it larger than a card."""
    size, remaining = 0, [metadata]
    while remaining:
        node = remaining.pop()
        size += len(node) if isinstance(node, (str, bytes)) else 1
        if isinstance(node, (list, tuple, set, dict)):
            remaining += node
        if isinstance(node, dict):
            remaining += node.values()
        if size + len(remaining) > MAX_METADATA:
            raise ValueError("YAML aliases expand too far")
    return json.loads(json.dumps(metadata, default=str, skipkeys=True))


# ── One list ──────────────────────────────────────────────────────────────────────────────────────────────


def merge_claims(stated: list[Claim], in_text: list[Claim]) -> list[Claim]:
    """Merge the claims of the text into those of the metadata, which come first."""
    merged, new = list(stated), []
    for claim in in_text:
        place = _place_of_repeated(claim, merged)
        if place is None:
            new.append(claim)
        else:
            merged[place] = _with_facts_of_text(merged[place], claim)
    for claim in new:
        place = _place_of_contradicted(claim, merged[: len(stated)])
        if place is not None:
            claim = msgspec.structs.replace(claim, contradicts=merged[place].value)
            merged[place] = msgspec.structs.replace(merged[place], contradicts=claim.value)
        merged.append(claim)
    return merged


def _place_of_repeated(claim: Claim, claims: list[Claim]) -> int | None:
    for place, other in enumerate(claims):
        if _is_about_the_same(claim, other) and _is_equal(claim, other):
            return place
    return None


def _place_of_contradicted(claim: Claim, claims: list[Claim]) -> int | None:
    for place, other in enumerate(claims):
        if _is_about_the_same(claim, other):
            return place
    return None


def _is_about_the_same(in_text: Claim, stated: Claim) -> bool:
    """Tell whether two claims are about one metric, data set and, as far as they say, split."""
    if (in_text.dataset, in_text.metric) != (stated.dataset, stated.metric):
        return False
    if in_text.fraction is None or stated.fraction is None:
        return False
    benchmark = all_benchmarks()[in_text.dataset]
    if stated.config and stated.config not in benchmark.configs:
        return False
    if stated.split is None and stated.possible_splits:
        return in_text.split in (None, *stated.possible_splits)
    return None in (in_text.split, stated.split) or in_text.split == stated.split


def _is_equal(first: Claim, second: Claim) -> bool:
    """Tell whether two claims agree to the digits that the less precise one states."""
    precision = max(stated_precision(msgspec.structs.asdict(claim)) for claim in (first, second))
    return abs(first.fraction - second.fraction) * 100 <= precision + 1e-9


def _with_facts_of_text(stated: Claim, in_text: Claim) -> Claim:
    """Add to a claim of the metadata its line in the text, and the split where only the text names it."""
    split = stated.split or in_text.split
    possible = () if split else stated.possible_splits
    note = None if split and stated.split is None else stated.split_note
    return msgspec.structs.replace(
        stated, line=in_text.line, split=split, possible_splits=possible, split_note=note
    )
