"""ImageNet-1k: its 1,000 classes, the class of each output of a classifier, and the validation set's layouts.

Reads assets/data/imagenet_synsets.json. Used by image_classification.py.
"""

import csv
import functools
import json
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.checkpoint import CannotMeasure, describe_error
from scored.files import ROOT, UserError

SYNSETS = ROOT / "assets" / "data" / "imagenet_synsets.json"
CLASSES = 1000
MAX_BY_POSITION = 100  # labels without a match that may be placed by the order of the others


@functools.cache
def synsets() -> dict[str, str]:
    """Return WordNet id -> names ("tench, Tinca tinca") of the 1,000 classes, in order."""
    return dict(json.loads(SYNSETS.read_bytes())["synsets"])


# ── Labels ────────────────────────────────────────────────────────────────────────────────────────────────


def map_labels(labels: Sequence[str], how: str | tuple = "name") -> tuple[list[int], str]:
    """Map each output of a head to its class (0-999, -1 for none), and say how.

    `how` is "name", one of ORDERS, or a given order. A label may be a WordNet id, a synset's full list of
    names or some of them. Names that several synsets have ("crane", "maillot", "cardigan") go to these
    synsets in the order of the outputs. No class may be met twice. Raises CannotMeasure if it cannot be done.
    """
    if not isinstance(how, str):
        return list(how), "in a given order"
    extra = len(labels) - CLASSES  # outputs beside the 1,000 classes
    if extra not in (0, 1):
        raise CannotMeasure(f"labels do not match: the head has {len(labels)} outputs, not 1000 or 1001")
    if how == "index" or (how == "name" and _is_numbered(labels)):
        note = ", for the labels have no names" if _is_numbered(labels) else ""
        note += ", 0 is background" if extra else ""
        return by_index(labels), f"by index{note}"
    if how != "name":
        return ORDERS[how](labels), how
    classes, how = _map_by_name(tuple(labels))
    return list(classes), how


@functools.lru_cache(maxsize=16)
def _map_by_name(labels: tuple[str, ...]) -> tuple[list[int], str]:
    """Map each output to the class that its label names, and say how. Raises CannotMeasure."""
    stated = _candidates(labels)
    classes = _settle(stated)
    if len(labels) > CLASSES:
        _mark_background(labels, classes)
    note = _place_by_position(stated, classes)
    lost = [output for output, index in enumerate(classes) if index is None]
    if lost:
        raise CannotMeasure(
            f"labels do not match: {len(lost)} of {len(labels)} name no synset of ImageNet-1k, or one that "
            f"another label names; the first is output {lost[0]}, {labels[lost[0]][:60]!r}"
        )
    named = [index for index in classes if index >= 0]
    if len(set(named)) < len(named):
        raise CannotMeasure("labels do not match: two outputs name the same synset of ImageNet-1k")
    return classes, f"by name{note}" + (", with a background class" if len(named) < len(labels) else "")


def _is_numbered(labels: Sequence[str]) -> bool:
    """Whether labels are only numbers: "LABEL_7" or "7"."""
    return all(re.fullmatch(r"(LABEL_)?\d+", label) for label in labels)


def _split_names(label: str) -> tuple[str, ...]:
    return tuple(" ".join(part.replace("_", " ").split()).casefold() for part in label.split(","))


def _candidates(labels: Sequence[str]) -> list[set[int]]:
    """Return the classes that each label may mean, by its words."""
    index_of_wnid = {wnid: i for i, wnid in enumerate(synsets())}
    index_of_list, indices_of_name = {}, defaultdict(set)
    for i, text in enumerate(synsets().values()):
        index_of_list[_split_names(text)] = i  # "crane" is a full list once
        for name in _split_names(text):
            indices_of_name[name].add(i)
    occurrences = Counter(map(_split_names, labels))
    candidates = []
    for label in labels:
        names, wnid = _split_names(label), re.match(r"n\d{8}\b", label)
        if wnid:
            candidates.append({index_of_wnid[wnid[0]]} if wnid[0] in index_of_wnid else set())
        elif names in index_of_list and occurrences[names] == 1:
            candidates.append({index_of_list[names]})
        else:
            candidates.append(set.intersection(*(indices_of_name.get(name, set()) for name in names)))
    return candidates


def _settle(candidates: list[set[int]]) -> list[int | None]:
    """Assign classes: labels with one candidate left first, then those that share as many as they are."""
    classes: list[int | None] = [None] * len(candidates)
    while True:
        groups = defaultdict(list)
        for output, options in enumerate(candidates):
            if classes[output] is None and options:
                groups[frozenset(options)].append(output)
        exact = {options: outputs for options, outputs in groups.items() if len(options) == len(outputs)}
        if not exact:
            return classes
        fewest, taken = min(map(len, exact)), set()
        for options, outputs in exact.items():
            if len(options) == fewest:
                taken |= options
                for output, index in zip(outputs, sorted(options), strict=True):
                    classes[output] = index
        candidates = [options - taken for options in candidates]


