"""How much faster are classification and detection than the study's way, and what is left?

The study's way: the plain transformers pipeline, one image at a time. Same machine, same run, same threads,
the best of three turns each.

    python tests/benchmarks/vision.py [--images N] [--threads N] [--skip-bootstrap]
"""

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "reproducibility")]
SHARED = ROOT.parent / "shared"


def clock(function, *args) -> tuple[float, object]:
    began = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - began, result


def compare(script, task: str, model, data, path_of, batch_size: int) -> None:
    """One line for the ratio, one for the profile of our way, stage by stage in one thread."""
    from transformers import pipeline

    import images

    pipe = pipeline(task, model=model.net, image_processor=model.processor, device=model.net.device)
    files, protocol = [path_of(e) for e in data.examples], script.PROTOCOLS["standard"]
    pipe(files[0])
    n = len(files)
    ways = (
        (lambda: [pipe(f) for f in files]),
        (lambda: list(script.predict(model, data, protocol, batch_size))),
    )
    plain, ours = (
        min(times) for times in zip(*([clock(way)[0] for way in ways] for _ in range(3)), strict=True)
    )
    print(f"{task:<21} {1000 * plain / n:7.1f} {1000 * ours / n:7.1f} ms an image   ratio {plain / ours:.2f}")

    decode, seen = clock(lambda: [images.views(Path(file).read_bytes())[0] for file in files])
    prepare, made = clock(lambda: [(images.tensors(i, model, {}), (i.height, i.width)) for i in seen])
    forward, _ = clock(lambda: [images.run(model.net, [item]) for item in made])
    parts = {"decode": decode, "resize and normalise": prepare, "forward": forward}
    print("   one at a time: " + ", ".join(f"{name} {1000 * t / n:.1f} ms" for name, t in parts.items()))


def val2017_sized(n=5_000, annotations=36_369, found=492_611):
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
    near = rng.integers(annotations, size=found)
    shift = rng.normal(0, 0.1, (found, 4)) * np.tile(size[near], 2)
    boxes = truth["bbox"][near] + shift
    boxes[:, 2:] = boxes[:, 2:].clip(1)
    image = np.where(rng.random(found) < 0.2, truth["image_id"][near], rng.integers(1, n + 1, found))
    rows = np.c_[image, boxes, rng.random(found), truth["category_id"][near]]
    return range(1, n + 1), {i: str(i) for i in range(1, 81)}, truth, rows


def scoring(bootstrap: bool) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    import coco_scoring

    ids, categories, truth, rows = val2017_sized()

    def reference():
        columns = zip(*(values.tolist() for values in truth.values()), strict=True)
        marks = [dict(zip(truth, values, strict=True)) | {"id": i} for i, values in enumerate(columns, 1)]
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in ids],
            "annotations": marks,
            "categories": [{"id": c} for c in categories],
            "info": {},
        }
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
            scored = COCOeval(coco, coco.loadRes(rows), "bbox")
            scored.evaluate()
            scored.accumulate()
            scored.summarize()
        return scored.stats

    ours, stats = clock(coco_scoring.coco_stats, ids, categories, truth, rows)
    theirs, wanted = clock(reference)
    same = "the same to the last bit" if (stats == wanted).all() else "NOT THE SAME"
    times = f"pycocotools {theirs:.1f} s, hotcoco {ours:.2f} s   ratio {theirs / ours:.0f}"
    print(f"COCO scoring, 5,000 images: {times}")
    print(f"   twelve numbers {same}")
    if bootstrap:
        took, _ = clock(coco_scoring.resampled, ids, categories, truth, rows, 200)
        print(f"   image bootstrap, 200 resamples: {took:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40, help="images of each task (default: 40)")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for both ways (default: 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--dtype", default="float32", help="of the weights (default: float32)")
    parser.add_argument("--skip-bootstrap", action="store_true", help="(default: 200 resamples are drawn)")
    args = parser.parse_args()
    import torch
    import transformers

    import detection
    import image_classification as classification

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)
    print(f"{args.device}, {args.dtype}, {args.threads} threads of torch; {args.images} images")
    print(f"{'':<21} {'study':>7} {'ours':>7}")
    kind = args.device.split(":")[0]
    for script, name, data in (
        (classification, "mobilenet-v2", classification.load_data(SHARED / "imagenet" / "val", "validation")),
        (detection, "yolos-tiny-overfit", detection.load_data(SHARED / "coco", "validation")),
    ):
        model = script.load_model(SHARED / "models" / name, args.device, dtype)
        data = data.take(range(min(args.images, len(data.examples))))
        path_of = (lambda e: e) if script is classification else (lambda e: e[1])
        compare(script, script.TASK.name, model, data, path_of, script.TASK.batch_size[kind])
    scoring(not args.skip_bootstrap)
    return 0


if __name__ == "__main__":
    sys.exit(main())
