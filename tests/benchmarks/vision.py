"""How much faster are classification and detection than a pipeline, what is left, and what does scoring cost?

The study's way is the plain transformers pipeline, one image at a time; the other rival is the pipeline in
batches of the size that suits it best. Same machine, same run, in turns; the profile is of one thread.

    python tests/benchmarks/vision.py [--images N] [--threads N] [--skip-scoring] [--json FILE]
"""

import argparse
import itertools
import os
import sys
import time
from pathlib import Path

from runners import ROOT, best_batch, clock, in_turns, write

SHARED = ROOT.parent / "shared"


def compare(script, model, data, path_of, turns: int) -> list[dict]:
    """A row for each rival, and the profile of our way: what decoding, preparing and computing take."""
    import torch
    from transformers import pipeline

    from harness import images

    task, protocol, device = script.TASK.name, script.PROTOCOLS["scored-2022"], model.net.device
    pipe = pipeline(task, model=model.net, image_processor=model.processor, device=device)
    files = [path_of(example) for example in data.examples]
    seen = [images.decode_views(Path(file).read_bytes())[0] for file in files]
    detects = (
        task == "object-detection"
    )  # its pipeline batches only images of one size: those are put together
    order = sorted(range(len(files)), key=lambda i: seen[i].size) if detects else range(len(files))
    groups = itertools.groupby(order, lambda i: seen[i].size if detects else 0)
    groups = [[files[i] for i in group] for _, group in groups]

    def ours() -> int:
        size = script.TASK.batch_size[device.type]
        return sum(len(batch.indices) for batch in script.predict(model, data, protocol, size))

    best = best_batch(pipe, max(groups, key=len))
    rivals = {
        "the plain pipeline, one image at a time": lambda: sum(1 for file in files if pipe(file) is not None),
        f"the pipeline in batches of {best}{' of one size' if detects else ''}": lambda: sum(
            len(pipe(group, batch_size=best)) for group in groups
        ),
    }
    name = Path(model.net.name_or_path).name
    rows = in_turns(f"{name}, {len(files)} images on {device}", "images", len(files), ours, rivals, turns)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    parts, n = {}, len(files)
    parts["decode"], seen = clock(lambda: [images.decode_views(Path(file).read_bytes())[0] for file in files])
    parts["resize and normalise"], made = clock(
        lambda: [(images.tensors(image, model, {}), (image.height, image.width)) for image in seen]
    )
    parts["forward"], _ = clock(lambda: [images.run(model.net, [item]) for item in made])
    torch.set_num_threads(threads)
    profile = ", ".join(
        f"{what} {1000 * took / n:.1f} ms ({took / sum(parts.values()):.0%})" for what, took in parts.items()
    )
    print(f"   one image on one thread: {profile}")
    rows[0]["note"] += f"; one image on one thread: {profile}"
    return rows


def val2017_sized(n=5_000, annotations=36_369, detections=492_611):
    """Random annotations and detections, as many as in val2017 and of a DETR on it."""
    import numpy as np

    rng = np.random.default_rng(0)
    size = np.exp(rng.normal(4, 1, (annotations, 2))).clip(4, 400)
    truth = {
        "image_id": rng.integers(1, n + 1, annotations),
        "category_id": rng.integers(1, 81, annotations),
        "bbox": np.c_[rng.uniform(0, 300, (annotations, 2)), size],
        "area": size.prod(1),
        "iscrowd": (rng.random(annotations) < 0.01).astype(int),
    }
    near = rng.integers(annotations, size=detections)
    shift = rng.normal(0, 0.1, (detections, 4)) * np.tile(size[near], 2)
    boxes = truth["bbox"][near] + shift
    boxes[:, 2:] = boxes[:, 2:].clip(1)
    other = rng.random(detections), rng.integers(1, n + 1, detections)
    image = np.where(other[0] < 0.2, truth["image_id"][near], other[1])
    rows = np.c_[image, boxes, rng.random(detections), truth["category_id"][near]]
    return range(1, n + 1), {i: str(i) for i in range(1, 81)}, truth, rows


def scoring(resamples: int) -> list[dict]:
    from harness import coco, reference

    ids, categories, truth, rows = val2017_sized()

    ours, stats = min(
        (clock(coco.coco_stats, ids, categories, truth, rows) for _ in range(3)), key=lambda t: t[0]
    )
    theirs, wanted = clock(reference.coco_stats, ids, categories, truth, rows)
    assert (stats == wanted).all(), "the twelve numbers differ"
    what = f"COCO scoring, {len(ids):,} images, {len(truth['area']):,} annotations, {len(rows):,} detections"
    row = {"what": what, "ours": f"{ours:.2f} s", "against": f"pycocotools: {theirs:.0f} s"}
    made = [row | {"ratio": theirs / ours, "note": "the twelve numbers are the same to the last bit"}]
    before = time.process_time()
    took, _ = clock(coco.resampled, ids, categories, truth, rows, resamples)
    used = time.process_time() - before
    row = {
        "what": f"image bootstrap of the same, {resamples} resamples",
        "ours": f"{took:.0f} s",
        "against": "",
    }
    made.append(row | {"ratio": None, "note": f"{used:.0f} CPU s; each draw is scored as a set of its own"})
    for row in made:
        print(f"{row['what']}: {row['ours']} {row['against']} {row['note']}", flush=True)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="images of each task (default: 100)")
    parser.add_argument("--turns", type=int, default=5, help="(default: 5)")
    parser.add_argument("--threads", type=int, help="of torch, for all ways (default: torch's own)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--dtype", default="float32", help="of the weights (default: float32)")
    parser.add_argument("--resamples", type=int, default=200, help="of the bootstrap (default: 200)")
    parser.add_argument("--skip-scoring", action="store_true", help="leave out COCO scoring")
    parser.add_argument("--json", type=Path, help="file for the rows")
    args = parser.parse_args()
    import torch
    import transformers

    import detection
    import image_classification as classification

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    print(f"{args.dtype}, {torch.get_num_threads()} threads of torch, load before {os.getloadavg()[0]:.1f}")
    rows = []
    for script, name, folder in (
        (classification, "mobilenet-v2", SHARED / "imagenet" / "val"),
        (detection, "yolos-tiny-overfit", SHARED / "coco"),
    ):
        model = script.load_model(
            SHARED / "models" / name, torch.device(args.device), getattr(torch, args.dtype)
        )
        data = script.load_data(folder, "validation")
        data = data.take(range(min(args.images, len(data.examples))))
        path_of = (lambda e: e) if script is classification else (lambda e: e[1])
        rows += compare(script, model, data, path_of, args.turns)
    if not args.skip_scoring:
        rows += scoring(args.resamples)
    write(args.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
