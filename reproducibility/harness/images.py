"""How do images reach a model? What image_classification.py and detection.py share: reading, EXIF, batches.

Reads image files; writes nothing. Used by the two scripts; has no command of its own.
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
from harness.process import map_in_threads
from harness.task import Batch

ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held; 1 is upright


@dataclass(frozen=True)
class Model:
    """A network in eval mode on its device, and the image processor published with it."""

    net: object
    processor: object


def load(kind: type, folder: Path, device, dtype) -> Model:
    """The network of class `kind` and its own preprocessing, by Pillow: torchvision resizes otherwise."""
    import torch
    from transformers import AutoImageProcessor

    net = load_pretrained(kind, folder, device, dtype)
    processor = AutoImageProcessor.from_pretrained(
        folder, backend="pil", local_files_only=True, trust_remote_code=False
    )
    if (backend := getattr(processor, "backend", None)) != "pil":
        raise CannotMeasure(f"its {type(processor).__name__} preprocesses with {backend}, not with Pillow")
    return Model(net.to(memory_format=torch.channels_last), processor)  # the faster layout for convolutions


def describe(model: Model) -> dict:
    """The label names in index order and the published preprocessing."""
    names = model.net.config.id2label
    return {
        "labels": [str(names.get(i, f"LABEL_{i}")) for i in range(len(names))],
        "preprocessing": json.loads(model.processor.to_json_string()),
        "image_size": getattr(model.net.config, "image_size", None),
    }


def check_labels(mapped: Callable[[str], object]) -> None:
    """Raises CannotMeasure, before any image is read, where neither names nor indices can be mapped."""
    try:
        mapped("name")
    except CannotMeasure as why:
        try:
            mapped("index")
        except CannotMeasure:
            raise why from None


def content_revision(files: Sequence[Path], *further: object) -> tuple[str, list[str]]:
    """A hash of files (names and bytes) and of what else defines the data (labels); and each one's."""

    def one(file: Path) -> str:
        with contextlib.suppress(OSError), open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
        return ""  # such a file is reported by the pass that needs it

    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(one, files))
    total = hashlib.sha256(json.dumps(further, sort_keys=True).encode())
    for file, found in zip(files, hashes, strict=True):
        total.update(os.fsencode(f"{file.name}\0{found}"))
    return f"sha256:{total.hexdigest()}", hashes


def views(raw: bytes) -> list:
    """An image in RGB as it is stored and, if its EXIF tag says that it lies on its side, turned upright.

    Reference loaders (torchvision, DETR's) take the first, the pipelines of transformers the second.
    ValueError for more than 8 bits a channel, which Pillow would cut off at white.
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
    plain.info = {}  # other tags are no concern of ours, and Pillow fails to write odd ones back
    plain.getexif()[ORIENTATION] = turn
    return [plain, ImageOps.exif_transpose(plain)]


def tensors(image, model: Model, changes: dict) -> dict:
    """One RGB image as a batch of one; `changes` replace settings of the published preprocessing."""
    return dict(model.processor(images=image, return_tensors="pt", **changes))


def run(net, batch: Sequence[tuple]):
    """The network's outputs for tensors of equal size, computed together. Raises CannotMeasure for NaN."""
    import torch

    joined = {name: torch.cat([item[name] for item, _ in batch]) for name in batch[0][0]}
    for name, value in joined.items():
        joined[name] = value.to(net.device, net.dtype if value.is_floating_point() else None)
    with torch.inference_mode():
        outputs = net(**joined)
    read = [outputs[name] for name in ("logits", "pred_boxes") if name in outputs]
    if not all(value.isfinite().all() for value in read):
        raise CannotMeasure("its outputs are not finite: NaN or infinity, as from broken weights")
    return outputs


