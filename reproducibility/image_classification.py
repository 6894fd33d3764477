"""Image classification on ImageNet-1k: top-1 and top-5 accuracy of a model, by synset, on the validation set.

Reads the model, the images and assets/data/imagenet_synsets.json; writes results/IMAGENET/ and predictions/.

    python reproducibility/image_classification.py google/vit-base-patch16-224 --data FOLDER
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import evidence, images, reference
from harness.imagenet import (
    ORDERS,
    list_images,
    map_labels,
    other_orders,
    read_parquet_image,
    read_parquet_labels,
    synsets,
)
from harness.preprocessing import other_preprocessing
from harness.runner import main
from harness.task import Data, Outputs, Task
from scored.benchmarks import benchmark_named
from scored.files import UserError
from scored.intervals import wilson

IMAGENET = benchmark_named("imagenet-1k")
SAVED_CLASSES = 10  # best classes saved per image: enough for top-5 under any mapping of the labels
DATA_HELP = (
    "a folder of images per class, named by WordNet id; or ILSVRC2012_val_*.JPEG in one folder "
    "(https://image-net.org, ILSVRC2012_img_val.tar) with the answers in it or above it, as val.txt (lines "
    "`name index`, index in the order of WordNet ids), LOC_val_solution.csv (Kaggle), or "
    "ILSVRC2012_validation_ground_truth.txt with map_clsloc.txt, both from a development kit; or the Parquet "
    f"files of {IMAGENET.hub_id}, which are downloaded without --data (6.7 GB, needs a token with access)"
)
NEEDED = f"--data must hold {DATA_HELP}"


@dataclass(frozen=True)
class Protocol:
    """Every choice between the weights and the accuracy."""

    exif: bool  # turn images by their EXIF tag, as pipelines do and ImageNet's reference loaders do not
    labels: str | tuple = "name"  # match classes by the label's name, in one of ORDERS, or as given
    preprocessing: dict = field(default_factory=dict)  # settings that replace the published ones
    split: str | None = None


PROTOCOLS = {"standard": Protocol(exif=False), "scored-2022": Protocol(exif=True)}


# ── Data ──────────────────────────────────────────────────────────────────────────────────────────────────


def load_data(path: Path | None, split: str) -> Data:
    """Load the validation set: examples are image files or (Parquet file, row), targets classes 0-999.

    Raises UserError that says how the data must be laid out.
    """
    if path is None:
        files, revision = _download()
        return _from_parquet(split, files, revision, IMAGENET.hub_id)
    if not path.is_dir():
        raise UserError(f"{path} is not a folder. {NEEDED}")
    parquet = sorted(path.glob("**/validation*.parquet"))
    if parquet:
        return _from_parquet(split, parquet, None, "local Parquet files")
    folder = path / "val" if (path / "val").is_dir() else path
    files, targets = list_images(folder, NEEDED)
    if not files:
        raise UserError(f"{folder} holds no images. {NEEDED}")
    revision, hashes = images.content_revision(files, targets)
    source = f"local folder, {len(files):,} images"
    names = list(map(str, files))
    return Data(split, revision, source, names, targets, IMAGENET.splits[split], hashes=hashes)


def _from_parquet(split: str, files: list[Path], revision: str | None, source: str) -> Data:
    examples, targets = read_parquet_labels(files, NEEDED)
    revision = revision or images.content_revision(files, targets)[0]
    source = f"{source}, {len(targets):,} images"
    return Data(split, revision, source, examples, targets, IMAGENET.splits[split])


def _download() -> tuple[list[Path], str]:
    """Download the validation split's Parquet files, once for all models; return them and their commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    hub_id = IMAGENET.hub_id
    try:
        folder = snapshot_download(hub_id, repo_type="dataset", allow_patterns=["data/validation*.parquet"])
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot download {hub_id} from the Hub: {reason}. {NEEDED}") from error
    return sorted(Path(folder).glob("data/validation*.parquet")), Path(folder).name


def read(example: str | tuple[str, int]) -> bytes:
    """Read the bytes of an image file, or of an image in a Parquet file."""
    return Path(example).read_bytes() if isinstance(example, str) else read_parquet_image(*example)


# ── Model ─────────────────────────────────────────────────────────────────────────────────────────────────


def load_model(folder: Path, device, dtype) -> images.Model:
    """Load the classifier with its own preprocessing, run by Pillow. Raises CannotMeasure."""
    from transformers import AutoModelForImageClassification

    return images.load(AutoModelForImageClassification, folder, device, dtype)


