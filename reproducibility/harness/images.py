"""Images: reading, EXIF rotation, preprocessing and batches, for classification and detection.

Used by image_classification.py and detection.py.
"""

import contextlib
import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from harness.checkpoint import CannotMeasure, load_pretrained
from harness.task import Batch
from harness.threads import map_in_threads

ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held; 1 is upright
REVERSED = "reverse_channels"  # a setting beside the processor's: blue, green, red for red, green, blue
USUAL_NORMALIZATION = [  # of ImageNet and of Inception
    {"do_normalize": True, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    {"do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
]


@dataclass(frozen=True)
class Model:
    """A network in eval mode on its device, and the image processor published with it."""

    net: object
    processor: object


@dataclass(frozen=True)
class View:
    """One image as a network sees it: as stored (number 0), or turned by its EXIF tag (number 1)."""

    index: int  # of the image in the data
    number: int
    tensors: dict  # a batch of one
    size: tuple[int, int]  # height and width of the image, in pixels


@dataclass
class ImageOutputs:
    """The raw outputs of one image's views, filled in as they are computed."""

    digest: str  # SHA-256 of the file
    size: tuple[int, int]  # height and width as stored, in pixels
    views: list[dict | None]  # arrays by column; None until computed


# ── Model ─────────────────────────────────────────────────────────────────────────────────────────────────


def load(kind: type, folder: Path, device, dtype) -> Model:
    """Load a network of class `kind` and its own preprocessing by Pillow, as torchvision resizes otherwise.

    Raises CannotMeasure for a processor that Pillow cannot run.
    """
    import torch
    from transformers import AutoImageProcessor

    net = load_pretrained(kind, folder, device, dtype)
    processor = AutoImageProcessor.from_pretrained(
        folder, backend="pil", local_files_only=True, trust_remote_code=False
    )
    backend = getattr(processor, "backend", None)
    if backend != "pil":
        raise CannotMeasure(f"its {type(processor).__name__} preprocesses with {backend}, not with Pillow")
    return Model(net.to(memory_format=torch.channels_last), processor)  # the faster layout for convolutions


def describe(model: Model) -> dict:
    """Return the label names in index order, the published preprocessing and the size of the input."""
    names = model.net.config.id2label
    return {
        "labels": [str(names.get(i, f"LABEL_{i}")) for i in range(len(names))],
        "preprocessing": json.loads(model.processor.to_json_string()),
        "image_size": getattr(model.net.config, "image_size", None),
    }


def check_labels(map_labels: Callable[[str], object]) -> None:
    """Raise CannotMeasure, before any image is read, if labels map neither by name nor by index."""
    try:
        map_labels("name")
    except CannotMeasure as error:
        try:
            map_labels("index")
        except CannotMeasure:
            raise error from None


def run(net, batch: Sequence[tuple]):
    """Compute a network's outputs for [(tensors, size), …] of equal shape. Raises CannotMeasure for NaN."""
    import torch

    joined = {}
    for name in batch[0][0]:
        value = torch.cat([tensors[name] for tensors, _ in batch])
        is_float = value.is_floating_point() or name == "pixel_values"  # pixels of 0 to 255 are bytes
        joined[name] = value.to(net.device, net.dtype if is_float else None)
    with torch.inference_mode():
        outputs = net(**joined)
    for name in ("logits", "pred_boxes"):
        if name in outputs and not outputs[name].isfinite().all():
            raise CannotMeasure("its outputs are not finite: NaN or infinity, as from broken weights")
    return outputs


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────────


def content_revision(files: Sequence[Path], *further: object) -> tuple[str, list[str]]:
    """Hash files (names and bytes) and what else defines the data (labels): the revision, a hash per file.

    The hash of a file that cannot be read is "": the forward pass that needs it reports it.
    """
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(_file_hash, files))
    total = hashlib.sha256(json.dumps(further, sort_keys=True).encode())
    for file, file_hash in zip(files, hashes, strict=True):
        total.update(os.fsencode(f"{file.name}\0{file_hash}"))
    return f"sha256:{total.hexdigest()}", hashes


def _file_hash(file: Path) -> str:
    with contextlib.suppress(OSError), open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
    return ""


def decode_views(raw: bytes) -> list:
    """Decode a file to RGB as stored and, if its EXIF tag turns it, also turned upright.

    Reference loaders (torchvision, DETR's) take the first, the pipelines of transformers the second.
    Raises ValueError for more than 8 bits per channel, which Pillow would clip at white.
    """
    from PIL import Image, ImageOps

    with Image.open(BytesIO(raw)) as image:
        if image.mode[0] in "IF":
            raise ValueError(f"its pixels have more than 8 bits ({image.mode})")
        try:
            turn = image.getexif().get(ORIENTATION, 1)
        except Exception:  # of many kinds; a tag that cannot be read turns nothing
            turn = 1
        plain = image.convert("RGB")
    if turn not in range(2, 9):
        return [plain]
    plain.info = {}  # other tags do not matter, and Pillow fails to write odd ones back
    plain.getexif()[ORIENTATION] = turn
    return [plain, ImageOps.exif_transpose(plain)]


def tensors(image, model: Model, changes: dict) -> dict:
    """Preprocess one RGB image into a batch of one; `changes` replace published settings.

    REVERSED is none of a processor's settings: it reverses the channels of what the processor returns.
    """
    settings = dict(changes)
    is_reversed = settings.pop(REVERSED, False)
    inputs = dict(model.processor(images=image, return_tensors="pt", **settings))
    if is_reversed:
        inputs["pixel_values"] = inputs["pixel_values"].flip(1)
    return inputs


# ── Batches ───────────────────────────────────────────────────────────────────────────────────────────────


def prefetch(function: Callable, items: Iterable, window: int) -> Iterator[tuple]:
    """Yield (item, function(item)) in order; threads compute at most `window` items ahead of the reader."""
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        waiting = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > window:
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def batches(
    read: Callable[[int], bytes],
    indices: Iterable[int],
    prepare: Callable,
    forward: Callable,
    device,
    batch_size: int,
    columns: dict[str, str],
) -> Iterator[Batch]:
    """Run each image, and its turned view if there is one, in batches of images of equal size.

    No image is padded to fit its neighbors, so no result depends on them: YOLOS has no pixel mask, and
    behind DETR's a convolution still sees the padding. Threads read and prepare while the network computes;
    on a CPU each core takes its share of `batch_size`.

    `read(index)` returns a file's bytes, `prepare(image)` tensors of a batch of one, and
    `forward([(tensors, (height, width)), …])` a dict of flat arrays per image, with one array per name in
    `columns` (name -> Arrow type). A turned view's outputs are in `turned_<name>`: null if stored upright.
    """
    import torch

    workers = min(torch.get_num_threads(), batch_size, 8) if device.type == "cpu" else 1
    outputs: dict[int, ImageOutputs] = {}  # of images with a view that is still to be computed
    unreadable: dict[int, str] = {}

    def compute(batch: list[View]) -> tuple[list[View], list[dict]]:
        return batch, forward([(view.tensors, view.size) for view in batch])

    decoded = prefetch(lambda index: _decode(read, prepare, index), indices, 2 * batch_size)
    images = _register(decoded, outputs, unreadable)
    grouped = _group_by_shape(images, batch_size // workers, 4 * batch_size)
    for batch, results in map_in_threads(compute, grouped, device, workers):
        for view, result in zip(batch, results, strict=True):
            outputs[view.index].views[view.number] = result
        complete = {}
        for index in dict.fromkeys(view.index for view in batch):
            if all(result is not None for result in outputs[index].views):
                complete[index] = outputs.pop(index)
        yield _make_batch(complete, dict(unreadable), columns)
        unreadable.clear()
    if unreadable:
        yield _make_batch({}, unreadable, columns)


def _decode(read: Callable, prepare: Callable, index: int) -> tuple[str, list[View], str]:
    """Return an image's hash, its views and why it cannot be read ("" if it can)."""
    try:
        raw = read(index)
        decoded = decode_views(raw)
    except Exception as error:  # Pillow raises many kinds for a broken file
        return "", [], f"{type(error).__name__}: {error}"
    views = []
    for number, image in enumerate(decoded):
        views.append(View(index, number, prepare(image), (image.height, image.width)))
    return hashlib.sha256(raw).hexdigest(), views, ""


def _register(decoded: Iterable[tuple], outputs: dict, unreadable: dict) -> Iterator[list[View]]:
    """Yield the views of each readable image, with a place for their outputs; note why others fail."""
    for index, (digest, views, error) in decoded:
        if error:
            unreadable[index] = error
            continue
        outputs[index] = ImageOutputs(digest, views[0].size, [None] * len(views))
        yield views


def _group_by_shape(images: Iterable[list[View]], size: int, most: int) -> Iterator[list[View]]:
    """Yield `size` views of one tensor shape at a time; fewer at the end, or if more than `most` wait."""
    waiting: dict[tuple, list[View]] = {}
    for views in images:
        for view in views:
            shape = tuple((name, tuple(value.shape)) for name, value in view.tensors.items())
            waiting.setdefault(shape, []).append(view)
            if len(waiting[shape]) >= size:
                yield waiting.pop(shape)
        if sum(map(len, waiting.values())) > most:  # many shapes: the one that has waited longest goes
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def _make_batch(complete: dict[int, ImageOutputs], unreadable: dict, columns: dict[str, str]) -> Batch:
    import pyarrow as pa

    rows = list(complete.values())
    arrays = {
        "hash": pa.array([row.digest for row in rows], pa.string()),
        "height": pa.array([row.size[0] for row in rows], pa.int32()),
        "width": pa.array([row.size[1] for row in rows], pa.int32()),
    }
    for name, value_type in columns.items():
        kind = pa.list_(pa.type_for_alias(value_type))
        arrays[name] = pa.array([row.views[0][name] for row in rows], kind)
        turned = []
        for row in rows:
            turned.append(row.views[1][name] if len(row.views) > 1 else None)
        arrays[f"turned_{name}"] = pa.array(turned, kind)
    return Batch(list(complete), arrays, unreadable)


# ── Saved predictions ─────────────────────────────────────────────────────────────────────────────────────


def column_for_view(table, column: str, turned: bool) -> tuple:
    """Return a list column in the view that a protocol wants: (flat NumPy array, values per image)."""
    import numpy as np
    import pyarrow as pa

    values = table[column].combine_chunks()
    if turned:
        other = table[f"turned_{column}"].combine_chunks()
        rows = np.arange(len(values)) + len(values) * other.is_valid().to_numpy(zero_copy_only=False)
        values = pa.concat_arrays([values, other]).take(pa.array(rows))
    lengths = values.value_lengths().to_numpy(zero_copy_only=False)
    return values.flatten().to_numpy(zero_copy_only=False), lengths


def count_rotated(table, column: str) -> int:
    """Count the images that the EXIF tag turns."""
    return len(table) - table[f"turned_{column}"].null_count
