"""What do the Hub's records say? `PTM` and `Claim`, the vocabulary that every script shares.

Reads `modelinfo.json` (one record a line, the Hub's own field names) a line at a time and turns each record
into a `PTM` with its claims. Every metric of a model card becomes a `Claim` or a `Rejected` with the reason.

    python ptm.py [FILE]      counts the claims in FILE and the reasons of those that could not be read
"""

import argparse
import collections
import functools
import glob
import gzip
import json
import logging
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec

ROOT = Path(__file__).resolve().parent

# ── Metrics and data sets: one vocabulary ─────────────────────────────────────────────────────────────────

VOCABULARY = json.loads((ROOT / "assets" / "data" / "vocabulary.json").read_text(encoding="utf-8"))


def _key(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _index(words: dict[str, list[str]]) -> dict[str, str]:
    return {_key(alias): name for name, aliases in words.items() for alias in [name, *aliases]}


_METRIC, _DATASET = _index(VOCABULARY["metrics"]), _index(VOCABULARY["datasets"])
_AT_ONE_IOU = {(over, at) for over in ("AP", "mAP") for at in ("AP50", "AP75")}
_TOP = re.compile(r"(?<![a-z])top[\W_]?([1-9]\d?)(?![\d.])|@ ?([1-9]|10)(?![\w.]| *[a-z%])")  # no resolution


@functools.lru_cache(4096)  # the same few words in most cards
def metric_name(stated: str | None, name: str | None = None, average: str | None = None) -> str | None:
    """The vocabulary's word for a metric of type `stated` that the card calls `name`.

    The name may refine the type (`accuracy` called "Top-5 Accuracy", `mAP` called "mAP@0.5", `f1` called
    "F1 Macro"), as may `average`, the argument of an F1. A metric outside the vocabulary keeps its own name
    in lower case.
    """
    found = _METRIC.get(_key(stated or "")) or _METRIC.get(_key(name or ""))
    called = _METRIC.get(_key(name or ""))
    if called and found and (called.startswith(found + "-") or (found, called) in _AT_ONE_IOU):
        found = called
    if found == "accuracy" and not called and (top := _TOP.search((name or "").casefold())):
        found = "accuracy" if (k := top[1] or top[2]) == "1" else f"accuracy-top{k}"
    words = f"{stated or ''} {name or ''} {average or ''}".casefold()
    if (base := re.search(r"f1|f.?score|precision|recall", words)) and (
        how := re.search(r"macro|micro|weighted", words)
    ):
        return f"{'f1' if base[0].startswith('f') else base[0]}-{how[0]}"
    return found or (stated or name or "").strip().casefold() or None


@functools.lru_cache(4096)
def dataset_name(stated: str | None, name: str | None = None) -> str | None:
    """The vocabulary's word for a data set; a loader's name (`imagefolder`) yields to the name beside it."""
    if name and (not stated or stated.casefold() in VOCABULARY["loaders"]):
        return _DATASET.get(_key(name)) or name.strip()
    return _DATASET.get(_key(stated or "")) or (stated or "").strip() or None


@functools.lru_cache(4096)
def is_bounded(metric: str | None) -> bool:
    """True for a metric that cannot leave [0, 1] (correlations: [-1, 1]) when it is a fraction."""
    known = metric in VOCABULARY["metrics"] or re.match(
        r"(f1|precision|recall)-|pass@\d|accuracy-top\d", metric or ""
    )
    return bool(known) and metric not in VOCABULARY["unbounded"] and metric not in VOCABULARY["error_rates"]


def as_fraction(metric: str | None, number: float, percent: bool = False) -> tuple[float | None, str]:
    """A stated number as a fraction, and its unit: `fraction`, `percent`, `ambiguous` or `none`.

    `none` is a metric with no such scale (loss) or outside the vocabulary. Raises ValueError("out of range").
    """
    bounded = is_bounded(metric)
    if not bounded and metric not in VOCABULARY["error_rates"]:
        return None, "none"
    low, high = VOCABULARY["undecidable"].get(metric) or VOCABULARY["undecidable"]["*"]
    size = abs(number)
    if (number < 0 and metric not in VOCABULARY["correlations"]) or (bounded and size > 100):
        raise ValueError("out of range")
    if percent or size > high:
        return float(Decimal(repr(number)) / 100), "percent"  # in decimal, so that 92.7 % is 0.927
    if size == 0 or size < low:
        return number, "fraction"
    return None, "ambiguous"


# ── Claims ────────────────────────────────────────────────────────────────────────────────────────────────
# Frozen structs of msgspec, made six times as fast as frozen dataclasses: there are millions of models.


class Claim(msgspec.Struct, frozen=True):
    """A metric value that a model card states, in the vocabulary's words and in its own."""

    task: str | None
    dataset: str
    dataset_stated: str
    config: str | None
    split: str | None
    revision: str | None
    metric: str | None  # None in .eval_results, which name a benchmark's task and no metric
    metric_stated: str | None
    value: int | float | str  # as stated
    number: float  # the value as a number, in the unit as stated
    error: float | None  # the term after ±
    fraction: float | None  # 0.01 is a point; None where the unit is ambiguous or the metric unbounded
    unit: str  # fraction, percent, ambiguous, none
    verified: bool
    source: str  # model-index or .eval_results


class Rejected(msgspec.Struct, frozen=True):
    """A metric that could not be read as a claim: why, and what the card has there."""

    reason: str
    stated: object

    @property
    def kind(self) -> str:
        return self.reason.split(":")[0]

    @property
    def text(self) -> str:
        return _text(self.stated)


_NUMBER = re.compile(  # possessive, so that no text of any length takes more than one try
    r"\(?([+-]?(?=[.,]*+\d)[\d.,]++(?:[eE][+-]?\d{1,3})?)\s*+(%?)\s*+"
    r"(?:\(?\s*+(?:±|\+/-|\+-)\s*+([\d.,]*\d)\s*+(%?)\s*+\)?)?\)?"
)


def _decimal(text: str, bounded: bool) -> float:
    """A number with a decimal point or comma; ValueError if `1,234` could be either of two numbers."""
    body = text.lstrip("+-")
    if "," in body and "." in body:  # the last one is the decimal sign, the other groups thousands
        group = "," if body.rfind(".") > body.rfind(",") else "."
        if not re.match(rf"\d{{1,3}}(\{group}\d{{3}})+(?!\d|\{group})", body):
            raise ValueError("not a number")
        text = text.replace(group, "")
    elif re.fullmatch(r"[1-9]\d{0,2},\d{3}", body) and not bounded:
        raise ValueError("ambiguous number")
    return float(text.replace(",", "."))


def read_value(value: object, metric: str | None) -> tuple[float, float | None, bool]:
    """A stated value as (number, error term or None, written with %). ValueError says why it is not one."""
    if value is None or value == "" or value == []:
        raise ValueError("no value")
    error, percent = None, False
    try:
        if isinstance(value, str):
            if value.strip().casefold() in ("nan", "inf", "-inf", "+inf"):
                value = float(value)
            elif found := _NUMBER.fullmatch(value.strip()):
                bounded = is_bounded(metric)
                percent = bool(found[2] or found[4])
                error = _decimal(found[3], bounded) if found[3] else None
                value = _decimal(found[1], bounded)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("not a number")
        number = float(value)
    except OverflowError:
        raise ValueError("out of range") from None
    except ValueError as why:
        kind = str(why) if str(why).startswith("ambiguous") else "not a number"
        raise ValueError(f"{kind}: {_text(value, 40)}") from None
    if math.isnan(number):
        raise ValueError("NaN")
    if math.isinf(number):
        raise ValueError("out of range")
    return number, error, percent


_ENCODE = json.JSONEncoder(ensure_ascii=False, default=str).encode  # json.dumps would make one each time


def _text(value: object, length: int = 200) -> str:
    try:
        text = _ENCODE(value)
    except (ValueError, RecursionError):
        text = repr(type(value))
    return text if len(text) <= length else text[: length - 1] + "…"


def _str(value: object, other: object = None, third: object = None) -> str | None:
    """The first of these that is a string and not blank."""
    if type(value) is str and (text := value.strip()):  # JSON knows no subclass of it
        return text
    return None if other is None and third is None else _str(other, third)


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _listed(value: object) -> list:
    """A list as it is, one object as a list of one, anything else as nothing."""
    return value if isinstance(value, list) else [value] if isinstance(value, dict) else []


def _about(result: dict) -> dict:
    """What a result of a model-index says about all of its metrics, as fields of a Claim."""
    data, task = _dict(result.get("dataset")), _dict(result.get("task"))
    kind, name, arguments = _str(data.get("type")), _str(data.get("name")), data.get("args")
    more = _dict(arguments)
    split = _str(data.get("split"), more.get("split"))
    return {
        "task": _str(task.get("type"), task.get("name")),
        "dataset": dataset_name(kind, name),
        "dataset_stated": kind or name,
        "config": _str(data.get("config"), arguments, more.get("config")),
        "split": split and VOCABULARY["splits"].get(split.casefold(), split.casefold()),
        "revision": _str(data.get("revision")),
        "source": "model-index",
    }


def _claim(metric: object, about: dict) -> Claim | Rejected:
    """One entry of a result's `metrics`."""
    if not isinstance(metric, dict):
        return Rejected(f"metric is not an object: {_text(metric, 40)}", metric)
    if about["dataset"] is None:
        return Rejected("no dataset", metric)
    kind, name = _str(metric.get("type")), _str(metric.get("name"))
    settings = _dict(metric.get("args")) or _dict(metric.get("config"))
    found = metric_name(kind, name, _str(settings.get("average")))
    if found is None:
        return Rejected("no metric", metric)
    if found == "mAP" and about["dataset"] == "coco":
        found = "AP"  # mean average precision over 0.50:0.95 is COCO's AP
    return _checked(metric, found, kind or name, metric.get("verified") or metric.get("verifyToken"), about)


def _checked(
    stated: dict, metric: str | None, metric_stated: str | None, verified: object, about: dict
) -> Claim | Rejected:
    """A claim, if the value that the card states is a number that the metric can take."""
    value = stated.get("value")
    try:
        number, error, percent = read_value(value, metric)
        fraction, unit = as_fraction(metric, number, percent)
    except ValueError as why:
        return Rejected(str(why), stated)
    return Claim(
        metric=metric,
        metric_stated=metric_stated,
        value=value,
        number=number,
        error=error,
        fraction=fraction,
        unit=unit,
        verified=bool(verified),
        **about,
    )


def _model_index(index: object) -> Iterator[Claim | Rejected]:
    if index and not isinstance(index, (list, dict)):
        yield Rejected("model-index is not a list", index)
    for entry in _listed(index):
        results = _listed(_dict(entry).get("results"))
        if not results:
            yield Rejected("no results", entry)
        for result in results:
            metrics = _listed(_dict(result).get("metrics"))
            if not metrics:
                yield Rejected("no metrics", result)
                continue
            about = _about(result)
            for metric in metrics:
                yield _claim(metric, about)


def _eval_results(entries: object) -> Iterator[Claim | Rejected]:
    """The Hub's `evalResults`: the repository's `.eval_results/*.yaml`, each with its data or its error."""
    for entry in _listed(entries) or ([entries] if entries else []):
        if not isinstance(entry, dict) or "error" in entry:
            yield Rejected(f"invalid .eval_results file: {_text(_dict(entry).get('error'), 80)}", entry)
            continue
        data = _dict(entry.get("data", entry))
        dataset = _dict(data.get("dataset"))
        name = _str(dataset.get("id"))
        if name is None:
            yield Rejected("no dataset", data)
            continue
        about = {
            "task": None,
            "dataset": dataset_name(name),
            "dataset_stated": name,
            "config": _str(dataset.get("task_id")),
            "split": None,
            "revision": _str(dataset.get("revision")),
            "source": ".eval_results",
        }
        yield _checked(data, None, None, entry.get("verified") or data.get("verifyToken"), about)


# ── Models ────────────────────────────────────────────────────────────────────────────────────────────────


class _Record(
    msgspec.Struct,
    rename={
        **{"task": "pipeline_tag", "library": "library_name", "created": "createdAt"},
        **{"modified": "lastModified", "card": "cardData", "index": "model-index", "results": "evalResults"},
    },
):
    """What is read of a record, under PTM's names; the rest, lists of files above all, is never decoded."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    author: str | None = None
    sha: str | None = None
    task: str | None = None
    library: str | None = None
    downloads: int | None = None
    likes: int | None = None
    tags: tuple[str, ...] | None = ()
    created: str | None = None
    modified: str | None = None
    gated: bool | str | None = None
    disabled: bool | None = None
    card: Any = msgspec.UNSET
    index: Any = None
    results: Any = None


_FIELDS = msgspec.structs.fields(_Record)[1:]
_read_records = msgspec.json.Decoder(list[_Record]).decode


def _id(record: dict) -> str:
    name = record.get("id") or record.get("modelId")
    if not isinstance(name, str) or not name:
        raise ValueError("a record without an id")
    return name


def _fitting(record: dict) -> _Record:
    """A record of any shape; a field of another type than the Hub's counts as not stated."""
    fields = {"id": _id(record)}
    if isinstance(tags := record.get("tags"), list):
        record = {**record, "tags": [tag for tag in tags if isinstance(tag, str)]}
    for field in _FIELDS:
        with suppress(KeyError, msgspec.ValidationError):
            fields[field.name] = msgspec.convert(record[field.encode_name], field.type)
    return _Record(**fields)


class PTM(msgspec.Struct, frozen=True):
    """A pre-trained model as its Hub record tells it. None is what the record does not say."""

    id: str
    author: str | None
    sha: str | None
    task: str | None
    library: str | None
    downloads: int | None  # of the last 30 days
    likes: int | None
    licence: str | None
    tags: tuple[str, ...]
    created: str | None  # ISO 8601, as the Hub writes it
    modified: str | None
    gated: str | None  # auto or manual, None for a model that anyone may have
    disabled: bool
    has_card: bool | None  # None where the record was fetched without card data
    claims: tuple[Claim, ...] = ()
    rejected: tuple[Rejected, ...] = ()

    @classmethod
    def from_record(cls, record: dict | _Record) -> "PTM":
        """A PTM from one record of the Hub's API. Raises ValueError only for a record without an id."""
        r = record if type(record) is _Record else _fitting(record)
        card = r.card if isinstance(r.card, dict) else {}
        tags, index, claims, rejected = r.tags or (), card.get("model-index") or r.index, (), ()
        if index or r.results:
            found = [*_model_index(index), *_eval_results(r.results)]
            claims = tuple([c for c in found if type(c) is Claim])
            rejected = tuple([c for c in found if type(c) is Rejected])
        licence = None
        for tag in tags:
            if "license:" in tag and tag.startswith("license:"):  # `in` takes a third of the time
                licence = tag[8:]
                break
        return cls(
            r.id,
            r.author or (r.id.partition("/")[0] if "/" in r.id else None),
            r.sha or None,
            r.task or None,
            r.library or None,
            r.downloads,
            r.likes,
            licence or _str(card.get("license")),
            tags,
            r.created or None,
            r.modified or None,
            "manual" if r.gated is True else r.gated or None,
            r.disabled is True,
            bool(card) if r.card is not msgspec.UNSET else None,
            claims,
            rejected,
        )

    @classmethod
    def load(cls, path: Path = ROOT / "modelinfo.json") -> Iterator["PTM"]:
        """Every model of a file of records, one at a time; what `records` cannot read it reports."""
        return map(cls.from_record, records(path, decode=_read_records))

    def tagged(self, prefix: str) -> list[str]:
        """What follows `prefix` in the tags that have it: `tagged("dataset:")`, `tagged("base_model:")`."""
        return [tag[len(prefix) :] for tag in self.tags if prefix in tag and tag.startswith(prefix)]


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────────


class Problem(Exception):
    """Bad input or a file that cannot be had: one line that says what, where, and what to do. Exit code 2."""


# Read when huggingface_hub, transformers and datasets are imported, here and in the processes that we start:
# no telemetry in their user agents, no request to a third host that counts how often a data set is loaded.
QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}


