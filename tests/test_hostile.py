"""What do strangers' cards, pages, files, images, texts and weights do to the scripts? Cost themselves, at most.

Inputs that hypothesis draws are the same in every run.
"""

import signal

import pytest

import ptm


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


# ── Cards ─────────────────────────────────────────────────────────────────────────────────────────────────

LONG = ["1" * 10**6 + "x", "1" + " " * 10**6 + "x", "1±" + "1," * 10**6 + "x", "1" + "." * 10**6, "," * 10**6]


@pytest.mark.tried("a stated value of a million characters", len(LONG), "rejected at once, no hang")
@pytest.mark.parametrize("value", LONG, ids=range(len(LONG)))
def test_a_long_value_is_no_number(value):
    with pytest.raises(ValueError, match="not a number"):
        ptm.read_value(value, "accuracy")
