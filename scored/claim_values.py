"""Values in claims: the number that a card states, and whether it is a fraction or a percentage."""

import json
import math
import re
from decimal import Decimal

from scored.claim_names import is_bounded, is_correlation, metric_name
from scored.claim_words import VOCABULARY

_NUMBER = re.compile(  # possessive, so that no text of any length takes more than one try
    r"\(?([+-]?(?=[.,]*+\d)[\d.,]++(?:[eE][+-]?\d{1,3})?)\s*+(%?)\s*+"
    r"(?:\(?\s*+(?:±|\+/-|\+-)\s*+([\d.,]*\d)\s*+(%?)\s*+\)?|\(\s*+([\d.,]*\d)\s*+(%?)\s*+\))?\)?"
)
_BOUND = re.compile(
    r"(>=|<=|≥|≤|>|<|at least\b|at most\b|more than\b|less than\b|over\b|under\b|above\b|below\b|up to\b)\s*"
)
_UPPER = ("<", "≤", "at most", "less", "under", "below", "up to")
_ABOUT = re.compile(r"^(?:~|≈|about\b|approx(?:imately)?\b\.?|ca\.)\s*", re.IGNORECASE)
MAX_CONTAINER = 200  # characters of an object or a list that holds a value
_ENCODE = json.JSONEncoder(
    ensure_ascii=False, default=str
).encode  # json.dumps would make an encoder per call


def show_value(value: object, length: int = 200) -> str:
    """Show a value of any kind as JSON, at most `length` characters."""
    try:
        text = _ENCODE(value)
    except (ValueError, RecursionError):
        text = repr(type(value))
    return text if len(text) <= length else text[: length - 1] + "…"


def read_bound(value: object) -> tuple[object, str | None]:
    """Split a bound from a value: (">90%") gives ("90%", ">"). Anything else is returned with None."""
    if not isinstance(value, str):
        return value, None
    text = value.strip()
    bound = _BOUND.match(text.casefold())
    if bound:
        return text[bound.end() :], "<" if bound[1].startswith(_UPPER) else ">"
    if len(text) > 1 and text.endswith("+") and text[-2] in "0123456789%":
        return text[:-1], ">"
    return value, None


def read_value(value: object, metric: str | None) -> tuple[float, float | None, bool]:
    """Read a stated value: (number, error term or None, whether it has a percent sign).

    A list of one value and an object with the metric's value ({"f1": 0.83}) are that value. Raises ValueError
    with the reason why it is not a value.
    """
    value = _unpack(value, metric)
    if value is None or value == "" or value == []:
        raise ValueError("no value")
    error, is_percent = None, False
    try:
        if isinstance(value, str):
            number, error, is_percent = _parse_number(value.strip(), is_bounded(metric))
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("not a number")
        else:
            number = float(value)
    except OverflowError:
        raise ValueError("out of range") from None
    except ValueError as reason:
        kind = str(reason) if str(reason).startswith("ambiguous") else "not a number"
        raise ValueError(f"{kind}: {show_value(value, 40)}") from None
    if math.isnan(number):
        raise ValueError("NaN")
    if math.isinf(number):
        raise ValueError("out of range")
    return number, error, is_percent


def _unpack(value: object, metric: str | None) -> object:
    """Return the value in a list of one, or under the metric's name in an object.

    Raises ValueError for what cannot stand in JSON as it is, such as an object with NaN beside the value.
    """
    if isinstance(value, (list, dict)):
        try:
            size = len(json.dumps(value, allow_nan=False))
        except (ValueError, TypeError, RecursionError):
            size = math.inf
        if size > MAX_CONTAINER:
            raise ValueError(f"not a number: {show_value(value, 40)}")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict) or metric is None:
        return value
    inner = []
    for key, item in value.items():
        base = metric.partition("-")[0]
        if isinstance(key, str) and (metric_name(key) in (metric, base) or key in ("value", "score")):
            inner.append(item)
    return inner[0] if len(inner) == 1 and not isinstance(inner[0], (dict, list)) else value


def _parse_number(text: str, bounded: bool) -> tuple[float, float | None, bool]:
    """Parse text such as "92.7 % ± 0.3", "0.9 (0.1)" or "~76%". Raises ValueError."""
    if text.casefold() in ("nan", "inf", "-inf", "+inf"):
        return float(text), None, False
    parts = _NUMBER.fullmatch(_ABOUT.sub("", text, count=1))
    if not parts:
        raise ValueError("not a number")
    number = _decimal(parts[1], bounded)
    stated_error = parts[3] or parts[5]
    error = _decimal(stated_error, bounded) if stated_error else None
    if parts[5] and error > abs(number) / 2:  # "44.2 (42.1)" are two values
        raise ValueError("not a number")
    return number, error, "%" in text


def _decimal(text: str, bounded: bool) -> float:
    """Parse a number with a decimal point or comma. Raises ValueError if it could be two numbers (1,234)."""
    body = text.lstrip("+-")
    if "," in body and "." in body:  # the last one is the decimal sign, the other groups thousands
        group = "," if body.rfind(".") > body.rfind(",") else "."
        if not re.match(rf"\d{{1,3}}(\{group}\d{{3}})+(?!\d|\{group})", body):
            raise ValueError("not a number")
        text = text.replace(group, "")
    elif re.fullmatch(r"[1-9]\d{0,2},\d{3}", body) and not bounded:
        raise ValueError("ambiguous number")
    return float(text.replace(",", "."))


def as_fraction(metric: str | None, number: float, percent: bool = False) -> tuple[float | None, str]:
    """Convert a stated number to a fraction; also return its unit: fraction, percent, ambiguous or none.

    `none` stands for a metric without such a scale (loss) or outside the vocabulary. Raises
    ValueError("out of range").
    """
    bounded = is_bounded(metric)
    if not bounded and metric not in VOCABULARY["error_rates"]:
        return None, "none"
    low, high = VOCABULARY["undecidable"].get(metric) or VOCABULARY["undecidable"]["*"]
    size = abs(number)
    if (number < 0 and not is_correlation(metric)) or (bounded and size > 100):
        raise ValueError("out of range")
    if percent or size > high:
        return percent_to_fraction(number), "percent"
    if size == 0 or size < low or (size == 1 and is_all_at_one(metric)):
        return number, "fraction"
    return None, "ambiguous"


def percent_to_fraction(number: float) -> float:
    """Divide by 100 in decimal, so that 92.7% is 0.927."""
    return float(Decimal(repr(number)) / 100)


def is_all_at_one(metric: str | None) -> bool:
    """Tell whether exactly 1 is 100% for a metric: nobody states an accuracy of 1%."""
    known = VOCABULARY["one_is_all"]
    return metric in known or (metric or "").rpartition("-")[0] in ("f1", "precision", "recall", "accuracy")
