"""The search for causes: which repairs bring a measured value to the claim that it misses.

A repair changes one choice. It counts only if it makes the model better and the examples that it changes say
so (`Task.p_value`, Bonferroni over the repairs tried for the claim). An order of the labels must be supported
by the answers, too. Used by explain.py.
"""

import json
from dataclasses import dataclass, field

from harness import label_orders
from harness.choices import PREPROCESSING
from harness.measurements import Measurements
from scored.claim_numbers import is_equal
from scored.files import UserError
from scored.result_rows import is_whole
from scored.split_identification import MAX_CHANCE, chance_of_claim
from scored.verdict_rules import named_split

ALPHA = 0.05  # of all repairs tried for a claim together
MIN_GAIN = 0.5  # points: a smaller gap is not repaired, and a smaller gain repairs nothing
MAX_REMAINDER = 1.0  # points below the claim: a fitted order that leaves more may be that of a random head
MAX_SHARE_LEFT = 0.25  # of the gap: other preprocessing that leaves more may only suit damaged weights
LABELS = "labels"  # the choice whose values are orders of labels
SPLIT, TRAIN = "split", "train"


@dataclass(frozen=True)
class Repair:
    """A choice that was changed, and what came of it."""

    choice: str
    choices: dict  # with the change
    gap: float  # measured minus claimed, in points
    p_value: float | None  # of "the change makes no difference"; None for another split


