"""The READMEs show what the scripts do today; importing or asking for help is cheap and needs no folder."""

import os
import re
import subprocess
import sys

import pytest

import readme
from project import ROOT, SCRIPTS

HEAVY = ("torch", "transformers", "datasets", "pandas", "matplotlib", "scipy", "huggingface_hub", "pyarrow")
HEAVY += ("sklearn",)


def test_generated_parts_are_current():
    """Regenerate with: python tests/support/readme.py"""
    done = readme.run_cog("--check", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", readme.READMES)
def test_no_command_needs_a_folder_that_a_clone_lacks(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert not [block for block in blocks if "../shared" in block]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_from_another_folder_loads_nothing_heavy(script, tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", ROOT / script, "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert (done.returncode, done.stdout.startswith("usage:")) == (0, True)
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not imported & set(HEAVY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_importing_does_nothing(script, tmp_path):
    module = ROOT / script
    code = f"import sys; sys.path.insert(0, {str(module.parent)!r}); import {module.stem}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
