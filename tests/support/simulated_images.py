"""Explanations of simulated image classifiers: their answers are drawn, and no process starts."""

import zlib
from types import SimpleNamespace

import numpy as np

import image_classification
from harness.choices import as_choices, as_protocol
from harness.imagenet import map_labels, synsets
from harness.measurements import Measurements
from harness.preprocessing import INCEPTION, pixel_map
from harness.task import Data, Outputs, Run

TASK = image_classification.TASK
HEAD = ("background", *synsets().values())
PUBLISHED = {
    **{"do_resize": True, "size": {"shortest_edge": 256}, "resample": 2},
    **{"do_center_crop": True, "crop_size": {"height": 224, "width": 224}},
    **{"do_rescale": True, "rescale_factor": 1 / 255},
    **INCEPTION,
}
ONE_OF_EVERY_FIFTH_CLASS = tuple(range(0, 1000, 5))  # as in ../shared
TWENTY_OF_EACH_CLASS = tuple(index // 20 for index in range(20_000))  # enough to fit an order of labels


class Network:
    """A network that was trained with PUBLISHED on RGB, and whose outputs stand for the classes in `truth`.

    Its share of right answers falls with what is wrong about the preprocessing, and which images are wrong
    depends on the settings and the seed.
    """

    def __init__(
        self, seed: int, targets=ONE_OF_EVERY_FIFTH_CLASS, truth=None, quality=0.9, expects_bgr=False
    ):
        self.seed, self.targets, self.quality = seed, np.array(targets), quality
        self.expects_bgr, self.truth = expects_bgr, truth or map_labels(HEAD)[0]
        self.output_of = np.zeros(1000, int)
        for output, index in enumerate(self.truth):
            if index >= 0:
                self.output_of[index] = output

    def share_right(self, settings: dict) -> float:
        """Return the expected accuracy with these settings."""
        distance = np.abs(np.array(pixel_map(settings)) - np.array(pixel_map(PUBLISHED))).max()
        share = self.quality
        if distance > 0.02:  # another range of pixels
            share *= 0.85 if distance < 1.5 else 0.01
        if settings.get("reverse_channels", False) != self.expects_bgr:
            share *= 0.8
        if settings["size"] != PUBLISHED["size"]:
            share *= 0.98
        return share if settings["resample"] == PUBLISHED["resample"] else share * 0.99

    def answers(self, settings: dict):
        """Return the output that wins each image (n)."""
        rng = np.random.default_rng(self.seed)
        difficulty = rng.random(len(self.targets))
        wrong = rng.integers(0, len(self.truth), len(self.targets))
        own = np.random.default_rng([self.seed, zlib.crc32(repr(sorted(settings.items())).encode())])
        difficulty += own.normal(0, 0.03, len(difficulty))
        return np.where(difficulty < self.share_right(settings), self.output_of[self.targets], wrong)


class SimulatedMeasurements(Measurements):
    """Measurements of a network with the labels and settings that it publishes.

    `head` changes the answers (n), with the network's seed: a head that collapsed.
    """

    def __init__(self, network: Network, labels=HEAD, published=PUBLISHED, head=None):
        targets = network.targets.tolist()
        self.data = Data("validation", "", "", range(len(targets)), targets, len(targets))
        args = SimpleNamespace(dtype="float32", seen="standard", faithful="standard")
        super().__init__(
            Run(TASK, args, {}, lambda split: self.data), SimpleNamespace(name="m", revision="r")
        )
        self.network, self.head, self.tables = network, head, {}
        self.facts = {"labels": list(labels), "preprocessing": published, "image_size": 224}

    def _measure(self, wanted) -> None:
        for choices in wanted:
            outputs = self.outputs(choices)
            scores = TASK.score(outputs.table, outputs.data, outputs.protocol, outputs.model_facts)
            n = len(self.data.examples)
            self.rows[self.key(choices)] = {
                "model": "m",
                "protocol": "standard",
                "split": "validation",
                "examples": {"evaluated": n, "expected": n},
                "settings": {"limit": None, "device": "cpu"},
                **dict.fromkeys(("revision", "dataset_revision", "measured_at", "code", "predictions")),
                **scores,
            }

    def outputs(self, choices: dict) -> Outputs:
        protocol = as_protocol(TASK, choices)
        key = repr(protocol.preprocessing)
        if key not in self.tables:
            self.tables[key] = self._table(self.facts["preprocessing"] | protocol.preprocessing)
        return Outputs(self.tables[key], self.data, protocol, self.facts)

    def _table(self, settings: dict):
        import pyarrow as pa

        best = self.network.answers(settings)
        if self.head:
            best = self.head(best, np.random.default_rng(self.network.seed))
        kind = pa.list_(pa.int32())
        nothing = pa.array([None] * len(best), kind)
        return pa.table({"classes": pa.array(best[:, None].tolist(), kind), "turned_classes": nothing})


def explain_simulated(measurements: SimulatedMeasurements, fraction: float) -> dict:
    """Judge a claim of this accuracy by the value measured under `standard`, and explain it."""
    import explain
    from scored.verdicts import judge_claim

    claim = {"dataset": TASK.dataset, "config": None, "split": None, "metric": "accuracy", "value": fraction}
    claim |= {"fraction": fraction, "unit": "fraction", "bound": None, "source": "model-index"}
    standard = as_choices(TASK.protocols["standard"], "float32") | {"split": "validation"}
    rows = {"validation": measurements.rows_for(standard)[0]}
    return explain.explain_claim(measurements, claim, judge_claim(claim, rows, TASK.benchmark, ()))


def sound_accuracy(network: Network) -> float:
    """The accuracy of a network as it was trained."""
    settings = PUBLISHED | ({"reverse_channels": True} if network.expects_bgr else {})
    return float((network.answers(settings) == network.output_of[network.targets]).mean())


def explained(network: Network, claim: float | None = None, **published) -> dict:
    """Explain a true claim that a fault in what is published keeps from being met."""
    claim = sound_accuracy(network) if claim is None else claim
    return explain_simulated(SimulatedMeasurements(network, **published), claim)


def names_and_values(explanation: dict) -> dict:
    """The causes named, with the value that repairs each."""
    return {cause["factor"]: cause["faithful"] for cause in explanation["causes"]}


# ── Broken heads: answers and random numbers -> answers ────────────────────────────────────────────────────


def collapsed(best, rng):
    return np.full_like(best, 301)


def leaning(best, rng):
    return np.where(rng.random(len(best)) < 0.6, 301, best)


def leaning_to_a_few(best, rng):
    return np.where(rng.random(len(best)) < 0.7, rng.choice([301, 302, 77], len(best)), best)


def untrained(best, rng):
    return rng.integers(0, len(HEAD), len(best))


def dead_outputs(best, rng):
    """Half of the outputs never win; their neighbors do."""
    return best - best % 2