@dataclass
class Search:
    """What was tried for one claim."""

    measurements: Measurements
    metric: str
    claimed: float  # as a fraction
    fits_labels: bool = True  # whether an order fitted to the answers may be a cause
    guesses_inputs: bool = True  # whether other preprocessing may be a cause
    looked_at: list[str] = field(default_factory=list)  # choices
    tried: set[str] = field(default_factory=set)  # repairs, for Bonferroni
    counted: dict[str, Repair] = field(default_factory=dict)  # choice -> its repair that counts
    possible: dict[str, Repair] = field(default_factory=dict)  # choice -> one that helps and is not shown to

    def gap(self, choices: dict) -> float:
        """Return measured minus claimed, in points."""
        return 100 * (self.measurements.value(choices, self.metric) - self.claimed)

    def look_at(self, *choices: str) -> None:
        """Note that these choices were considered."""
        self.looked_at += [choice for choice in choices if choice not in self.looked_at]

    def take_over(self, choices: dict, reference: dict) -> dict:
        """Change what the reference does otherwise, if that makes the model better.

        It is one known change, not one of many tries: tested as a whole, without what makes the model worse.
        """
        differences = {}
        for choice, value in reference.items():
            if choice != SPLIT and value != choices[choice]:
                differences[choice] = [value]
        if not differences or self.gap(choices) >= 0:
            return choices
        self.look_at(*differences)
        repairs = self._helpful_repairs(choices, differences, 0, may_fit=False)
        changed = {**choices, **{repair.choice: repair.choices[repair.choice] for repair in repairs}}
        self.tried = {"reference"} if repairs else set()
        is_nearer = abs(self.gap(changed)) < abs(self.gap(choices))
        p_value = self._p_value(choices, changed) if repairs else 1.0
        shown = is_nearer and p_value <= ALPHA
        results = self.counted if shown else self.possible
        for repair in repairs:
            results[repair.choice] = Repair(repair.choice, changed, self.gap(changed), p_value)
        return changed if shown else choices

    def repair(self, choices: dict, values: dict[str, list]) -> dict:
        """Change one choice after the other to one of its values, while the value misses the claim.

        Of several repairs that count, the one is taken that comes nearest to the claim. Both the gap and the
        gain must exceed MIN_GAIN.
        """
        if self.gap(choices) < -MIN_GAIN:
            self.look_at(*values)
        while self.gap(choices) < -MIN_GAIN:
            repairs = self._helpful_repairs(choices, values, MIN_GAIN)
            limit = ALPHA / max(len(self.tried), 1)
            counting = [[repair] for repair in repairs if repair.p_value <= limit]
            if not counting:
                counting = self._counting_pairs(choices, values)
            if not counting:
                self.possible |= {repair.choice: repair for repair in repairs}
                break
            best = min(counting, key=lambda repairs: abs(repairs[-1].gap))
            choices = best[-1].choices
            self.counted |= {repair.choice: repair for repair in best}
        return choices

    def nearest_split(self, choices: dict, observed: dict) -> dict:
        """Change the split to the one whose value is nearest to a claim that names none."""
        nearest = choices
        for split in self.measurements.run.task.splits:
            variant, end = {**choices, SPLIT: split}, {**observed, SPLIT: split}
            if split not in (choices[SPLIT], TRAIN) and self.can_measure(variant) and self.can_measure(end):
                nearest = min(nearest, variant, key=lambda choices: abs(self.gap(choices)))
        return nearest

    def _helpful_repairs(
        self, choices: dict, values: dict[str, list], min_gain: float, may_fit: bool = True
    ) -> list[Repair]:
        """Try each value; return the repairs that make the model better and bring it nearer to the claim."""
        variants = []
        for choice, candidates in values.items():
            for value in candidates:
                if value != choices[choice]:
                    variants.append((choice, {**choices, choice: value}))
        measurable = self.measurements.measurable([variant for _, variant in variants])
        variants = [(choice, variant) for choice, variant in variants if variant in measurable]
        if LABELS in values:
            variants = self._supported_orders(choices, variants, may_fit and self.fits_labels)
        gap, repairs = self.gap(choices), []
        for choice, variant in variants:
            self.tried.add(_name(choice, variant))
            new_gap = self.gap(variant)
            if new_gap - gap > min_gain and abs(new_gap) < abs(gap):
                repairs.append(Repair(choice, variant, new_gap, self._p_value(choices, variant)))
        return repairs

    def _counting_pairs(self, choices: dict, values: dict[str, list]) -> list[list[Repair]]:
        """Try each order of the labels together with each other repair; return the pairs that count.

        Where two faults ruin a model, undoing one of them shows nothing. Only tried where a model does not
        reach half of its claim; each of the two repairs must be shown to help beside the other.
        """
        orders, pairs = values.get(LABELS, []), []
        if 100 * self.measurements.value(choices, self.metric) > 50 * self.claimed:
            return pairs
        others = []
        for choice in values:
            if choice != LABELS:
                others += [(choice, {**choices, choice: value}) for value in values[choice]]
        for choice, other in others:
            self.tried |= {f"{_name(choice, other)}, {LABELS}={json.dumps(order)}" for order in orders}
        limit = ALPHA / max(len(self.tried), 1)
        for choice, other in others:
            if not self.measurements.measurable([other]):
                continue
            for order in self._helpful_repairs(other, {LABELS: orders}, MIN_GAIN):
                only_order = {**choices, LABELS: order.choices[LABELS]}
                p_value = self._p_value(only_order, order.choices)
                if max(p_value, order.p_value) <= limit:
                    pairs.append([Repair(choice, order.choices, order.gap, p_value), order])
        return pairs

    def can_measure(self, choices: dict) -> bool:
        """Whether the model can be measured under these choices, and the data of their split are there."""
        try:
            return bool(self.measurements.measurable([choices]))
        except UserError:
            return False

    def other_split(self, choices: dict, claim: dict) -> dict:
        """Change the split to another one whose value equals the claim to its stated digits, if there is one.

        A part of a split equals nothing, and a value that equals the claim often by chance shows nothing.
        """
        for split in self.measurements.run.task.splits:
            variant = {**choices, SPLIT: split}
            if split in (choices[SPLIT], TRAIN) or not self.can_measure(variant):
                continue
            (row,) = self.measurements.rows_for(variant)
            if not is_whole(row) or not is_equal(claim, row["metrics"][self.metric]):
                continue
            repair = Repair(SPLIT, variant, self.gap(variant), None)
            chance = chance_of_claim(claim, {variant[SPLIT]: row}, [variant[SPLIT]], [self.metric])
            if chance is not None and chance <= MAX_CHANCE:
                self.counted[SPLIT] = repair
                return variant
            self.possible[SPLIT] = repair
        return choices

    def _p_value(self, before: dict, after: dict) -> float:
        outputs = [self.measurements.outputs(choices) for choices in (before, after)]
        return self.measurements.run.task.p_value(*outputs, self.metric)

    def _supported_orders(
        self, choices: dict, variants: list[tuple[str, dict]], may_fit: bool
    ) -> list[tuple[str, dict]]:
        """Leave out the orders of labels that no answers support; add one that is fitted to them, if it may.

        The order of a head's outputs does not depend on its inputs, so the answers with another repair count,
        too: those to texts that are cut may be too bad to say anything.
        """
        others = [(choice, variant) for choice, variant in variants if choice != LABELS]
        all_answers = [answers(self.measurements, end) for end in (choices, *(end for _, end in others))]
        supported = list(others)
        for choice, variant in variants:
            if choice == LABELS:
                self.tried.add(_name(choice, variant))
                order = answers(self.measurements, variant)[2]
                if any(label_orders.is_plausible(*known, order) for known in all_answers):
                    supported.append((choice, variant))
        _, true, declared = all_answers[0]
        if may_fit and label_orders.has_enough_examples(true, declared):
            self.tried.add(LABELS)
            for known in all_answers:
                order = label_orders.fit_supported_order(*known)
                if order and order != list(declared):
                    variant = {**choices, LABELS: tuple(order)}
                    supported += [(LABELS, end) for end in self.measurements.measurable([variant])]
                    break
        return supported


