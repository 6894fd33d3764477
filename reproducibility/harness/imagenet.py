"""Which of ImageNet-1k's classes does each output of a classifier stand for?

Reads assets/data/imagenet_synsets.json. Used by image_classification.py; has no command of its own.
"""

import functools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from harness.checkpoint import CannotMeasure
from scored.files import ROOT

SYNSETS = ROOT / "assets" / "data" / "imagenet_synsets.json"


@functools.cache
def synsets() -> dict[str, str]:
    """WordNet id -> names ("tench, Tinca tinca") of the 1,000 classes, in the order of their indices."""
    return dict(json.loads(SYNSETS.read_bytes())["synsets"])


def _names(label: str) -> tuple[str, ...]:
    return tuple(" ".join(part.replace("_", " ").split()).casefold() for part in label.split(","))


def map_labels(labels: Sequence[str], how: str = "name") -> tuple[list[int], str]:
    """The class (0-999) that each output of a head stands for, -1 for background; and how it was found.

    A label may be a WordNet id, a synset's full list of names or some of them. Names that several synsets
    have ("crane", "maillot", "cardigan") go to these synsets in the order of the outputs. Every class must be
    met exactly once. Raises CannotMeasure if it cannot be.
    """
    if not isinstance(how, str):
        return list(how), "in a given order"
    size, background = len(labels), len(labels) - 1000
    if background not in (0, 1):
        raise CannotMeasure(f"labels do not match: the head has {size} outputs, not 1000 or 1001")
    numbered = all(re.fullmatch(r"(LABEL_)?\d+", label) for label in labels)
    if how == "index" or numbered:
        words = f"by index{', for the labels have no names' if numbered else ''}"
        return [i - background for i in range(size)], words + (", 0 is background" if background else "")
    ids = {wnid: i for i, wnid in enumerate(synsets())}
    full = {_names(names): i for i, names in enumerate(synsets().values())}  # "crane" is in it once
    named = defaultdict(set)
    for i, names in enumerate(synsets().values()):
        for name in _names(names):
            named[name].add(i)
    often = Counter(map(_names, labels))
    candidates = []
    for label in labels:
        names, wnid = _names(label), re.match(r"n\d{8}\b", label)
        if wnid:
            candidates.append({ids[wnid[0]]} if wnid[0] in ids else set())
        elif names in full and often[names] == 1:
            candidates.append({full[names]})
        else:
            candidates.append(set.intersection(*(named.get(name, set()) for name in names)))
    stated, found = candidates, [None] * size
    while True:  # settle labels with one candidate left, then those that share as many as they are
        groups = defaultdict(list)
        for place, options in enumerate(candidates):
            if found[place] is None and options:
                groups[frozenset(options)].append(place)
        whole = [(options, places) for options, places in groups.items() if len(options) == len(places)]
        if not whole:
            break
        least = min(len(options) for options, _ in whole)
        taken = set()
        for options, places in whole:
            if len(options) == least:
                taken |= options
                for place, index in zip(places, sorted(options), strict=True):
                    found[place] = index
        candidates = [options - taken for options in candidates]
    lost = [place for place, index in enumerate(found) if index is None]
    if background and (
        nothing := [p for p in lost if labels[p].casefold().strip("_ ") in ("background", "dummy")]
    ):
        found[nothing[0]], lost = -1, [p for p in lost if p != nothing[0]]
    by_place = all(index in (None, -1, p - background) for p, index in enumerate(found))
    if by_place and len(lost) <= 100 and all(not stated[p] or p - background in stated[p] for p in lost):
        for place in lost:  # the others are all in canonical order, so these are too
            found[place] = place - background
        words = f"by name{f', {len(lost)} of them by position among the others' if lost else ''}"
    elif lost:
        raise CannotMeasure(
            f"labels do not match: {len(lost)} of {size} name no synset of ImageNet-1k, or one that "
            f"another label names; the first is output {lost[0]}, {labels[lost[0]][:60]!r}"
        )
    else:
        words = "by name"
    if sorted(found) != list(range(-background, 1000)):
        raise CannotMeasure("labels do not match: two outputs name the same synset of ImageNet-1k")
    return found, words + (", with a background class" if background else "")
