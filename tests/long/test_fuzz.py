"""A short run of the coverage-guided fuzzer over each target; tests/support/fuzz.py runs longer ones."""

import os
import re
import subprocess
import sys

import pytest

from project import ROOT

RUNS = {"page": 20_000, "file_of_records": 20_000, "value": 100_000, "emotion": 20_000, "labels": 500}

try:
    import atheris  # noqa: F401
except ImportError:  # has wheels for Linux only
    pytestmark = pytest.mark.skip(reason="needs atheris, which is not installed")


@pytest.mark.tried(
    "bytes from a coverage-guided fuzzer: pages, files of records, stated values, texts, labels",
    sum(RUNS.values()),
    "a valid result, or the error meant for it",
)
@pytest.mark.parametrize(("target", "runs"), RUNS.items())
def test_coverage_guided_fuzzer_finds_nothing(tmp_path, target, runs):
    command = [sys.executable, str(ROOT / "tests" / "support" / "fuzz.py"), target, "--runs", str(runs)]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and re.search(rf"^Done {runs} runs", done.stderr, re.M), done.stderr[-5000:]
