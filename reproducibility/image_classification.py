"""How accurate is an image classifier on ImageNet-1k? Top-1 and top-5, by synset, on the validation set.

Reads the model, the images and assets/data/imagenet_synsets.json; writes results/IMAGENET/ and predictions/.

    python reproducibility/image_classification.py google/vit-base-patch16-224 --data FOLDER
"""

import csv
import functools
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness import images
from harness.checkpoint import CannotMeasure, describe_error
from harness.imagenet import map_labels, synsets
from harness.runner import main
from harness.task import Data, Task
from scored.files import UserError
from scored.intervals import wilson

SIZE = 50_000  # images of the validation set; a smaller folder is measured, and its row says so
KEPT = 10  # the best classes of each image that are saved: enough for top-5 under any mapping of the labels
HUB = "ILSVRC/imagenet-1k"
DATA_HELP = (
    "a folder of images per class, named by WordNet id; or ILSVRC2012_val_*.JPEG in one folder "
    "(https://image-net.org, ILSVRC2012_img_val.tar) with the answers in it or above it, as val.txt (lines "
    "`name index`, index in the order of WordNet ids), LOC_val_solution.csv (Kaggle), or "
    "ILSVRC2012_validation_ground_truth.txt with map_clsloc.txt, both from a development kit; or the Parquet "
    f"files of {HUB}, which are fetched without --data (6.7 GB, needs a token with access)"
)
NEEDED = f"--data must hold {DATA_HELP}"


@dataclass(frozen=True)
class Protocol:
    """Every choice between the weights and the accuracy."""

    exif: bool  # turn images by their EXIF tag, as pipelines do and ImageNet's reference loaders do not
    labels: str | tuple = "name"  # classes are found by the label's name, or by its index in the head
    preprocessing: dict = field(default_factory=dict)  # settings that replace the model's own
    split: str | None = None


PROTOCOLS = {"standard": Protocol(exif=False), "scored-2022": Protocol(exif=True)}


# ── Data ──────────────────────────────────────────────────────────────────────────────────────────────────


def _truth(folder: Path) -> tuple[Path, dict[str, int]]:
    """The file with the answers of a flat folder, and file name (without suffix) -> class."""
    names = ("LOC_val_solution.csv", "val.txt", "ILSVRC2012_validation_ground_truth.txt")
    files = [place / name for place in (folder, folder.parent) for name in names if (place / name).is_file()]
    if not files:
        raise UserError(f"{folder} has neither <wnid>/ folders nor a file with answers. {NEEDED}")
    index, file = {wnid: i for i, wnid in enumerate(synsets())}, files[0]
    try:
        lines = file.read_text("utf-8").splitlines()
        if file.name == names[0]:
            return file, {
                r["ImageId"]: index[r["PredictionString"].split()[0]] for r in csv.DictReader(lines)
            }
        if file.name == names[1]:
            return file, {Path(name).stem: int(number) for name, number in map(str.split, lines)}
        order = map(str.split, file.with_name("map_clsloc.txt").read_text("utf-8").splitlines())
        wnids = {number: wnid for wnid, number, *_ in order}  # these numbers follow no order one could derive
        return file, {f"ILSVRC2012_val_{n:08}": index[wnids[line]] for n, line in enumerate(lines, 1)}
    except (OSError, ValueError, KeyError, IndexError, AttributeError, csv.Error) as why:
        raise UserError(f"cannot read the answers in {file}: {why!r}. {NEEDED}") from why


def load_data(path: Path | None, split: str) -> Data:
    """The validation set: image files, or (Parquet file, row); targets are classes 0-999."""
    if path is None:
        return _parquet(*_from_hub(), HUB)
    if not path.is_dir():
        raise UserError(f"{path} is not a folder. {NEEDED}")
    if files := sorted(path.glob("**/validation*.parquet")):
        return _parquet(files, None, "local Parquet files")
    path = path / "val" if (path / "val").is_dir() else path
    index = {wnid: i for i, wnid in enumerate(synsets())}
    if folders := sorted(p for p in path.iterdir() if re.fullmatch(r"n\d{8}", p.name) and p.is_dir()):
        if unknown := [p.name for p in folders if p.name not in index]:
            raise UserError(f"{path / unknown[0]} is not one of the 1,000 synsets of ImageNet-1k. {NEEDED}")
        files = [file for folder in folders for file in _images(folder)]
        targets = [index[file.parent.name] for file in files]
    else:
        answers, truth = _truth(path)
        files = _images(path)
        if without := [file.name for file in files if file.stem not in truth]:
            raise UserError(f"{answers} has no answer for {without[0]} ({len(without)} such). {NEEDED}")
        targets = [truth[file.stem] for file in files]
        if not all(0 <= target < 1000 for target in targets):
            raise UserError(f"{answers} must number the classes 0 to 999. {NEEDED}")
    if not files:
        raise UserError(f"{path} holds no images. {NEEDED}")
    revision, hashes = images.content_revision(files, targets)
    source = f"local folder, {len(files):,} images"
    names = [str(f) for f in files]
    return Data("validation", revision, source, names, targets, SIZE, hashes=hashes)


def _images(folder: Path) -> list[Path]:
    return sorted(
        f for f in folder.iterdir() if f.suffix.casefold() in (".jpeg", ".jpg", ".png") and f.is_file()
    )


