"""The search for causes, rule by rule: values and p-values are given, nothing is measured."""

from types import SimpleNamespace

import pytest

from harness.search import ALPHA, MIN_GAIN, Search

AS_PUBLISHED = {"split": "validation", "a": 0, "b": 0}


class GivenMeasurements:
    """Stands in for measurements: the value and the p-value of each state of the choices `a` and `b`."""

    def __init__(self, values: dict, p_values: dict | None = None, evaluated: int = 100):
        self.values, self.p_values, self.evaluated = values, p_values or {}, evaluated
        self.run = SimpleNamespace(task=SimpleNamespace(splits=("validation", "test"), p_value=self.p_value))

    def value(self, choices: dict, metric: str) -> float:
        return self.values[choices["split"], choices["a"], choices["b"]]

    def measurable(self, all_choices: list[dict]) -> list[dict]:
        return list(all_choices)

    def outputs(self, choices: dict) -> tuple:
        return choices["a"], choices["b"]

    def p_value(self, before: tuple, after: tuple, metric: str) -> float:
        return self.p_values.get((before, after), 1.0)

    def rows_for(self, choices: dict) -> list[dict]:
        examples = {"expected": 100, "evaluated": self.evaluated}
        row = {"metrics": {"accuracy": self.value(choices, "accuracy")}, "examples": examples}
        return [row | {"split": choices["split"]}]


def search_for(claimed: float, values: dict, p_values: dict | None = None, evaluated: int = 100) -> Search:
    values = {("validation", *key) if len(key) == 2 else key: value for key, value in values.items()}
    return Search(GivenMeasurements(values, p_values, evaluated), "accuracy", claimed)


# ── Repairs ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("p_value", "counts"), [(ALPHA / 2 - 1e-6, True), (ALPHA / 2 + 1e-6, False)])
def test_repair_counts_by_its_p_value_over_the_repairs_tried(p_value, counts):
    """Two are tried, so each has half of ALPHA."""
    values = {(0, 0): 0.8, (1, 0): 0.9, (0, 1): 0.7}
    search = search_for(0.9, values, {((0, 0), (1, 0)): p_value})
    repaired = search.repair(AS_PUBLISHED, {"a": [1], "b": [1]})
    assert repaired == ({**AS_PUBLISHED, "a": 1} if counts else AS_PUBLISHED)
    assert list(search.counted) == (["a"] if counts else [])
    assert list(search.possible) == ([] if counts else ["a"])


def test_gain_below_half_a_point_repairs_nothing():
    certain = {((0, 0), (1, 0)): 1e-9}
    for gain, counts in [(MIN_GAIN - 0.1, False), (MIN_GAIN + 0.1, True)]:
        search = search_for(0.9, {(0, 0): 0.8, (1, 0): 0.8 + gain / 100}, certain)
        search.repair(AS_PUBLISHED, {"a": [1]})
        assert bool(search.counted) == counts and not search.possible


def test_repair_that_overshoots_farther_than_it_was_off_is_not_taken():
    search = search_for(0.85, {(0, 0): 0.8, (1, 0): 0.91}, {((0, 0), (1, 0)): 1e-9})
    assert search.repair(AS_PUBLISHED, {"a": [1]}) == AS_PUBLISHED
    assert not search.counted and not search.possible


def test_value_above_its_claim_is_not_repaired():
    search = search_for(0.8, {(0, 0): 0.9, (1, 0): 0.8}, {((0, 0), (1, 0)): 1e-9})
    assert search.repair(AS_PUBLISHED, {"a": [1]}) == AS_PUBLISHED
    assert not search.counted and not search.looked_at


def test_of_two_repairs_that_count_the_one_nearer_to_the_claim_is_taken():
    certain = {((0, 0), (1, 0)): 1e-9, ((0, 0), (0, 1)): 1e-9}
    search = search_for(0.9, {(0, 0): 0.7, (1, 0): 0.8, (0, 1): 0.9}, certain)
    assert search.repair(AS_PUBLISHED, {"a": [1], "b": [1]}) == {**AS_PUBLISHED, "b": 1}
    assert list(search.counted) == ["b"]


# ── What the reference does otherwise ─────────────────────────────────────────────────────────────────────


def test_reference_is_taken_over_as_one_known_change():
    search = search_for(0.9, {(0, 0): 0.8, (1, 0): 0.9}, {((0, 0), (1, 0)): ALPHA})
    assert search.take_over(AS_PUBLISHED, {**AS_PUBLISHED, "a": 1}) == {**AS_PUBLISHED, "a": 1}
    assert list(search.counted) == ["a"]


def test_reference_that_the_examples_do_not_support_is_only_possible():
    search = search_for(0.9, {(0, 0): 0.8, (1, 0): 0.9}, {((0, 0), (1, 0)): ALPHA + 1e-6})
    assert search.take_over(AS_PUBLISHED, {**AS_PUBLISHED, "a": 1}) == AS_PUBLISHED
    assert not search.counted and list(search.possible) == ["a"]


def test_reference_of_two_changes_that_overshoot_together_is_not_taken_over():
    """Each brings the value nearer to the claim, both together farther from it."""
    values = {(0, 0): 0.8, (1, 0): 0.9, (0, 1): 0.9, (1, 1): 0.99}
    search = search_for(0.88, values, {((0, 0), (1, 1)): 1e-9})
    assert search.take_over(AS_PUBLISHED, {**AS_PUBLISHED, "a": 1, "b": 1}) == AS_PUBLISHED
    assert not search.counted


def test_reference_is_not_considered_where_the_value_reaches_the_claim():
    search = search_for(0.8, {(0, 0): 0.85, (1, 0): 0.8}, {((0, 0), (1, 0)): 1e-9})
    assert search.take_over(AS_PUBLISHED, {**AS_PUBLISHED, "a": 1}) == AS_PUBLISHED
    assert not search.looked_at and not search.possible


# ── The split ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("evaluated", "counts"), [(100, True), (99, False)])
def test_part_of_a_split_equals_no_claim(evaluated, counts):
    values = {(0, 0): 0.8, ("test", 0, 0): 0.9004}
    search = search_for(0.9004, values, evaluated=evaluated)
    claim = {"value": 0.9004, "fraction": 0.9004, "unit": "fraction", "metric": "accuracy"}
    search.other_split(AS_PUBLISHED, claim)
    assert bool(search.counted or search.possible) == counts


# ── Two faults together ───────────────────────────────────────────────────────────────────────────────────


def test_pairs_of_repairs_are_tried_only_below_half_of_the_claim():
    search = search_for(0.9, {(0, 0): 0.46, (1, 0): 0.9})
    assert search._counting_pairs(AS_PUBLISHED, {"labels": [(1, 0)], "a": [1]}) == []
    assert not search.tried
