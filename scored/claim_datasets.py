"""Data sets in claims: which data set, and which of its splits, the names on a card mean."""

import functools
import re
import unicodedata

from scored.benchmarks import Benchmark, all_benchmarks
from scored.claim_words import NEUTRAL_WORDS, VOCABULARY, first_stated, split_name, take_splits

_OTHER_TASK = re.compile(r"zero.?shot|caption|to.text|text.to|retrieval")


@functools.cache
def _own_names(dataset: str) -> list[frozenset[str]]:
    """Return the words of each name of a measured data set."""
    benchmark = all_benchmarks()[dataset]
    return [_dataset_words(name) for name in (benchmark.name, *benchmark.aliases)]


@functools.cache
def own_words(dataset: str) -> frozenset[str]:
    return frozenset().union(*_own_names(dataset))


def _dataset_words(text: str) -> frozenset[str]:
    """Return the words of a data set's name, without splits: "COCO val2017" has coco and 2017."""
    text, _ = take_splits(re.sub(r"[_/()\[\],-]+", " ", unicodedata.normalize("NFKC", text).casefold()))
    text = re.sub(r"\b(?:val|train|test)(?=2017)", " ", text)
    return frozenset(re.findall(r"[^\W\d_]+|\d+[a-z]*", text)) - NEUTRAL_WORDS


def find_benchmark(text: str) -> Benchmark | None:
    """Return the data set of benchmarks.toml that a name means with all of its words.

    A copy under another owner's name counts if the name is as exact as a year or a size makes it.
    """
    tokens = _dataset_words(text)
    for benchmark in all_benchmarks().values():
        if tokens <= own_words(benchmark.name) and any(name <= tokens for name in _own_names(benchmark.name)):
            return benchmark
    _, _, last = text.rpartition("/")
    return find_benchmark(last) if last != text and re.search(r"\d", last) else None


@functools.lru_cache(4096)
def dataset_name(stated: str | None, name: str | None = None, task: str | None = None) -> str | None:
    """Return the vocabulary's word for a data set of type `stated` that the card calls `name`.

    A loader (`imagefolder`) yields to the name beside it. A name that says another data set than the type
    stands for itself, as does a data set that a model is measured on without having been trained for it.
    """
    stated, name = first_stated(stated), first_stated(name)
    if name and (not stated or stated.casefold() in VOCABULARY["loaders"]):
        stated, name = name, None
    if not stated:
        return None
    benchmark = find_benchmark(stated)
    if benchmark is None:
        return stated
    if (
        name
        and name.casefold() not in benchmark.configs
        and not _dataset_words(name) <= own_words(benchmark.name)
    ):
        return name
    if task and _OTHER_TASK.search(task.casefold()):
        return f"{stated} ({task})"
    return benchmark.name


@functools.lru_cache(4096)
def dataset_split(stated: str | None, name: str | None = None) -> str | None:
    """Return the split that the name of a measured data set holds: "ImageNet-1k (val)"."""
    splits = set()
    for text in (stated, name):
        if text and find_benchmark(text):
            splits |= take_splits(re.sub(r"[_/]+", " ", text.casefold()))[1]
            splits |= {
                split_name(split)
                for split in re.findall(r"(?<![a-z])(val|train|test)2017\b", text.casefold())
            }
    return min(splits) if len(splits) == 1 else None