def _from_hub() -> tuple[list[Path], str]:
    """The validation split's Parquet files, fetched once for all models, and the commit they are from."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = snapshot_download(HUB, repo_type="dataset", allow_patterns=["data/validation*.parquet"])
    except (HfHubHTTPError, OSError) as why:
        raise UserError(f"cannot fetch {HUB} from the Hub: {str(why).splitlines()[0]}. {NEEDED}") from why
    return sorted(Path(folder).glob("data/validation*.parquet")), Path(folder).name


class _Label(msgspec.Struct):
    names: list[str] = []


class _Features(msgspec.Struct):
    label: _Label = msgspec.field(default_factory=_Label)


class _Info(msgspec.Struct):
    features: _Features = msgspec.field(default_factory=_Features)


class About(msgspec.Struct):
    """What the Hub's Parquet files say of themselves, as far as it is read here."""

    info: _Info = msgspec.field(default_factory=_Info)


def _parquet(files: list[Path], revision: str | None, source: str) -> Data:
    """Examples (file, row) of Parquet files with the Hub's columns `image` (bytes) and `label`."""
    import pyarrow.parquet

    examples, targets = [], []
    for file in files:
        try:
            with pyarrow.parquet.ParquetFile(file) as opened:
                labels = opened.read(["label"])["label"].cast("int64").to_pylist()
                about = (opened.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
            names = msgspec.json.decode(about, type=About).info.features.label.names
            order = map_labels(names)[0] if names else range(1000)
            targets += [order[label] if 0 <= label < 1000 else -1 for label in labels]
        except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException, CannotMeasure) as why:
            raise UserError(f"{file} cannot be read: {describe_error(why)}. {NEEDED}") from why
        examples += [(str(file), row) for row in range(len(labels))]
    if not targets or min(targets) < 0:
        raise UserError(f"the Parquet files of {source} hold no labels 0-999 (the test split?). {NEEDED}")
    revision = revision or images.content_revision(files, targets)[0]
    return Data("validation", revision, f"{source}, {len(targets):,} images", examples, targets, SIZE)


_lock = threading.Lock()


@functools.lru_cache(maxsize=2)
def _group(file: str, group: int):
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(file).read_row_group(group, ["image"])["image"]


def read(example: str | tuple[str, int]) -> bytes:
    """The bytes of an image file, or of an image in a Parquet file."""
    if isinstance(example, str):
        return Path(example).read_bytes()
    import pyarrow.parquet

    file, row = example
    with _lock:
        details = pyarrow.parquet.read_metadata(file)
        for group in range(details.num_row_groups):
            if row < details.row_group(group).num_rows:
                return _group(file, group)[row].as_py()["bytes"]
            row -= details.row_group(group).num_rows
    raise IndexError(row)


# ── Model and metric ──────────────────────────────────────────────────────────────────────────────────────


def load_model(folder: Path, device: str, dtype: str) -> images.Model:
    """The classifier with its own preprocessing, run by Pillow."""
    from transformers import AutoModelForImageClassification

    return images.load(AutoModelForImageClassification, folder, device, dtype)


def predict(model: images.Model, data: Data, protocol: Protocol, batch_size: int) -> Iterator:
    """The KEPT highest logits of each image and their classes; once more for an image that EXIF turns."""
    import numpy as np

    def forward(batch: Sequence) -> list[dict]:
        logits = images.run(model.net, batch).logits.float().cpu().numpy()
        best = np.argsort(-logits, axis=1, kind="stable")[:, :KEPT]
        return [{"classes": c.astype("int32"), "logits": row[c]} for row, c in zip(logits, best, strict=True)]

    images.check_labels(lambda how: map_labels(images.describe(model)["labels"], how))
    yield from images.batches(
        lambda place: read(data.examples[place]),
        range(len(data.examples)),
        lambda image: images.tensors(image, model, protocol.preprocessing),
        forward,
        model.net.device,
        batch_size,
        {"classes": "int32", "logits": "float32"},
    )


def score(table, data: Data, protocol: Protocol, about: dict) -> dict:
    """Top-1 and top-5 accuracy of saved predictions, with 95 % Wilson intervals."""
    import numpy as np

    found, words = map_labels(about["labels"], protocol.labels)
    classes, lengths = images.chosen(table, "classes", protocol.exif)
    hits = np.array(found)[classes].reshape(-1, lengths[0]) == np.array(data.targets)[:, None]
    right = {"accuracy": int(hits[:, 0].sum()), "accuracy-top5": int(hits[:, :5].any(1).sum())}
    return {
        "metrics": {name: count / len(hits) for name, count in right.items()},
        "intervals": {name: wilson(count, len(hits)) for name, count in right.items()},
        "interval_method": dict.fromkeys(right, "Wilson"),
        "labels": words,
        "turned_by_exif": images.turned(table, "classes"),
    }


def answers(table, data: Data, protocol: Protocol, about: dict) -> tuple:
    """Which output answered each image (n), which class is right (n), which class each output declares."""
    import numpy as np

    classes, lengths = images.chosen(table, "classes", protocol.exif)
    said = classes.reshape(-1, lengths[0])[:, 0]
    return said, np.array(data.targets), map_labels(about["labels"], protocol.labels)[0]


def class_names(data: Data) -> dict[int, str]:
    return dict(enumerate(synsets().values()))


BY_NAME, BY_INDEX = "name", "index"
FACTORS = {"labels": "label mapping", "exif": "EXIF orientation"}  # what explain.py calls the choices

TASK = Task(
    name="image-classification",
    dataset="imagenet-1k",
    protocols=PROTOCOLS,
    forward_fields=("preprocessing",),
    batch_size={"cpu": 4, "cuda": 256},
    load_data=load_data,
    load_model=load_model,
    describe=images.describe,
    predict=predict,
    score=score,
    data_help=DATA_HELP,
    code_files=("harness/images.py", "harness/imagenet.py", "../assets/data/imagenet_synsets.json"),
)
if __name__ == "__main__":
    main(TASK)
