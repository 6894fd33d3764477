"""Result rows and claims, built with what a test is about and defaults for the rest."""

from scored.matching import KnownClaims

DETECTION = {"task": "object-detection", "dataset": "coco", "split": "validation"}
EMOTION = {
    "task": "sentiment-analysis",
    "dataset": "emotion",
    "examples": {"expected": 2000, "evaluated": 2000},
}

# A data set that the project does not have, as an entry of benchmarks.toml.
FOURTH = """
[sst2]
task = "sentiment-analysis"
hub_id = "stanfordnlp/sst2"
folder = "SST2"
headline = "accuracy"
splits = { train = 67349, validation = 872, test = 1821 }
public = ["train", "validation"]
default = "validation"
"""


def make_row(model: str, metrics: dict, **fields) -> dict:
    """A measurement on COCO's validation split, with these fields changed."""
    row = {"model": model, "revision": None, "source": "new", "protocol": "standard", "metrics": metrics}
    return {**DETECTION, **row, "examples": {"expected": 5000, "evaluated": 5000}, **fields}


def make_claim(
    fraction: float | None, metric: str | None = "AP", dataset: str = "coco", split: str | None = None
) -> dict:
    """A claim of a fraction; None makes a number that may be a fraction or a percentage."""
    return {
        "metric": metric,
        "dataset": dataset,
        "split": split,
        "config": None,
        "fraction": fraction,
        "value": fraction if fraction is not None else 1,
        "number": fraction if fraction is not None else 1,
        "unit": "fraction" if fraction is not None else "ambiguous",
    }


def known_claims(claims: dict[str, list[dict]]) -> KnownClaims:
    """Claims that hold for any revision of their models."""
    return KnownClaims({}, claims)
