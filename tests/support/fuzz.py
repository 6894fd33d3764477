"""Feed our parsers with bytes from a coverage-guided fuzzer.

atheris (libFuzzer) changes real input until it reaches new branches. An input that ends in anything but a
valid result or the error meant for it ends the run and is printed. Each run tries the same inputs.

    python tests/support/fuzz.py page --runs 1000000
"""

import argparse
import gzip
import itertools
import json
import math
import resource
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared"
sys.path[:0] = [str(ROOT), str(ROOT / "reproducibility")]
with atheris.instrument_imports(include=["ptm", "modelinfo", "detection", "harness", "scored"]):
    import detection
    import ptm
    from harness import imagenet
    from harness.checkpoint import CannotMeasure
    from harness.texts import read_jsonl
    from scored import hub_records
    from scored.claims import as_fraction, read_value
    from scored.files import UserError
    from scored.records import parse_record, read_records

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz"))
DICTIONARY = (
    "model-index results metrics dataset type name value args task split revision verified evalResults "
    "data error id modelId tags cardData lastModified gated private NaN Infinity -1e999 99999999999999999999 "
    "accuracy f1 macro ± +/- % 1,234.5 images annotations categories bbox iscrowd text label "
    "LABEL_0 n01440764"
)


def strict(text: str) -> None:
    raise AssertionError(f"{text} is not a JSON number")


def page(data: bytes) -> None:
    """Check a page of the Hub: each record is left out with a reason, or a line of strict JSON and a PTM."""
    try:
        records = hub_records.read_page(data)
    except (ValueError, RecursionError):
        return
    for record in records:
        made = hub_records.to_line(record)
        if isinstance(made, tuple):
            name, line = made
            again = json.loads(line, parse_constant=strict)
            assert again["id"] == name and b"\n" not in line
            model(ptm.PTM.from_record(parse_record(line)))


def model(result: ptm.PTM) -> None:
    """Check that a model's claims are finite, in the scale that they name."""
    for claim in result.claims:
        assert math.isfinite(claim.number)
        assert (claim.fraction is None) == (claim.unit in ("ambiguous", "none"))


def file_of_records(data: bytes) -> None:
    """Check that many lines of a file of records read at once give what they give singly."""
    path, result = FOLDER / "records", []
    path.write_bytes(data)
    for decode in (line_by_line, ptm._decode_records):
        messages, models = [], []
        try:
            for record in read_records(path, messages.append, decode):
                models.append(ptm.PTM.from_record(record))
        except UserError as why:
            messages.append(str(why))
        result.append(repr((models, messages)))
        for item in models:
            model(item)
    assert result[0] == result[1], result


def line_by_line(data: bytes) -> list:
    if b"\n" in data:
        raise ValueError("lines")
    return ptm._decode_records(data)


def value(data: bytes) -> None:
    """Check that a stated value is a finite number or rejected."""
    text = data.decode(errors="replace")
    for stated, metric in itertools.product((text, f"{text}%"), ("accuracy", "wer", "loss", "matthews")):
        with suppress(ValueError):
            number, error, percent = read_value(stated, metric)
            assert math.isfinite(number) and (error is None or error >= 0)
            fraction, _ = as_fraction(metric, number, percent)
            assert fraction is None or math.isfinite(fraction)


def emotion(data: bytes) -> None:
    """Check that a file of texts is read whole, or the invalid line is named."""
    file = FOLDER / "test.jsonl"
    file.write_bytes(data)
    with suppress(UserError):
        texts, labels = read_jsonl(file, 6, "")
        assert (
            len("".join(texts).encode()) >= 0 and len(texts) == len(labels) and set(labels) <= set(range(6))
        )


def labels(data: bytes) -> None:
    """Check that a model's labels match each class and category once, or are refused."""
    given = data.decode(errors="replace").split("\n")[:1001]
    rest = list(imagenet.synsets().values())
    for names in (given, given + rest[len(given) :], rest[: 1000 - len(given)] + given):
        with suppress(CannotMeasure):
            result, _ = imagenet.map_labels(names)
            assert sorted(i for i in result if i >= 0) == list(range(1000))
    categories = {1: "person", 3: "car", 90: "toothbrush"}
    with suppress(CannotMeasure):
        result, _ = detection.map_labels(given, categories)
        assert set(result) - {-1} == set(categories)


TARGETS = {f.__name__: f for f in (page, file_of_records, value, emotion, labels)}


def seeds(target: str) -> list[bytes]:
    """Collect inputs to begin with: real ones if available, and some that once caused a fault."""
    about = {"task": {"type": "text-classification"}, "dataset": {"type": "emotion", "split": "test"}}
    card = {"name": "m", "results": [about | {"metrics": [{"type": "accuracy", "value": 0.9}]}]}
    real = [
        json.dumps({"id": "user/m", "tags": ["pytorch"], "gated": "auto", "model-index": [card]}).encode()
    ]
    if (file := REAL / "hub/models-2022-02.jsonl.gz").exists():
        with gzip.open(file) as opened:
            claims = (line.strip() for line in opened if b'"metrics"' in line and len(line) < 3000)
            real += list(itertools.islice(claims, 50))
    if target == "page":
        return [*(b"[%b]" % line for line in real), b"[" * 900 + b"]" * 900, b'[{"id": "a/b", "likes": NaN}]']
    if target == "file_of_records":
        return [b"[\n%b\n]\n" % b",\n".join(real[i : i + 2]) for i in range(0, len(real), 2)] + real[:5]
    return {
        "value": [b"0.927", b"92.7 %", "92,7 ± 0.3%".encode(), b"(1,234.5)", b"1e308", b"-.5", b"1" * 400],
        "emotion": [b'{"text": "i feel fine", "label": 1}\n' * 3, b'{"text": "\\ud800", "label": 5}'],
        "labels": [b"tench, Tinca tinca\nn01443537", b"person\ncar\ntoothbrush\nN/A", b"LABEL_0\nLABEL_1"],
    }[target]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS, help="what is fed")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs tried (default: 100000)")
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzer (default: 1)")
    args = parser.parse_args()
    corpus, dictionary = FOLDER / "corpus", FOLDER / "dictionary"
    corpus.mkdir()
    for number, seed in enumerate(seeds(args.target)):
        (corpus / str(number)).write_bytes(seed)
    dictionary.write_text(
        "".join(f'"{word}"\n' for word in DICTIONARY.encode("ascii", "ignore").decode().split())
    )
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # the peak of a large parent
    flags = [
        f"-rss_limit_mb={2048 + inherited}",
        f"-runs={args.runs}",
        f"-seed={args.seed}",
        "-max_len=4096",
        "-timeout=60",
        f"-dict={dictionary}",
    ]
    flags += [f"-artifact_prefix={tempfile.gettempdir()}/", str(corpus)]
    atheris.Setup([sys.argv[0], *flags], TARGETS[args.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
