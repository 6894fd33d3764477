"""The detector of ../shared with faults in its heads or labels, from its features; no process starts."""

import copy
import functools
from dataclasses import dataclass, field
from types import SimpleNamespace

import detection
from harness import images
from harness.checkpoint import CannotMeasure
from harness.choices import PREPROCESSING, as_protocol
from harness.measurements import Measurements
from harness.task import Outputs, Run
from project import SHARED

TASK = detection.TASK


@dataclass(frozen=True)
class Detector:
    """The two heads of a detector, and what they read for each image of the data."""

    features: object  # tensor (images, queries, channels)
    class_head: object
    box_head: object
    sizes: list  # height and width of each image, and of the network's input
    processor: object
    data: object
    facts: dict = field(repr=False)

    def altered(self, alter) -> "Detector":
        """Copy the heads, and let `alter(class_head, box_head)` change the last layer of each."""
        import torch

        heads = copy.deepcopy((self.class_head, self.box_head))
        with torch.no_grad():
            alter(*(head.layers[-1] for head in heads))
        return Detector(self.features, *heads, self.sizes, self.processor, self.data, self.facts)

    def relabeled(self, labels) -> "Detector":
        """Give the outputs other names."""
        facts = self.facts | {"labels": list(labels)}
        return Detector(
            self.features, self.class_head, self.box_head, self.sizes, self.processor, self.data, facts
        )

    def table(self):
        """Return the predictions as detection.predict saves them."""
        import pyarrow as pa
        import torch

        with torch.inference_mode():
            boxes = self.box_head(self.features).sigmoid()
            outputs = SimpleNamespace(logits=self.class_head(self.features), pred_boxes=boxes)
        shapes = torch.tensor([size[:2] for size in self.sizes])
        detected = self.processor.post_process_object_detection(outputs, threshold=-1, target_sizes=shapes)
        columns = {"sizes": pa.array(self.sizes, pa.list_(pa.int32()))}
        for name, kind in (("labels", pa.int32()), ("scores", pa.float32()), ("boxes", pa.float32())):
            columns[name] = pa.array([image[name].flatten().tolist() for image in detected], pa.list_(kind))
        turned = {f"turned_{name}": pa.nulls(len(detected), column.type) for name, column in columns.items()}
        return pa.table(columns | turned)


@functools.cache
def yolos_heads() -> Detector:
    """Load the detector, and compute the features that its heads see."""
    import torch

    model = detection.load_model(SHARED / "models" / "yolos-tiny-overfit", "cpu", torch.float32)
    data = detection.load_data(SHARED / "coco", "validation")
    features, sizes = [], []
    for _, path, height, width in data.examples:
        with open(path, "rb") as file:
            image = images.decode_views(file.read())[0]
        inputs = images.tensors(image, model, {})
        outputs = images.run(model.net, [(inputs, None)])
        features.append(outputs.last_hidden_state[:, -model.net.config.num_detection_tokens :])
        sizes.append([height, width, *inputs["pixel_values"].shape[-2:]])
    heads = model.net.class_labels_classifier, model.net.bbox_predictor
    return Detector(torch.cat(features), *heads, sizes, model.processor, data, detection.describe(model))


class SavedDetections(Measurements):
    """Measurements of a detector from its features; other preprocessing cannot be measured."""

    def __init__(self, detector: Detector):
        args = SimpleNamespace(dtype="float32", seen="standard", faithful="standard")
        run = Run(TASK, args, {}, lambda split: detector.data)
        super().__init__(run, SimpleNamespace(name="m", revision="r"))
        self.detector, self.table = detector, detector.table()

    def _measure(self, wanted) -> None:
        for choices in wanted:
            key = self.key(choices)
            if key not in self.rows:
                self.rows[key] = self._row(choices)

    def _row(self, choices: dict) -> dict:
        if any(choices[name] for name in PREPROCESSING):
            return {"error": "only saved outputs"}
        outputs = self.outputs(choices)
        try:
            scores = TASK.score(outputs.table, outputs.data, outputs.protocol, outputs.model_facts)
        except CannotMeasure as error:
            return {"error": str(error)}
        n = len(outputs.data.examples)
        return {
            "model": "m",
            "protocol": "standard",
            "split": choices["split"],
            "examples": {"evaluated": n, "expected": n},
            "settings": {"limit": None, "device": "cpu"},
            **dict.fromkeys(("revision", "dataset_revision", "measured_at", "code", "predictions")),
            **scores,
        }

    def outputs(self, choices: dict) -> Outputs:
        return Outputs(self.table, self.detector.data, as_protocol(TASK, choices), self.detector.facts)


