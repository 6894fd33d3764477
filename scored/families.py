"""Trends of families: base models and data sets that models name, depth of chains, licenses along them."""

from array import array
from collections import Counter
from collections.abc import Container

from scored.intervals import ratio
from scored.trends import RELATION_PREFIXES, Batch, count_ranges, top

DEEPEST = 50  # longer chains are counted with those that lead back to themselves


class Dependencies:
    """Count the base models and data sets that models name, by their tags."""

    def __init__(self):
        self.n = self.known = 0
        self.base_models, self.datasets = Mentions(), Mentions()
        self.relations = Counter()

    def add(self, batch: Batch) -> None:
        self.n += len(batch.models)
        self.known += len(batch.card)
        for model in batch.with_datasets:
            self.datasets.add(set(model.tags_after("dataset:")))
        for model, bases in batch.derived:
            self.base_models.add(set(bases))
            stated = [name for name in model.tags_after("base_model:") if name.startswith(RELATION_PREFIXES)]
            self.relations.update({name.partition(":")[0] for name in stated} or ["unstated"])

    def result(self) -> dict:
        return {
            "models": self.n,
            "known": self.known,
            "base_models": self.base_models.result(self.known),
            "datasets": self.datasets.result(self.known),
            "relations": dict(self.relations),
        }


class Mentions:
    """Count how many models name each of some names."""

    def __init__(self):
        self.models = self.links = 0
        self.names = Counter()

    def add(self, names: set[str]) -> None:
        self.models += bool(names)
        self.links += len(names)
        self.names.update(names)

    def result(self, known: int) -> dict:
        return {
            "models": self.models,
            "known": known,
            "links": self.links,
            "distinct": len(self.names),
            "top": top(self.names),
            "share_of_top_10": ratio(sum(top(self.names, 10).values()), self.links),
        }


class Codes(dict):
    """Gives each new key the next number: license -> 0, 1, 2, …"""

    def __missing__(self, key: str | None) -> int:
        self[key] = len(self)
        return self[key]


class Families:
    """Count families: models per base, depth of the chain, and licenses and claims of model and base.

    Ids are held as their 64-bit hashes, so that millions of models take little memory.
    """

    RULE = (
        "Depth: steps from a model to one that names no base, each to the first base named; circular: chains "
        f"that lead back to themselves, or of more than {DEEPEST} steps. Licenses and claims are compared "
        "where the card of the base is known, too; claims are those of claim_quality / equal."
    )

    def __init__(self, claims_of: dict[int, frozenset[tuple]]):
        self.claims_of = claims_of  # hash of a model's id -> its claims
        self.license_codes = Codes()
        self.ids, self.licenses = array("q"), array("q")  # of each model whose card is known
        self.children, self.bases = array("q"), array("q")  # of each pair of a model and its base

    def add(self, batch: Batch) -> None:
        codes = self.license_codes
        self.ids.extend([hash(model.id) for model in batch.card])
        self.licenses.extend([codes[model.license] for model in batch.card])
        for model, bases in batch.derived:
            for base in bases:
                self.children.append(hash(model.id))
                self.bases.append(hash(base))

    def result(self) -> dict:
        per_base = Counter(Counter(self.bases).values())
        first_bases = {}
        for child, base in zip(self.children, self.bases, strict=True):
            first_bases.setdefault(child, base)
        wanted = {*self.children, *self.bases}
        pairs = zip(self.ids, self.licenses, strict=True)
        license_of = {model: code for model, code in pairs if model in wanted}
        return {
            "known": len(self.ids),
            "models": len(first_bases),
            "bases": per_base.total(),
            "bases_by_models": count_ranges(per_base),
            "models_by_depth": count_depths(first_bases),
            "licenses": self.compare_licenses(license_of),
            "claims": self.compare_claims(license_of),
            "rule": self.RULE,
        }

    def compare_licenses(self, license_of: dict[int, int]) -> dict:
        """Count the pairs of model and base by what their cards say of the license."""
        pairs = Counter()  # codes of the base's and the model's license
        for child, base in zip(self.children, self.bases, strict=True):
            if base in license_of:
                pairs[license_of[base], license_of[child]] += 1
        names = list(self.license_codes)
        kinds, changes = Counter(), Counter()
        for (base_code, code), count in pairs.items():
            before, after = names[base_code], names[code]
            kinds[compare_license(before, after)] += count
            if before != after:
                changes[f"{before or 'none'} → {after or 'none'}"] += count
        return {"known": pairs.total(), "kinds": dict(kinds), "changes": top(changes)}

    def compare_claims(self, known_bases: Container[int]) -> dict:
        """Count the claims of models with a known base, and those that a base states, too."""
        claims_of_bases = {}
        for child, base in zip(self.children, self.bases, strict=True):
            if child in self.claims_of and base in known_bases:
                claims_of_bases.setdefault(child, set()).update(self.claims_of.get(base, ()))
        known = same = 0
        for child, claims in claims_of_bases.items():
            known += len(self.claims_of[child])
            same += len(self.claims_of[child] & claims)
        return {"known": known, "same_as_base_model": same, "fraction": ratio(same, known)}


def compare_license(before: str | None, after: str | None) -> str:
    """Say what became of the license of a base in a model made from it."""
    if before == after:
        return "the same as the base's" if after else "neither states one"
    if before is None:
        return "stated, though the base states none"
    return "another than the base's" if after else "none stated, though the base states one"


def count_depths(base_of: dict[int, int]) -> dict[str, int]:
    """Count models by the steps to one that names no base; `base_of` names each model's first base."""
    depths, reached = {}, set()
    level = {model for model, base in base_of.items() if base not in base_of}
    while level and len(depths) < DEEPEST:
        depths[str(len(depths) + 1)] = len(level)
        reached |= level
        level = {model for model, base in base_of.items() if base in level}
    depths["circular"] = len(base_of) - len(reached)
    return depths
