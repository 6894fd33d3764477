"""Which category of COCO each output of a detector stands for: by name, by index, or by its boxes.

Used by detection.py. Boxes decide only where one of the 80 names is lost (misspelt, or the names are
shifted), and only if they leave no doubt.
"""

import re
from collections.abc import Sequence

from harness.checkpoint import CannotMeasure
from scored.paired import mcnemar

ALPHA = 0.01  # a lost name is given to an output only if chance would do the same less often
ALIASES = {  # Darknet's and Pascal VOC's names for categories of COCO
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}
INDEX, FORWARD, BACK, ALPHABETICAL = "index", "shifted by one", "shifted back by one", "alphabetical"
NAMED_ORDERS = (
    INDEX,
    FORWARD,
    BACK,
    ALPHABETICAL,
)  # other than "name"; those that are tried where names mislead


# ── By name and by index ──────────────────────────────────────────────────────────────────────────────────


def map_labels(
    labels: Sequence[str], categories: dict[int, str], how: str | tuple = "name"
) -> tuple[list[int], str]:
    """Map each output of a head to its COCO category id (-1: none), and say how.

    `N/A` and names outside COCO stand for none. Labels without names (LABEL_0, 0) go by index. `how` is
    "name", one of NAMED_ORDERS, or a given order. Raises CannotMeasure if a category has no label.
    """
    if not isinstance(how, str):
        return list(how), "in a given order"
    is_numbered = all(re.fullmatch(r"(LABEL_)?\d+", label) for label in labels)
    if how == INDEX or is_numbered:
        order, note = _map_by_index(len(labels), categories)
        return order, note + (", for the labels have no names" if is_numbered else "")
    order, note = _map_by_name(labels, categories), how
    if how == "name":
        note = _describe_names(labels, order)
    elif how == ALPHABETICAL:
        order = _sort_by_name(order, categories)
    else:
        order = _shift(order, how, order[0] if how == FORWARD else order[-1])
    lost = lost_categories(order, categories)
    if lost:
        raise CannotMeasure(why_no_match(labels, categories, lost))
    return order, note


def _map_by_name(labels: Sequence[str], categories: dict[int, str]) -> list[int]:
    category_of = {_key(name): category for category, name in categories.items()}
    for alias, name in ALIASES.items():
        if _key(name) in category_of:
            category_of[_key(alias)] = category_of[_key(name)]
    return [category_of.get(_key(label), -1) for label in labels]


def _map_by_index(outputs: int, categories: dict[int, str]) -> tuple[list[int], str]:
    """Map 91 outputs to category ids, as in DETR, and 80 to the categories in order."""
    ids = sorted(categories)
    if outputs == len(ids) == 80:
        return ids, "by index among the categories"
    if outputs <= ids[-1]:
        raise CannotMeasure(f"labels do not match: {outputs} without names are not COCO's 80 or 91")
    category_of = dict.fromkeys(range(outputs), -1) | {category: category for category in ids}
    return [category_of[output] for output in range(outputs)], "by index as category id"


def _shift(order: list[int], how: str, filler: int) -> list[int]:
    """Give each output the category of its neighbor, of the one after it if the names stand too late.

    The output at the end, which has no such neighbor, gets `filler`.
    """
    return [*order[1:], filler] if how == FORWARD else [filler, *order[:-1]]


def _sort_by_name(order: list[int], categories: dict[int, str]) -> list[int]:
    """Give the outputs that stand for a category the categories in the order of their names."""
    ranked = iter(sorted((c for c in order if c >= 0), key=categories.__getitem__))
    return [next(ranked) if category >= 0 else -1 for category in order]


def _describe_names(labels: Sequence[str], order: list[int]) -> str:
    others = [labels[output] for output in _strangers(labels, order)]
    return "by name" + (f"; not in COCO: {len(others)}, such as {others[0][:40]!r}" if others else "")


def _strangers(labels: Sequence[str], order: list[int]) -> list[int]:
    """Return the outputs whose names are not COCO's, `N/A` aside."""
    return [i for i, category in enumerate(order) if category < 0 and _key(labels[i]) != "na"]


def lost_categories(order: Sequence[int], categories: dict[int, str]) -> list[int]:
    """Return the categories for which no output stands."""
    return [category for category in categories if category not in order]


def why_no_match(labels: Sequence[str], categories: dict[int, str], lost: list[int]) -> str:
    """Say which categories have no label."""
    names = ", ".join(repr(categories[category]) for category in lost[:3])
    return (
        f"labels do not match: none of the {len(labels)} is called {names}"
        f" ({len(lost)} of {len(categories)} categories have no label)"
    )