def ahead(function: Callable, items: Iterable, window: int) -> Iterator[tuple]:
    """(item, result) in order, computed by threads at most `window` items ahead of the reader."""
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
    order: Iterable[int],
    prepare: Callable,
    forward: Callable,
    device,
    batch_size: int,
    columns: dict[str, str],
) -> Iterator[Batch]:
    """Runs every image, and its turned view where there is one, in batches of images of equal size.

    No image is padded to fit its neighbours, so no result depends on them: YOLOS has no pixel mask, and
    behind DETR's a convolution still sees the padding. `read(place)` gives a file's bytes, `prepare(image)`
    tensors of a batch of one, `forward([(tensors, (height, width)), …])` a dict of flat arrays for each, one
    per name in `columns` (name -> Arrow type of its values). Threads read and prepare while the network
    computes; on a CPU each core takes its share of the `batch_size` images that are computed at once. A
    turned view's outputs are in columns `turned_<name>`, null for an image stored upright.
    """
    import torch

    workers = min(torch.get_num_threads(), batch_size, 8) if device.type == "cpu" else 1
    size, waiting, found, unread = batch_size // workers, {}, {}, {}

    def work(place: int) -> tuple:
        try:
            raw = read(place)
            seen = views(raw)
        except Exception as why:  # Pillow raises a dozen kinds for a broken file; its words are kept
            return None, f"{type(why).__name__}: {why}"
        return hashlib.sha256(raw).hexdigest(), [(prepare(i), (i.height, i.width)) for i in seen]

    def filled() -> Iterator[list]:
        for place, (digest, made) in ahead(work, order, 2 * batch_size):
            if digest is None:
                unread[place] = made
                continue
            found[place] = (digest, made[0][1], [None] * len(made))
            for view, item in enumerate(made):
                shape = tuple((name, tuple(value.shape)) for name, value in item[0].items())
                waiting.setdefault(shape, []).append((place, view, item))
                if len(waiting[shape]) >= size:
                    yield waiting.pop(shape)
            if sum(map(len, waiting.values())) > 4 * batch_size:  # many sizes: that which waits longest goes
                yield waiting.pop(next(iter(waiting)))
        yield from waiting.values()

    def answer(batch: list) -> tuple:
        return batch, forward([item for *_, item in batch])

    for batch, results in map_in_threads(answer, filled(), device, workers):
        for (place, view, _), result in zip(batch, results, strict=True):
            found[place][2][view] = result
        whole = [p for p in {place: None for place, *_ in batch} if all(o is not None for o in found[p][2])]
        rows, missed = [found.pop(place) for place in whole], dict(unread)
        unread.clear()
        yield _batch(whole, rows, missed, columns)
    if unread:
        yield _batch([], [], unread, columns)


def _batch(places: list[int], rows: list[tuple], unread: dict, columns: dict[str, str]) -> Batch:
    import pyarrow as pa

    made = {
        "hash": pa.array([digest for digest, *_ in rows], pa.string()),
        "height": pa.array([height for _, (height, _), _ in rows], pa.int32()),
        "width": pa.array([width for _, (_, width), _ in rows], pa.int32()),
    }
    for name, kind in columns.items():
        for prefix, view in (("", 0), ("turned_", 1)):
            values = [outputs[view][name] if view < len(outputs) else None for *_, outputs in rows]
            made[prefix + name] = pa.array(values, pa.list_(pa.type_for_alias(kind)))
    return Batch(places, made, unread)


def chosen(table, column: str, turned: bool) -> tuple:
    """A list column's values in the view that a protocol wants: (flat NumPy array, values per image)."""
    import numpy as np
    import pyarrow as pa

    values = table[column].combine_chunks()
    if turned:
        other = table[f"turned_{column}"].combine_chunks()
        rows = np.arange(len(values)) + len(values) * other.is_valid().to_numpy(zero_copy_only=False)
        values = pa.concat_arrays([values, other]).take(pa.array(rows))
    return values.flatten().to_numpy(zero_copy_only=False), values.value_lengths().to_numpy(
        zero_copy_only=False
    )


def turned(table, column: str) -> int:
    """How many images the EXIF tag turns."""
    return len(table) - table[f"turned_{column}"].null_count