def discreet(text: str) -> str:
    """A text without tokens and passwords in URLs, which servers and libraries may put into errors."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := os.environ.get(name, "").strip():
            text = text.replace(token, "***")
    return re.sub(r"(?<=://)[^/\s]*@", "***@", re.sub(r"hf_[A-Za-z0-9]{20,}", "***", text))


class DiscreetRecord(logging.LogRecord):
    """What a library logs, less the secrets that servers put into the warnings that it repeats."""

    def __init__(self, *words, **more):
        super().__init__(*words, **more)
        with suppress(TypeError, ValueError, KeyError):  # arguments that do not fit are logging's to report
            self.msg, self.args = discreet(self.getMessage()), ()


def run(main: Callable[[], int | None]) -> None:
    """Runs a script's `main`: one line and exit code 2 for a Problem, 130 for Ctrl-C, 143 for SIGTERM."""

    terminated = []

    def terminate(number, frame):
        terminated.append(number)  # libraries may make an interrupt of their own out of ours
        raise KeyboardInterrupt

    def answer(handler) -> None:
        for number in heard:
            signal.signal(number, handler)

    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    if signal.SIGTERM in heard:
        signal.signal(signal.SIGTERM, terminate)
    script, code = Path(sys.argv[0]).name, 0
    sys.stdout.reconfigure(errors="backslashreplace")  # a stranger's text may hold what has no UTF-8
    logging.setLogRecordFactory(DiscreetRecord)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        code = main()
        sys.stdout.flush()
    except Problem as problem:
        code = 2
        line = "".join(c for c in " ".join(discreet(str(problem)).split()) if c.isprintable())
        print(f"{script}: {line}", file=sys.stderr)
    except KeyboardInterrupt:
        answer(signal.SIG_IGN)  # a second one would cut the line off
        code = 143 if terminated else 130
        print(f"{script}: interrupted; run the same command again to go on", file=sys.stderr)
    except BrokenPipeError:  # the reader of our stdout has gone, as `| head` does
        code = 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as why:  # a path that the system does not take, or not let us have
        code = 2
        print(f"{script}: {' '.join(discreet(str(why)).split())}"[:500], file=sys.stderr)
    answer(signal.SIG_DFL)  # from here on nothing is lost, and Python would show where it was
    sys.exit(code)


