"""A whole model card: the claims of its metadata and of its text, as one list.

    card = read_model_card(text, "facebook/detr-resnet-50")

A value in the text that repeats one of the metadata is one claim. One that contradicts it stays a claim, and
both say so.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from scored.benchmarks import all_benchmarks
from scored.card_text import read_claims
from scored.claim_numbers import stated_precision
from scored.claims import TRAINER, Claim, Rejected, read_model_index
from scored.files import UserError
from scored.front_matter import read_front_matter
from scored.hub import token_trouble

INVALID_METADATA = "invalid front matter"


class ModelCard(msgspec.Struct, frozen=True):
    """What is read of a card."""

    claims: tuple[Claim, ...] = ()
    rejected: tuple[Rejected, ...] = ()  # entries of the metadata, and values in the text

    @property
    def has_invalid_metadata(self) -> bool:
        """Whether the front matter could not be read, and with it no claim of the metadata."""
        return any(rejected.kind == INVALID_METADATA for rejected in self.rejected)


def read_model_card(text: str, model_id: str, recorded: Sequence[Claim] | None = None) -> ModelCard:
    """Read the claims of a card's metadata and text. Takes any text and never raises.

    `recorded`: the claims of the Hub's record of this revision, which holds the same metadata.
    """
    stated, rejected = list(recorded or ()), []
    try:
        metadata = read_front_matter(text)
    except ValueError as error:
        metadata = {}
        rejected.append(Rejected(f"{INVALID_METADATA}: {error}", None))
    if recorded is None and metadata.get("model-index"):
        tags = metadata.get("tags")
        is_by_trainer = isinstance(tags, list) and TRAINER in tags
        for entry in read_model_index(metadata["model-index"], is_by_trainer):
            (stated if isinstance(entry, Claim) else rejected).append(entry)
    in_text, not_taken = read_claims(text, model_id)
    return ModelCard(tuple(merge_claims(stated, in_text)), (*rejected, *not_taken))


def find_card(text: str) -> tuple[Path, str]:
    """Return a card's file and model id, for a file, a model's folder, or an id on the Hub (id@revision).

    Raises UserError.
    """
    path = Path(text)
    if path.is_dir():
        path = path / "README.md"
    if path.is_file():
        name = path.resolve().parent.name if path.stem.casefold() == "readme" else path.stem
        return path, re.split("--|__", name)[-1]  # as in facebook--detr-resnet-50.md
    if path.suffix or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?", text, re.ASCII):
        raise UserError(f"--card {text}: there is no such file, and it is not a model id")
    return _fetch_card(*text.partition("@")[::2])


def _fetch_card(model_id: str, revision: str) -> tuple[Path, str]:
    from huggingface_hub import constants, hf_hub_download, utils
    from huggingface_hub.errors import RepositoryNotFoundError

    utils.logging.set_verbosity_error()  # its retries are not the answer
    try:
        return Path(hf_hub_download(model_id, "README.md", revision=revision or None)), model_id
    except RepositoryNotFoundError as error:
        reason = token_trouble(error) or "the Hub has no such model, or it is private or gated"
    except Exception as error:  # of many kinds for a network or a Hub in trouble
        reason = f"its README.md cannot be fetched: {str(error).splitlines()[0]}"
        if constants.HF_HUB_OFFLINE:
            reason = "HF_HUB_OFFLINE is set, and its README.md is not in the cache"
    raise UserError(f"--card {model_id}: {reason}")


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
    """Tell whether the claim of more digits is the other one, rounded or truncated."""
    coarse, fine = sorted((first, second), key=_precision, reverse=True)
    half_unit = _precision(coarse) + 1e-9
    difference = (fine.fraction - coarse.fraction) * 100
    is_truncated = 0 <= difference < 2 * half_unit - 1e-8
    return abs(difference) <= half_unit or is_truncated


def _precision(claim: Claim) -> float:
    """Return half a unit of the last digit stated, in points; a share of exactly 1 has no digits left out."""
    if claim.unit == "fraction" and claim.number == 1:
        return 0.0
    return stated_precision(msgspec.structs.asdict(claim))


def _with_facts_of_text(stated: Claim, in_text: Claim) -> Claim:
    """Add to a claim of the metadata its line in the text, and the split where only the text names it."""
    split = stated.split or in_text.split
    possible = () if split else stated.possible_splits
    note = None if split and stated.split is None else stated.split_note
    return msgspec.structs.replace(
        stated, line=in_text.line, split=split, possible_splits=possible, split_note=note
    )