def _name(choice: str, choices: dict) -> str:
    return f"{choice}={json.dumps(choices[choice])}"


def answers(measurements: Measurements, choices: dict) -> tuple:
    """Return the output that won (n), the right class (n), and the class for which each output stands."""
    outputs = measurements.outputs(choices)
    arguments = (outputs.table, outputs.data, outputs.protocol, outputs.model_facts)
    return measurements.run.task.predicted_and_true(*arguments)


# ── The whole search ──────────────────────────────────────────────────────────────────────────────────────


def find_causes(
    measurements: Measurements, metric: str, claim: dict, observed: dict, reference: dict
) -> tuple[Search, dict]:
    """Search for the causes of a missed claim; return what was tried, and the choices with all repairs.

    Two kinds of repairs are guesses, and dropped if the value stays too far below the claim with them: other
    preprocessing, and a fitted order of the labels, for a random head fits some order, too.
    """
    fits_labels, guesses_inputs, dropped = True, True, {}
    while True:
        search = Search(measurements, metric, claim["fraction"], fits_labels, guesses_inputs)
        repaired = _search(search, claim, observed, reference)
        remainder = search.gap(repaired)
        fitted = search.counted.get(LABELS)
        guesses = {}
        for choice in PREPROCESSING:
            if choice in search.counted and reference[choice] == observed[choice]:
                guesses[choice] = search.counted[choice]
        if guesses and remainder < MAX_SHARE_LEFT * search.gap(observed):
            guesses_inputs = False
            dropped |= guesses
        elif fitted and isinstance(fitted.choices[LABELS], tuple) and remainder < -MAX_REMAINDER:
            fits_labels = False
            dropped[LABELS] = fitted
        else:
            break
    for choice, repair in dropped.items():
        search.possible.setdefault(choice, repair)
    return search, repaired


def _search(search: Search, claim: dict, observed: dict, reference: dict) -> dict:
    """Take over what the reference protocol does otherwise; then try the other splits, then the repairs."""
    measurements = search.measurements
    task = measurements.run.task
    choices = search.take_over(observed, reference)
    repairs = task.repairs(measurements.outputs(choices).model_facts)
    if not search.guesses_inputs:
        search.look_at(*repairs)
        repairs = {choice: values for choice, values in repairs.items() if choice not in PREPROCESSING}
    names_split = named_split(claim, task.benchmark) is not None
    if len(task.splits) > 1:  # if the claim names none, each was compared with it
        search.look_at(SPLIT)
    for values in ({}, repairs):
        choices = search.repair(choices, values)
        if names_split and abs(search.gap(choices)) > MIN_GAIN:
            choices = search.other_split(choices, claim)
    return choices if names_split or choices == observed else search.nearest_split(choices, observed)