def _mark_background(labels: Sequence[str], classes: list[int | None]) -> None:
    """Give class -1 to the first unmatched label that is called background."""
    for output, index in enumerate(classes):
        if index is None and labels[output].casefold().strip("_ ") in ("background", "dummy"):
            classes[output] = -1
            return


def _place_by_position(stated: list[set[int]], classes: list[int | None]) -> str:
    """Fill in a few unmatched labels by the labels beside them; return a note on it.

    A label without a name is placed only if all others are in canonical order, perhaps shifted. A place
    before the first class or after the last is no class's (-1), as where labels are shifted and one is lost.
    """
    lost = [output for output, index in enumerate(classes) if index is None]
    matched = {output: index for output, index in enumerate(classes) if index not in (None, -1)}
    if not lost or not matched or len(lost) > MAX_BY_POSITION:
        return ""
    is_canonical = len({output - index for output, index in matched.items()}) == 1
    places = {}
    for output in lost:
        neighbor = max((other for other in matched if other < output), default=min(matched))
        place = matched[neighbor] + output - neighbor
        if not 0 <= place < CLASSES:
            places[output] = -1
        elif place in stated[output] or (is_canonical and not stated[output]):
            places[output] = place
        else:
            return ""
    for output, place in places.items():
        classes[output] = place
    return f", {len(lost)} of them by position among the others"


# ── Other orders of the labels ────────────────────────────────────────────────────────────────────────────


def by_index(labels: Sequence[str]) -> list[int]:
    """Return the classes in WordNet's order; of 1,001 outputs, the first is the background."""
    return [output - (len(labels) - CLASSES) for output in range(len(labels))]


def _background_first(labels: Sequence[str]) -> list[int]:
    return [output - 1 for output in range(len(labels))]


def _background_last(labels: Sequence[str]) -> list[int]:
    return [output if output < CLASSES else -1 for output in range(len(labels))]


def _class_before(labels: Sequence[str]) -> list[int]:
    return [(index - 1) % CLASSES if index >= 0 else -1 for index in map_labels(labels)[0]]


def _class_after(labels: Sequence[str]) -> list[int]:
    return [(index + 1) % CLASSES if index >= 0 else -1 for index in map_labels(labels)[0]]


def _alphabetical(labels: Sequence[str]) -> list[int]:
    names = [text.split(",")[0] for text in synsets().values()]
    return [-1] * (len(labels) - CLASSES) + sorted(range(CLASSES), key=lambda index: names[index])


def _alphabetical_ignoring_case(labels: Sequence[str]) -> list[int]:
    names = [text.split(",")[0].casefold() for text in synsets().values()]
    return [-1] * (len(labels) - CLASSES) + sorted(range(CLASSES), key=lambda index: names[index])


def _numbers_as_text(labels: Sequence[str]) -> list[int]:
    """Return the order of folders named "0", "1", "10", "100", …"""
    classes = by_index(labels)
    return [classes[output] for output in sorted(range(len(labels)), key=str)]


ORDERS = {  # name -> function of the labels -> the class of each output, -1 for none
    "index": by_index,
    "background first": _background_first,
    "background last": _background_last,
    "no background": by_index,
    "shifted by one, to the class before": _class_before,
    "shifted by one, to the class after": _class_after,
    "alphabetical": _alphabetical,
    "alphabetical, ignoring case": _alphabetical_ignoring_case,
    "numbers sorted as text": _numbers_as_text,
}


def other_orders(labels: Sequence[str]) -> list[str]:
    """Return the ORDERS that differ from the declared one and from each other.

    WordNet's order is named by its background if that stands elsewhere. Raises CannotMeasure.
    """
    declared, _ = map_labels(labels)
    if len(labels) == CLASSES:
        canonical = "no background" if -1 in declared else "index"
        candidates = [name for name in ORDERS if "background" not in name]
    else:
        canonical = "index" if declared[0] == -1 else "background first"
        candidates = list(ORDERS)
    names, orders = [], [declared]
    for name in [canonical, *candidates]:
        order = ORDERS[name](labels)
        if order not in orders:
            orders.append(order)
            names.append(name)
    return names


# ── Image files ───────────────────────────────────────────────────────────────────────────────────────────


def list_images(folder: Path, needed: str) -> tuple[list[Path], list[int]]:
    """List the images of the validation set and their classes: <wnid>/ folders, or a flat folder.

    Raises UserError, with the layout that is `needed`, for a class or an answer that is missing.
    """
    index = {wnid: i for i, wnid in enumerate(synsets())}
    folders = sorted(p for p in folder.iterdir() if re.fullmatch(r"n\d{8}", p.name) and p.is_dir())
    for wnid_folder in folders:
        if wnid_folder.name not in index:
            raise UserError(f"{wnid_folder} is not one of the 1,000 synsets of ImageNet-1k. {needed}")
    files = []
    for wnid_folder in folders:
        files += _image_files(wnid_folder)
    if folders:
        return files, [index[file.parent.name] for file in files]
    answers, classes = _read_answers(folder, needed)
    files = _image_files(folder)
    without = [file.name for file in files if file.stem not in classes]
    if without:
        raise UserError(f"{answers} has no answer for {without[0]} ({len(without)} such). {needed}")
    targets = [classes[file.stem] for file in files]
    if not all(0 <= target < CLASSES for target in targets):
        raise UserError(f"{answers} must number the classes 0 to 999. {needed}")
    return files, targets