def ap_claim(value: float, metric: str = "AP") -> dict:
    """A claim of this value, as a card's metadata state it."""
    fields = {"dataset": "coco", "config": None, "split": "validation", "metric": metric, "value": value}
    return {**fields, "fraction": value, "unit": "fraction", "bound": None, "source": "model-index"}


def explain_detector(detector: Detector, claim: dict, seen: str = "standard") -> dict:
    """Judge a claim by the value measured as `seen`, and explain it."""
    import explain
    from harness.choices import parse_choices
    from scored.verdicts import judge_claim

    measurements = SavedDetections(detector)
    observed, reference = (
        parse_choices(text, TASK, "float32", claim["split"]) for text in (seen, "standard")
    )
    (row,) = measurements.rows_for(observed)
    comparison = judge_claim(claim, {claim["split"]: row | {"protocol": seen}}, TASK.benchmark, ())
    return explain.explain_claim(measurements, claim, comparison, observed, reference)


def sound_ap() -> float:
    """Return the AP that the detector reaches under `standard`."""
    detector = yolos_heads()
    inputs = (detector.table(), detector.data, TASK.protocols["standard"], detector.facts)
    return TASK.score(*inputs)["metrics"]["AP"]


def factors(explanation: dict) -> list[str]:
    """Return the factors of the causes."""
    return [cause["factor"] for cause in explanation["causes"]]


# ── Faults of the heads ───────────────────────────────────────────────────────────────────────────────────
# Each is a function (class layer, box layer) for `Detector.altered`.


def generator(seed: int):
    import torch

    return torch.Generator().manual_seed(seed)


def collapse(seed):
    def alter(classes, boxes):
        import torch

        classes.weight.zero_()
        classes.bias.copy_(torch.randn(classes.bias.shape, generator=generator(seed)))

    return alter


def lean(seed, strength):
    output = (1, 3, 44)[seed % 3]

    def alter(classes, boxes):
        classes.bias[output] += strength

    return alter


def leave_untrained(seed, scale=0.5):
    def alter(classes, boxes):
        import torch

        classes.weight.copy_(scale * torch.randn(classes.weight.shape, generator=generator(seed)))
        classes.bias.zero_()

    return alter


def add_noise(seed, scale, to_boxes):
    def alter(classes, boxes):
        import torch

        layer = boxes if to_boxes else classes
        noise = torch.randn(layer.weight.shape, generator=generator(seed))
        layer.weight += scale * layer.weight.std() * noise

    return alter


def shift_boxes(seed):
    def alter(classes, boxes):
        boxes.bias[seed % 2] += (0.1, 0.2, -0.4)[seed % 3]

    return alter


def mirror_boxes(seed):
    def alter(classes, boxes):
        side = seed % 2
        boxes.weight[side] *= -1
        boxes.bias[side] *= -1

    return alter


def shrink_boxes(seed):
    def alter(classes, boxes):
        boxes.bias[2:] -= 0.3 + 0.3 * seed

    return alter


WEIGHT_FAULTS = {  # name -> function of a seed; none of them is a factor
    "collapsed": collapse,
    "leaning": lambda seed: lean(seed, 14),
    "leaning wholly": lambda seed: lean(seed, 40),
    "untrained": leave_untrained,
    "little noise on classes": lambda seed: add_noise(seed, 0.5, to_boxes=False),
    "noise on classes": lambda seed: add_noise(seed, 2, to_boxes=False),
    "noise on boxes": lambda seed: add_noise(seed, 0.3, to_boxes=True),
    "shifted boxes": shift_boxes,
    "mirrored boxes": mirror_boxes,
    "small boxes": shrink_boxes,
}


def permute_boxes(order):
    def alter(classes, boxes):
        boxes.weight.copy_(boxes.weight[list(order)])
        boxes.bias.copy_(boxes.bias[list(order)])

    return alter


def roll_classes(by):
    """Move the classes to the neighboring outputs; "no object" stays last."""

    def alter(classes, boxes):
        import torch

        order = torch.cat([torch.roll(torch.arange(91), by), torch.tensor([91])])
        classes.weight.copy_(classes.weight[order])
        classes.bias.copy_(classes.bias[order])

    return alter
