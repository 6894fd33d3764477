"""A short run of the coverage-guided fuzzer over each target; `fuzz.py` runs as long as one likes."""

import os
import re
import subprocess
import sys

import pytest

from project import ROOT

RUNS = {"page": 20_000, "records": 20_000, "value": 100_000, "emotion": 20_000, "labels": 500}

try:
    import atheris  # noqa: F401
except ImportError:  # has wheels for Linux alone
    pytestmark = pytest.mark.skip(reason="needs atheris, which is not there")


@pytest.mark.tried(
    "bytes that a coverage-guided fuzzer comes upon: pages, files of records, stated values, texts, labels",
    sum(RUNS.values()),
    "an answer that holds, or the one error that is meant for it",
)
@pytest.mark.parametrize(("target", "runs"), RUNS.items())
def test_a_coverage_guided_fuzzer_finds_nothing(tmp_path, target, runs):
    command = [sys.executable, str(ROOT / "tests" / "fuzz.py"), target, "--runs", str(runs)]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and re.search(rf"^Done {runs} runs", done.stderr, re.M), done.stderr[-5000:]