def shown(path: Path) -> str:
    """A path as messages show it: relative to the project where it lies inside."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help texts with the defaults that say something; paths inside the project without the way to it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if isinstance(action.default, Path):
            where = "the project's folder" if action.default == ROOT else shown(action.default)
            return f"{action.help} (default: {where})".replace("%", "%%")
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def _gone(process: str) -> bool:
    """Whether the process of that number has ended; only POSIX can tell without ending it."""
    try:
        return os.name == "posix" and bool(os.kill(int(process), 0))  # None
    except OSError as why:
        return isinstance(why, ProcessLookupError)


@contextmanager
def atomic(path: Path, mode: str = "w"):
    """A file to write that takes `path`'s place only when all of it is on disk.

    What a run that was killed has left of such a file goes.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            if (process := stale.suffixes[-2][1:]).isdecimal() and _gone(process):
                stale.unlink(missing_ok=True)
        text = {"encoding": "utf-8", "newline": "\n", "errors": "backslashreplace"}  # as `run` does
        with open(beside, mode, **({} if "b" in mode else text)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as why:
        raise Problem(
            f"cannot write {shown(path)}: {why.strerror or why}; free the disk or choose another path"
        ) from why
    finally:
        with suppress(OSError):  # it has its place already, or nothing can be removed there either
            beside.unlink()


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Alone with a file that is read and written anew, so that no other run's change is lost.

    Another run that has it is waited for, aloud after two seconds; without `wait` it yields False. The system
    takes the lock back from a run that is killed.
    """
    import fcntl

    path, mine, until = Path(path), False, time.monotonic() + 2
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(path.with_name(f".{path.name}.lock"), "a"))
            while not mine:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if until else 0))
                    mine = True
                except BlockingIOError:
                    if not wait:
                        break
                    if time.monotonic() > until:
                        print(f"waiting for another run, which has {shown(path)}", file=sys.stderr)
                        until = None
                    else:
                        time.sleep(0.05)
        except OSError as why:
            raise Problem(f"cannot lock {shown(path)}: {why.strerror or why}; choose another path") from why
        yield mine


def write_json(path: Path, value: object) -> None:
    """Writes JSON indented, keys sorted, without NaN, in one piece."""
    try:
        with atomic(path) as file:
            json.dump(value, file, indent=1, sort_keys=True, allow_nan=False)
            file.write("\n")
    except (ValueError, RecursionError) as why:
        raise Problem(f"cannot write {shown(path)}: {why}") from why


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no number of JSON")
    return number


def read_json(path: Path, kind: type, what: str = "") -> object:
    """The value in a JSON file, of `kind` dict or list; a Problem names a file that holds no such thing."""
    try:
        value = json.loads(Path(path).read_bytes(), parse_float=_finite, parse_constant=_finite)
    except OSError as why:
        raise Problem(f"cannot read {shown(path)}: {why.strerror or why}. {what}") from why
    except (ValueError, RecursionError) as why:
        raise Problem(f"{shown(path)} is not whole JSON ({why}). {what}") from why
    if not isinstance(value, kind):
        words = {dict: "an object", list: "an array"}.get(kind, "an object or an array")
        raise Problem(f"{shown(path)} must hold {words}, not {type(value).__name__}. {what}")
    return value


def write_records(path: Path, lines: Iterable[bytes]) -> int:
    """Writes a JSON array, one record a line, from encoded records; returns how many."""
    count = 0
    with atomic(path, "wb") as file:
        file.write(b"[")
        for line in lines:
            file.write(b",\n" if count else b"\n")
            file.write(line)
            count += 1
        file.write(b"\n]\n")
    return count


def _report(line: str) -> None:
    print(line, file=sys.stderr)


def _record(value: object) -> dict:
    """The value, if it is a record of a model."""
    if not isinstance(value, dict):
        raise ValueError(f"a record must be an object, not {type(value).__name__}")
    _id(value)
    return value


def parse(line: bytes) -> dict:
    """One record. What msgspec refuses but Python reads (NaN, lone surrogates) is read all the same."""
    try:
        record = msgspec.json.decode(line)
    except ValueError:
        record = json.loads(line)
    return _record(record)


def _found(line: bytes, decode: Callable | None) -> list:
    """What a line holds, read as in `records` among others; one record if it takes another reader."""
    if decode:
        with suppress(ValueError, RecursionError):
            return decode(b"[%b]" % line)
    return [parse(line)]


def records(path: Path, report: Callable[[str], None] = _report, decode: Callable | None = None) -> Iterator:
    """The Hub records in a file: an array with one record a line (streamed), a record a line without the
    brackets (streamed), any other JSON array (read whole); plain or gzipped.

    `decode` turns the bytes of a list of records into records, faster than one by one. A broken line is
    reported with its number and the rest is read. Raises Problem for a file that is missing,
    empty, not records at all, or cut off before its closing bracket (after what could be read of it).
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb", buffering=1 << 20) as file:
            first = file.readline(1 << 20).strip()
            if not first:
                raise Problem(f"{shown(path)} is empty; refresh it with modelinfo.py, or give another file")
            second = file.readline(1 << 30).strip() if first == b"[" else b""
            file.seek(0)
            if (first[:1] == b"[" and first != b"[") or second == b"{":
                yield from _whole(file.read(), path, report)
            elif first[:1] in b"[{":
                yield from _lines(file, path, report, decode, closed=first != b"[")
            else:
                raise Problem(f"{shown(path)} must hold a JSON array of records, one a line")
    except (OSError, EOFError) as why:
        reason = getattr(why, "strerror", None) or why
        raise Problem(f"cannot read {shown(path)}: {reason}; refresh it with modelinfo.py") from why


def _whole(data: bytes, path: Path, report: Callable[[str], None]) -> Iterator[dict]:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as why:
        raise Problem(f"{shown(path)} is not whole JSON ({why}); refresh it with modelinfo.py") from why
    for number, value in enumerate(values, 1):
        try:
            record = _record(value)
        except ValueError as why:
            report(f"{shown(path)}, record {number}: left out: {why}")
        else:
            yield record


def _lines(file, path: Path, report: Callable[[str], None], decode, closed: bool) -> Iterator[dict]:
    # Broken lines are reported once a record shows that this is the right kind of file.
    read, held, number, commas = False, [], 0, not closed
    while block := file.readlines(1 << 16):
        rows, short = [line for line in block if len(line) > 4], [x.strip() for x in block if len(x) <= 4]
        many = ()
        if commas and decode and {b"", b"[", b"]"}.issuperset(short):
            with suppress(ValueError, RecursionError):  # many lines at once, where each is a record
                many = decode(b"[%b]" % b"".join(rows).rstrip().removesuffix(b","))
        if many and len(many) == len(rows):
            number += len(block)
            closed = closed or b"]" in short
            while held:
                report(held.pop(0))
            read = True
            yield from many
            continue
        for number, line in enumerate(block, number + 1):  # noqa: B020
            body = line.strip().rstrip(b",")
            if body in (b"", b"[", b"]"):
                closed = closed or body == b"]"
                continue
            try:
                found = _found(body, decode)
            except (ValueError, RecursionError) as why:
                if not line.endswith(b"\n"):
                    cut = f"{shown(path)} is cut off in line {number}; refresh it with modelinfo.py"
                    raise Problem(cut) from why
                if read or len(held) < 100:
                    (report if read else held.append)(f"{shown(path)}, line {number}: left out: {why}")
                continue
            while held:
                report(held.pop(0))
            read = True
            yield from found
    if not closed:
        raise Problem(f"{shown(path)} is cut off: its last line is no bracket; refresh it with modelinfo.py")
    if held:
        raise Problem(f"{shown(path)} holds no record of the Hub; refresh it with modelinfo.py")


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Counts the claims in a file of Hub records.", formatter_class=Help
    )
    parser.add_argument(
        "file", nargs="?", type=Path, default=ROOT / "modelinfo.json", help="file of Hub records"
    )
    args = parser.parse_args()
    counts, reasons, units = collections.Counter(), collections.Counter(), collections.Counter()
    for model in PTM.load(args.file):
        counts["models"] += 1
        counts["models with a claim"] += bool(model.claims)
        counts["claims"] += len(model.claims)
        counts["rejected"] += len(model.rejected)
        units.update(claim.unit for claim in model.claims)
        reasons.update(rejected.kind for rejected in model.rejected)
    for title, counter in (("", counts), ("unit of the claims", units), ("rejected because", reasons)):
        if title and counter:
            print(f"{title}:")
        for name, count in counter.most_common():
            print(f"{count:>9,}  {name}")
    return 0


if __name__ == "__main__":
    run(main)