def _image_files(folder: Path) -> list[Path]:
    suffixes = (".jpeg", ".jpg", ".png")
    return sorted(file for file in folder.iterdir() if file.suffix.casefold() in suffixes and file.is_file())


def _read_answers(folder: Path, needed: str) -> tuple[Path, dict[str, int]]:
    """Read the file with a flat folder's answers: file name without suffix -> class."""
    readers = {
        "LOC_val_solution.csv": _answers_of_kaggle,
        "val.txt": _answers_by_index,
        "ILSVRC2012_validation_ground_truth.txt": _answers_of_kit,
    }
    for place in (folder, folder.parent):
        for name, read in readers.items():
            file = place / name
            if not file.is_file():
                continue
            try:
                return file, read(file)
            except (OSError, ValueError, KeyError, IndexError, AttributeError, csv.Error) as error:
                raise UserError(f"cannot read the answers in {file}: {error!r}. {needed}") from error
    raise UserError(f"{folder} has neither <wnid>/ folders nor a file with answers. {needed}")


def _answers_of_kaggle(file: Path) -> dict[str, int]:
    index, answers = {wnid: i for i, wnid in enumerate(synsets())}, {}
    for row in csv.DictReader(file.read_text("utf-8").splitlines()):
        answers[row["ImageId"]] = index[row["PredictionString"].split()[0]]
    return answers


def _answers_by_index(file: Path) -> dict[str, int]:
    answers = {}
    for line in file.read_text("utf-8").splitlines():
        name, number = line.split()
        answers[Path(name).stem] = int(number)
    return answers


def _answers_of_kit(file: Path) -> dict[str, int]:
    """Read a development kit's answers, whose numbers follow only map_clsloc.txt."""
    index, wnids = {wnid: i for i, wnid in enumerate(synsets())}, {}
    for line in file.with_name("map_clsloc.txt").read_text("utf-8").splitlines():
        wnid, number, *_ = line.split()
        wnids[number] = wnid
    lines = file.read_text("utf-8").splitlines()
    return {f"ILSVRC2012_val_{n:08}": index[wnids[line]] for n, line in enumerate(lines, 1)}


# ── Parquet files ─────────────────────────────────────────────────────────────────────────────────────────


class _Label(msgspec.Struct):
    names: list[str] = []


class _Features(msgspec.Struct):
    label: _Label = msgspec.field(default_factory=_Label)


class _Info(msgspec.Struct):
    features: _Features = msgspec.field(default_factory=_Features)


class _ParquetMetadata(msgspec.Struct):
    """The Hub's metadata of a Parquet file, as far as it is read."""

    info: _Info = msgspec.field(default_factory=_Info)


def read_parquet_labels(files: list[Path], needed: str) -> tuple[list[tuple[str, int]], list[int]]:
    """List the examples (file, row) of Parquet files as the Hub has them, and their classes.

    Raises UserError, with the layout that is `needed`, for an unreadable file or labels beyond 0-999.
    """
    import pyarrow

    examples, targets = [], []
    bad_file = (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException, CannotMeasure)
    for file in files:
        try:
            classes = _parquet_classes(file)
        except bad_file as error:
            raise UserError(f"{file} cannot be read: {describe_error(error)}. {needed}") from error
        targets += classes
        examples += [(str(file), row) for row in range(len(classes))]
    if not targets or min(targets) < 0:
        raise UserError(f"the Parquet files hold no labels 0-999 (the test split?). {needed}")
    return examples, targets


def _parquet_classes(file: Path) -> list[int]:
    """Read the column `label`: a class per row, -1 for a label beyond 0-999."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as opened:
        labels = opened.read(["label"])["label"].cast("int64").to_pylist()
        metadata = (opened.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    names = msgspec.json.decode(metadata, type=_ParquetMetadata).info.features.label.names
    order = map_labels(names)[0] if names else range(CLASSES)
    class_of = dict(enumerate(order[:CLASSES]))
    return [class_of.get(label, -1) for label in labels]


_lock = threading.Lock()


@functools.lru_cache(maxsize=2)
def _read_group(file: str, group: int):
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(file).read_row_group(group, ["image"])["image"]


def read_parquet_image(file: str, row: int) -> bytes:
    """Read the bytes of one image in a Parquet file with the Hub's column `image`."""
    import pyarrow.parquet

    with _lock:
        metadata = pyarrow.parquet.read_metadata(file)
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if row < rows:
                return _read_group(file, group)[row].as_py()["bytes"]
            row -= rows
    raise IndexError(row)
