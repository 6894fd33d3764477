"""What result rows and explanations must hold: one definition for every reader.

Files of results hold what strangers' cards say, so each is checked as a whole before anything is computed.
Further keys are allowed; `reproducibility/README.md` lists those of a row.
"""

from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

import msgspec

from scored.files import UserError, display_path, read_json

SCHEMA = 2  # written as `schema` into every JSON file of results; raised when a key or a word changes

Fraction = Annotated[float, msgspec.Meta(ge=-1, le=1)]
Points = Annotated[float, msgspec.Meta(ge=-1000, le=1000)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Label = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9 ,.:'/_+-]{1,80}$")]  # drawn in figures


class ClaimFields(TypedDict):
    """The fields of a Claim that a comparison reads."""

    dataset: str
    config: str | None
    split: str | None
    metric: str | None
    value: int | float | str | list | dict  # as stated
    fraction: float | None
    unit: str
    bound: NotRequired[str | None]
    contradicts: NotRequired[int | float | str | list | dict | None]


class Examples(TypedDict):
    """How many examples a split holds and how many were evaluated."""

    expected: Count
    evaluated: Count | None  # None in the study's rows


class Settings(TypedDict):
    """How a model was run."""

    dtype: NotRequired[str | None]
    limit: NotRequired[int | None]


class Row(TypedDict):
    """A result row of any kind."""

    model: str
    revision: str | None
    task: str
    dataset: str
    split: str | None
    source: Label
    protocol: Label | None
    measured_at: NotRequired[Label | None]
    claims: NotRequired[list[ClaimFields]]
    settings: NotRequired[Settings | None]
    key: NotRequired[str]


class MeasuredRow(Row):
    """A measurement."""

    split: str
    protocol: Label
    examples: Examples
    metrics: dict[str, Fraction]
    intervals: NotRequired[dict[str, tuple[Fraction, Fraction] | None] | None]


class CodeState(TypedDict):
    """The code that measured."""

    hash: str


class PublishableRow(MeasuredRow):
    """A measurement with all that is published of it."""

    dataset_revision: str | None
    measured_at: Label
    intervals: dict[str, tuple[Fraction, Fraction] | None]
    code: CodeState


class FailedRow(Row):
    """A model that failed. Without a protocol it failed before any was reached."""

    error: str
    stage: NotRequired[str | None]
    examples: NotRequired[Examples | None]


class Differences(TypedDict):
    """Absolute differences that a study published without naming the models."""

    task: str
    dataset: str
    source: Label
    protocol: Label
    metric: str
    values: list[Points]
    note: str


class Cause(TypedDict):
    """A factor that explain.py found, and the points that it costs."""

    factor: Label
    points: Points


class Endpoint(TypedDict):
    """One end of an explained discrepancy: the observed value or the reference."""

    examples: NotRequired[Examples | None]


class Explanation(TypedDict):
    """One explained model of explanations.json."""

    dataset: str
    seen: NotRequired[Endpoint]
    causes: list[Cause]
    unexplained_points: Points | None


def check(value: object, kind: type, where: str, advice: str) -> None:
    """Raise UserError if `value`, from JSON, is not of this kind; the message names the first fault."""
    try:
        msgspec.convert(value, kind)
    except ValueError as error:
        raise UserError(f"{where}: {error}; {advice}") from error


def check_row(row: object, where: str, advice: str) -> None:
    """Raise UserError if `row` is neither a measurement nor a failure."""
    has_failed = isinstance(row, dict) and row.get("error")
    check(row, FailedRow if has_failed else MeasuredRow, where, advice)
    metrics = row.get("metrics") or {}
    for claim in row.get("claims", ()):
        if claim["metric"] in metrics and not 0 <= (claim["fraction"] or 0) <= 1:
            raise UserError(f"{where}: claims {claim['metric']} of {claim['fraction']}; {advice}")


def read_versioned(path: Path, advice: str) -> dict:
    """Read a JSON file that a script of this version wrote. Raises UserError for an older schema."""
    value = read_json(path, dict, advice)
    if value.get("schema") != SCHEMA:
        raise UserError(f"{display_path(path)} has schema {value.get('schema', 1)}, not {SCHEMA}. {advice}")
    return value
