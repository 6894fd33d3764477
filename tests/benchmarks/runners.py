"""How much faster is a task script's forward pass than the study's way? Same machine, same run, same texts.

The study's way is the plain transformers pipeline, one example at a time. Both load the model beforehand and
include everything from the text to the predicted label. Prints one line a task; the predictions must agree.

    python tests/benchmarks/runners.py [--limit N] [--device cpu] [--shared ../shared]
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "reproducibility")]


def seconds(work) -> tuple[float, object]:
    """Wall-clock seconds of a call, and its result."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def compare(task: str, n: int, plain, ours, repeats: int) -> None:
    """Runs both in turns; prints the best rate of each (examples a second), and their ratio."""
    times = {"plain": [], "ours": []}
    for _ in range(repeats):
        for name, work in (("plain", plain), ("ours", ours)):
            taken, labels = seconds(work)
            times[name].append(taken)
            if name == "plain":
                expected = labels
        assert labels == expected, "the predictions differ"
    plain_rate, our_rate = (n / min(times[name]) for name in ("plain", "ours"))
    print(f"{task:24} {n:6} {plain_rate:12.1f} {our_rate:12.1f} {our_rate / plain_rate:7.1f}")


def sentiment(shared: Path, device, limit: int | None, repeats: int) -> None:
    import numpy as np
    import torch
    from transformers import pipeline

    import sentiment_analysis
    from harness import subset

    folder = shared / "models" / "emotion-tiny"
    data = subset(sentiment_analysis.load_data(shared / "emotion", "test"), limit)
    pipe = pipeline("text-classification", str(folder), device=device)
    model = sentiment_analysis.load_model(folder, device, torch.float32)
    protocol = sentiment_analysis.PROTOCOLS["scored-2022"]
    size = sentiment_analysis.TASK.batch_size[device.type]

    def ours() -> list[str]:
        said = [""] * len(data.examples)
        for batch in sentiment_analysis.predict(model, data, protocol, size):
            for place, best in zip(batch.places, np.argmax(batch.columns["logits"], 1), strict=True):
                said[place] = model.labels[best]
        return said

    compare(
        "sentiment-analysis",
        len(data.examples),
        lambda: [pipe(text)[0]["label"] for text in data.examples],
        ours,
        repeats,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, help="examples (default: the whole split)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each; the best counts (default: 3)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="(default: ../shared)")
    args = parser.parse_args()
    from checkpoint import best_device

    device = best_device(args.device)
    print(
        f"on {device}; examples a second\n{'task':24} {'n':>6} {'one by one':>12} {'ours':>12} {'ratio':>7}"
    )
    sentiment(args.shared, device, args.limit, args.repeats)


if __name__ == "__main__":
    main()
