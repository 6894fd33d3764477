"""Entries for the Hub's `.eval_results`."""

from scored.benchmarks import benchmark_named
from scored.publishing import eval_results


def measured(dataset: str, split: str, accuracy: float) -> dict:
    return {
        "dataset": dataset,
        "split": split,
        "metrics": {"accuracy": accuracy},
        "intervals": {},
        "examples": {"evaluated": 10, "expected": 10},
        "revision": "a" * 40,
        "dataset_revision": "b" * 40,
        "measured_at": "2026-01-02T03:04:05+00:00",
        "code": {"hash": "c" * 64},
    }


def test_value_is_that_of_the_data_set_and_of_its_default_split():
    """Two data sets have the same headline metric."""
    rows = [
        measured("imagenet-1k", "validation", 0.1),
        measured("emotion", "train", 0.2),
        measured("emotion", "test", 0.3),
    ]
    (entry,) = eval_results(rows, benchmark_named("emotion"), ["default"], "https://example.org")
    assert (entry["value"], entry["dataset"]["id"]) == (0.3, "dair-ai/emotion")
    assert eval_results(rows[1:], benchmark_named("imagenet-1k"), ["default"], "https://example.org") == []