def _key(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


# ── By the boxes ──────────────────────────────────────────────────────────────────────────────────────────
# `won` (n) is, for each object that some detection overlaps by half, the output of the highest-scoring one;
# `true` (n) is the object's category.


def outputs_of_objects(rows, targets: dict[int, list[dict]]) -> tuple:
    """Return `won` and `true`, from detections (m, 7) with outputs in place of categories.

    Crowds are left out. `rows` has those of an image together; `targets` are the annotations by image id.
    """
    import numpy as np

    starts = np.flatnonzero(np.diff(rows[:, 0])) + 1
    won, true = [], []
    for of_image in np.split(rows, starts) if len(rows) else []:
        for annotation in targets[int(of_image[0, 0])]:
            overlaps = overlaps_by_half(of_image, annotation["bbox"])
            if overlaps.any() and not annotation["iscrowd"]:
                best = np.argmax(np.where(overlaps, of_image[:, 5], -1))
                won.append(int(of_image[best, 6]))
                true.append(annotation["category_id"])
    return np.array(won, int), np.array(true, int)


def overlaps_by_half(rows, box: Sequence[float]):
    """Return which detections (n) have an IoU of 0.5 or more with a box (x, y, width, height)."""
    import numpy as np

    x, y, width, height = box
    shared_width = np.minimum(rows[:, 1] + rows[:, 3], x + width) - np.maximum(rows[:, 1], x)
    shared_height = np.minimum(rows[:, 2] + rows[:, 4], y + height) - np.maximum(rows[:, 2], y)
    intersection = np.maximum(shared_width, 0) * np.maximum(shared_height, 0)
    return intersection >= 0.5 * (rows[:, 3] * rows[:, 4] + width * height - intersection)


def lost_category(labels: Sequence[str], categories: dict[int, str], how: str | tuple) -> int | None:
    """Return the category that has no label, if labels go by name and it is the only one."""
    if how != "name" or all(re.fullmatch(r"(LABEL_)?\d+", label) for label in labels):
        return None
    lost = lost_categories(_map_by_name(labels, categories), categories)
    return lost[0] if len(lost) == 1 else None


def fit_lost_label(labels: Sequence[str], categories: dict[int, str], won, true) -> tuple[list[int], str]:
    """Find the order of labels where one name is lost, and say how.

    The names are shifted (the lost one fell off the end), or one is misspelt. Raises CannotMeasure if the
    boxes do not say plainly which.
    """
    import numpy as np

    declared = _map_by_name(labels, categories)
    (lost,) = lost_categories(declared, categories)
    misspelt = _fit_misspelt(labels, categories, declared, lost, won, true)
    shifted = _fit_shift(labels, categories, declared, lost, won, true)
    fits = [fit for fit in (misspelt, shifted) if fit is not None]
    if not fits:
        reason = why_no_match(labels, categories, [lost])
        doubt = f"the boxes do not say plainly which output is {categories[lost]!r}"
        raise CannotMeasure(f"{reason}, and {doubt}")
    return max(fits, key=lambda fit: (np.array(fit[0])[won] == true).sum())  # the first of equal ones


def _fit_shift(labels, categories, declared: list[int], lost: int, won, true) -> tuple[list[int], str] | None:
    """Return the shifted order that fits most objects, and plainly more than the names do."""
    import numpy as np

    orders = {how: _shift(declared, how, lost) for how in (FORWARD, BACK)}
    by_index = _order_by_index(labels, categories)
    if by_index:
        orders[INDEX] = by_index
    hits = {how: np.array(order)[won] == true for how, order in orders.items()}
    named = np.array(declared)[won] == true
    best = max(hits, key=lambda how: hits[how].sum())
    only_named, only_best = (named & ~hits[best]).sum(), (hits[best] & ~named).sum()
    is_plain = only_best > only_named and mcnemar(int(only_named), int(only_best)) <= ALPHA / len(orders)
    if not is_plain or 2 * hits[best].sum() <= len(true):
        return None
    fit = f"{hits[best].sum()} of {len(true)} objects, by their names {named.sum()}"
    return orders[best], f"{best}, since {categories[lost]!r} is lost and the boxes fit so: {fit}"


def _fit_misspelt(labels, categories, declared: list[int], lost: int, won, true) -> tuple | None:
    """Return the order by name in which one other output stands for the lost category.

    More than half of the objects must fit the names, and half or more of what that output wins must be of the
    lost category, by Fisher's exact test more than chance.
    """
    import numpy as np
    from scipy.stats import fisher_exact

    named = np.array(declared)[won] == true
    if 2 * named[true != lost].sum() <= (true != lost).sum():
        return None
    is_lost, candidates = true == lost, _outputs_for(labels, categories, declared)
    if not is_lost.any():  # whichever output it is, AP and AR of this category are 0
        return declared, f"by name; {categories[lost]!r} has no label, and no box overlaps an object of it"
    for output in candidates:
        is_won = won == output
        both, others = int((is_won & is_lost).sum()), int((is_won & ~is_lost).sum())
        neither = [int((~is_won & is_lost).sum()), int((~is_won & ~is_lost).sum())]
        p_value = fisher_exact([[both, others], neither], alternative="greater").pvalue
        if both >= max(others, 1) and p_value <= ALPHA / len(candidates):
            order = [lost if i == output else category for i, category in enumerate(declared)]
            evidence = f"{both} of the {both + others} objects that it fits best are"
            return order, f"by name; {labels[output][:40]!r} stands for {categories[lost]!r}: {evidence}"
    return None


def _outputs_for(labels: Sequence[str], categories: dict[int, str], declared: list[int]) -> list[int]:
    """Return the outputs that may stand for a lost category.

    Those are outputs with an unknown name or the same name as another; and the one where the category has its
    place, if each other name is in its place. Without such, those called `N/A`.
    """
    candidates = set(_strangers(labels, declared))
    candidates |= {i for i, category in enumerate(declared) if category >= 0 and declared.count(category) > 1}
    by_index = _order_by_index(labels, categories)
    if by_index:
        misplaced = [i for i, category in enumerate(declared) if category != by_index[i]]
        candidates |= set(misplaced) if len(misplaced) == 1 else set()
    return sorted(candidates) or [i for i, category in enumerate(declared) if category < 0]


def _order_by_index(labels: Sequence[str], categories: dict[int, str]) -> list[int] | None:
    """Return the categories by index; None for a head that has neither 80 nor 91 outputs."""
    try:
        return _map_by_index(len(labels), categories)[0]
    except CannotMeasure:
        return None
