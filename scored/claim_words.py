"""Words of claims: the vocabulary, texts that state something, and the splits that a text names."""

import functools
import json
import re

from scored.files import ROOT

VOCABULARY = json.loads((ROOT / "assets" / "data" / "vocabulary.json").read_text(encoding="utf-8"))

# ── Words ─────────────────────────────────────────────────────────────────────────────────────────────────

_NOTHING = frozenset(VOCABULARY["nothing"])
NEUTRAL_WORDS = frozenset(VOCABULARY["fillers"])


def first_text(*values: object) -> str | None:
    """Return the first of the values that is a string and not blank, stripped."""
    for value in values:
        text = value.strip() if isinstance(value, str) else ""
        if text:
            return text
    return None


def first_stated(*values: object) -> str | None:
    """Return the first text that states something; "None", "null", "unknown" and the like do not."""
    for value in values:
        text = _stated_text(value) if isinstance(value, str) else ""
        if text:
            return text
    return None


@functools.lru_cache(4096)
def _stated_text(text: str) -> str:
    text = text.strip()
    return "" if text.casefold() in _NOTHING else text


def letters_and_digits(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


# ── Splits and units ──────────────────────────────────────────────────────────────────────────────────────

_SPLIT = re.compile(
    r"(?<!\w)(?<!cross[- ])(?<!pre[- ])(?<!std )(?<!standard )"
    r"(test-?dev|testing|test|validation|minival|valid|val|development|dev|training|train)"
    r"(?:[- ]?(?:2017|split|set|data|subset))*(?!\w)(?![- ]time)"
)


def split_name(stated: str | None) -> str | None:
    """Return the vocabulary's word for a split."""
    return stated and VOCABULARY["splits"].get(stated.casefold(), stated.casefold())


def take_splits(text: str) -> tuple[str, frozenset[str]]:
    """Remove the splits that lower-case text names; return the rest and the splits."""
    splits = frozenset(split_name(split.replace("testdev", "test-dev")) for split in _SPLIT.findall(text))
    return _SPLIT.sub(" ", text) if splits else text, splits
