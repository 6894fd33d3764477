"""What do strangers' cards, pages, files, images, texts and weights cost? Themselves, and nothing else.

Inputs that hypothesis draws are the same in every run.
"""

import json
import signal
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ptm

FEW, MANY = 100, 1000  # inputs that hypothesis draws: from a fixed seed
HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
few = settings(max_examples=FEW, derandomize=True, database=None, deadline=None, suppress_health_check=HEALTH)
many = settings(few, max_examples=MANY)
# Any JSON, and what Python's reader takes for it: NaN, infinity, any integer, lone surrogates.
WORDS = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["", "\0", "\ud800", "\x1b[2J", "$\\bad$", "../x"]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([-1, 10**30, -(10**400), 1e308])
JUNK = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def no_hang():
    """Ends a test that hangs: nothing here takes more than a few seconds."""

    def end(*_):
        raise TimeoutError("a hang")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs a script's `main` as a user does: (exit code, stdout, stderr). One line where it is 2."""

    def go(main, *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            ptm.run(main)
        out, said = capsys.readouterr()
        code = end.value.code or 0
        assert code in (0, 1, 2)
        assert code != 2 or said.count("\n") == 1, said
        assert "Traceback" not in said
        return code, out, said

    return go


def changed(draw, value: object) -> object:
    """A copy of some JSON in which one to three places hold something else, or are gone."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        node = value
        while node:
            key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
            if not isinstance(node[key], (dict, list)) or not node[key] or draw(st.booleans()):
                break
            node = node[key]
        else:
            break
        if draw(st.integers(0, 4)) == 0:
            del node[key]
        else:
            node[key] = draw(JUNK)
    return value


# ── What all scripts share ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.tried("a message with any text of a stranger's", FEW, "one printable line, exit code 2")
@few
@given(WORDS)
def test_a_message_is_one_printable_line(call, text):
    def main():
        print(text)
        raise ptm.Problem(f"bad {text}\n, do this")

    code, _, said = call(main)
    assert code == 2 and said.startswith("script: bad ") and said[:-1].isprintable()


@pytest.mark.tried("NaN, infinity or endless nesting in a file of ours", 7, "the file is named, exit code 2")
@pytest.mark.parametrize(
    "text", ["[NaN]", "[Infinity]", "[-1e999]", "[" * 10**5, "[" + "9" * 5000 + "]", "\ud800", ""]
)
def test_what_is_no_json_is_not_read(tmp_path, text):
    (tmp_path / "x.json").write_text(text, errors="surrogatepass")
    with pytest.raises(ptm.Problem, match=r"x\.json is not whole JSON"):
        ptm.read_json(tmp_path / "x.json", list)
    with pytest.raises(ptm.Problem, match="must hold an object or an array"):
        (tmp_path / "x.json").write_text("5")
        ptm.read_json(tmp_path / "x.json", dict | list)


@pytest.mark.tried("a value that no JSON can hold, on its way into a file", 3, "the old file stays whole")
def test_what_is_no_json_is_not_written(tmp_path):
    deep = []
    for _ in range(10_000):
        deep = [deep]
    ptm.write_json(tmp_path / "x.json", {"a": 1})
    for value in (float("nan"), float("inf"), deep):
        with pytest.raises(ptm.Problem, match=r"cannot write .*x\.json"):
            ptm.write_json(tmp_path / "x.json", [value])
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1} and len(list(tmp_path.iterdir())) == 1
    with ptm.atomic(tmp_path / "x.csv") as file:
        file.write("a\ud800b")
    assert (tmp_path / "x.csv").read_bytes() == b"a\\ud800b"


# ── Cards ─────────────────────────────────────────────────────────────────────────────────────────────────

LONG = ["1" * 10**6 + "x", "1" + " " * 10**6 + "x", "1±" + "1," * 10**6 + "x", "1" + "." * 10**6, "," * 10**6]


@pytest.mark.tried("a stated value of a million characters", len(LONG), "rejected at once, no hang")
@pytest.mark.parametrize("value", LONG, ids=range(len(LONG)))
def test_a_long_value_is_no_number(value):
    with pytest.raises(ValueError, match="not a number"):
        ptm.read_value(value, "accuracy")