def predict(model: images.Model, data: Data, protocol: Protocol, batch_size: int) -> Iterator:
    """Yield the SAVED_CLASSES highest logits of each image and their outputs, also for the turned view."""
    import numpy as np

    def forward(batch: Sequence) -> list[dict]:
        logits = images.run(model.net, batch).logits.float().cpu().numpy()
        best = np.argsort(-logits, axis=1, kind="stable")[:, :SAVED_CLASSES]
        outputs = []
        for row, classes in zip(logits, best, strict=True):
            outputs.append({"classes": classes.astype("int32"), "logits": row[classes]})
        return outputs

    labels = images.describe(model)["labels"]
    images.check_labels(lambda how: map_labels(labels, how))
    yield from images.batches(
        lambda index: read(data.examples[index]),
        range(len(data.examples)),
        lambda image: images.tensors(image, model, protocol.preprocessing),
        forward,
        model.net.device,
        batch_size,
        {"classes": "int32", "logits": "float32"},
    )


# ── Metric ────────────────────────────────────────────────────────────────────────────────────────────────


def ranked_outputs(table, protocol: Protocol):
    """Return the outputs of each image's highest logits, best first: array (n, SAVED_CLASSES)."""
    outputs, lengths = images.column_for_view(table, "classes", protocol.exif)
    return outputs.reshape(-1, lengths[0])


def right_answers(table, data: Data, protocol: Protocol, model_facts: dict) -> dict:
    """Return which images (n booleans) are right, by metric: by the best output or one of the best five."""
    import numpy as np

    order, _ = map_labels(model_facts["labels"], protocol.labels)
    hits = np.array(order)[ranked_outputs(table, protocol)] == np.array(data.targets)[:, None]
    return {"accuracy": hits[:, 0], "accuracy-top5": hits[:, :5].any(1)}


def score(table, data: Data, protocol: Protocol, model_facts: dict) -> dict:
    """Compute top-1 and top-5 accuracy of saved predictions, with 95% Wilson intervals."""
    n, counts = len(table), {}
    for name, is_right in right_answers(table, data, protocol, model_facts).items():
        counts[name] = int(is_right.sum())
    return {
        "metrics": {name: count / n for name, count in counts.items()},
        "intervals": {name: wilson(count, n) for name, count in counts.items()},
        "interval_method": dict.fromkeys(counts, "Wilson"),
        "labels": map_labels(model_facts["labels"], protocol.labels)[1],
        "turned_by_exif": images.count_rotated(table, "classes"),
    }


def reference_scores(table, data: Data, protocol: Protocol, model_facts: dict) -> dict[str, float]:
    """Compute the same metrics with scikit-learn."""
    import numpy as np

    order, _ = map_labels(model_facts["labels"], protocol.labels)
    return reference.top_k_accuracies(data.targets, np.array(order)[ranked_outputs(table, protocol)])


# ── Explanation ───────────────────────────────────────────────────────────────────────────────────────────


def predicted_and_true(table, data: Data, protocol: Protocol, model_facts: dict) -> tuple:
    """Return each image's best output (n), its class (n), and the class that each output declares."""
    import numpy as np

    order, _ = map_labels(model_facts["labels"], protocol.labels)
    return ranked_outputs(table, protocol)[:, 0], np.array(data.targets), order


def p_value(before: Outputs, after: Outputs, metric: str) -> float:
    """Compute the p-value of "the accuracy is the same under both protocols", from the same images."""
    answers = []
    for outputs in (before, after):
        inputs = (outputs.table, outputs.data, outputs.protocol, outputs.model_facts)
        answers.append(right_answers(*inputs)[metric])
    return evidence.p_value_of_proportions(*answers)


def class_names(data: Data) -> dict[int, str]:
    """Return the names of each class."""
    return dict(enumerate(synsets().values()))


def repairs(model_facts: dict) -> dict[str, list]:
    """Return what to try, choice by choice, if the reference protocol does not meet the claim.

    Usual orders of the labels; the usual preprocessing, as far as it differs from the published one.
    """
    return {"labels": other_orders(model_facts["labels"]), **other_preprocessing(model_facts)}


TASK = Task(
    name=IMAGENET.task,
    dataset=IMAGENET.name,
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
    metrics=("accuracy", "accuracy-top5"),
    reference_scores=reference_scores,
    architecture="ForImageClassification",
    choice_names={"labels": "label mapping", "exif": "EXIF orientation"},
    choice_values={"labels": ("name", *ORDERS)},
    predicted_and_true=predicted_and_true,
    class_names=class_names,
    p_value=p_value,
    repairs=repairs,
)

if __name__ == "__main__":
    main(TASK)
