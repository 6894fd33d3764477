"""Families: models per base, depth of chains, and licenses and claims of model and base."""

from collections import Counter
from random import Random

from hub_records import claiming, count_trends, record
from scored.families import DEEPEST, count_depths


def derived(name, *bases, license=None):
    """Make a record of a model with these bases and this license."""
    tags = [f"base_model:{base}" for base in bases]
    return record(name, tags=tags + ([f"license:{license}"] if license else []))


def count_families(records):
    return count_trends(records)["trends"]["families"]


def test_models_per_base_and_depth_of_the_chain():
    records = [
        derived("a/root"),
        derived("b/1", "a/root"),
        derived("b/2", "a/root"),
        derived("c/1", "b/1"),
        derived("d/1", "c/1", "a/root"),  # the depth is that along the first base
        derived("e/1", "x/not-in-the-file"),
    ]
    for order in (records, records[::-1]):
        counts = count_families(order)
        assert (counts["known"], counts["models"], counts["bases"]) == (6, 5, 4)
        assert counts["models_by_depth"] == {"1": 3, "2": 1, "3": 1, "circular": 0}
        assert {name: n for name, n in counts["bases_by_models"].items() if n} == {"1": 3, "3–5": 1}


def test_chains_without_an_end_are_counted_apart():
    assert count_depths({1: 2, 2: 1, 3: 3, 4: 1, 5: 6}) == {"1": 1, "circular": 4}
    chain = {number: number + 1 for number in range(DEEPEST + 5)}
    counts = count_depths(chain)
    assert counts.pop("circular") == 5 and counts == {str(depth + 1): 1 for depth in range(DEEPEST)}


def test_licenses_that_change_between_model_and_base():
    records = [
        derived("a/mit", license="mit"),
        derived("a/none"),
        derived("b/same", "a/mit", license="mit"),
        derived("b/other", "a/mit", license="apache-2.0"),
        derived("b/dropped", "a/mit"),
        derived("b/first", "a/none", license="mit"),
        derived("b/never", "a/none"),
        derived("b/unknown", "x/not-in-the-file", license="mit"),
    ]
    counts = count_families(records)["licenses"]
    assert counts["known"] == 5
    assert list(counts["kinds"].values()) == [1] * 5
    assert counts["changes"] == {"mit → apache-2.0": 1, "mit → none": 1, "none → mit": 1}


def test_a_base_whose_card_is_unknown_states_nothing():
    records = [claiming("b/copy", 0.9271, base="a/base"), claiming("b/other", 0.9312, base="a/seen")]
    records += [{"id": "a/base", "taken": {"hub": "2022-10-01"}}, record("a/seen")]
    counts = count_families(records)
    assert counts["claims"] == {"known": 1, "same_as_base_model": 0, "fraction": 0}
    assert counts["licenses"]["known"] == 1


def test_depths_equal_walks_up_the_chain():
    random = Random(0)
    base_of = {f"m/{i}": f"m/{random.randrange(120)}" for i in range(100)}
    walked = Counter()
    for model in base_of:
        steps, place = 0, model
        while place in base_of and steps <= 100:
            steps, place = steps + 1, base_of[place]
        walked["circular" if steps > 100 else str(steps)] += 1
    counts = count_families([derived(model, base) for model, base in base_of.items()])
    assert counts["models_by_depth"] == walked and walked["circular"] and walked["3"]
    siblings = Counter(Counter(base_of.values()).values())
    assert counts["bases_by_models"]["1"] == siblings[1] and counts["bases_by_models"]["2"] == siblings[2]
