"""Write what the READMEs show: outputs of scripts, licenses, and what the robustness tests try.

python tests/support/readme.py    # writes them into all READMEs; a test fails where they differ
"""

import importlib
import os
import shlex
import subprocess
import sys
import tempfile
import textwrap
from decimal import Decimal

import dependencies
from project import ROOT
from scored.comparisons import read_comparisons
from scored.err_sentences import describe_study

STUDY = "In 2022 a study ([Jiang et al., SCORED '22](https://doi.org/10.1145/3560835.3564547))"
FOLDERS = ("unit", "scripts", "long")
READMES = [
    "README.md",
    "assets/README.md",
    "reproducibility/README.md",
    "tests/README.md",
    "tests/benchmarks/README.md",
]


def run_cog(*flags: str) -> subprocess.CompletedProcess:
    """Run cog on all READMEs: with -r it rewrites them, with --check it only compares."""
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests" / "support")}
    command = [sys.executable, "-m", "cogapp", "-P", *flags, *READMES]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def shell(command: str, hidden: str = "") -> None:
    """Print `command` and its output as a code block; `hidden` flags write to TMP, not to the checkout."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = shlex.split(f"{command} {hidden}".replace("TMP", folder))
        if arguments[0] == "python":
            arguments[0] = sys.executable
        env = os.environ | {"COLUMNS": "100"}
        done = subprocess.run(arguments, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    output = done.stdout
    if done.returncode:
        output += done.stderr
    print(f"```console\n$ {command}\n{output.rstrip()}\n```")


def findings() -> None:
    """Print what the study measured, what its named models say about splits, and what others measured."""
    comparisons = read_comparisons(ROOT / "assets" / "data" / "err.json")
    text = describe_study(comparisons.series, comparisons.laboratories, Decimal(1))
    print(textwrap.fill(f"{STUDY} {text}", 110, break_long_words=False, break_on_hyphens=False))


def licenses() -> None:
    """Print a table of the packages that requirements.txt pins, by license."""
    pinned = {dependencies.normalize(pin.name) for pin in dependencies.pins("requirements.txt")}
    by_license = {}
    for name, package in dependencies.installed(dependencies.WHOLE).items():
        if name in pinned:
            by_license.setdefault(dependencies.license_of(package), []).append(name)
    print("| license, as the package states it | packages |\n|---|---|")
    for stated, names in sorted(by_license.items(), key=lambda row: (-len(row[1]), row[0])):
        print(f"| {stated} | {', '.join(names)} |")


def tried() -> None:
    """Print a table with a row for each test marked `tried(what, times, outcome)`."""
    sys.path += [str(ROOT / "tests" / "support"), str(ROOT / "reproducibility"), str(ROOT)]  # cog resets it
    print("| what was tried | times | what happened | test |\n|---|---|---|---|")
    for folder in FOLDERS:
        directory = ROOT / "tests" / folder
        sys.path.append(str(directory))
        for path in sorted(directory.glob("test_*.py")):
            for name, what, times, outcome in marked(path.stem):
                print(f"| {what} | {times:,} | {outcome} | `{folder}/{path.name}`: `{name}` |")


def marked(module: str) -> list[tuple[str, str, int, str]]:
    """List the tests of a module that are marked `tried`: name, what, times and outcome."""
    rows = []
    for name, test in vars(importlib.import_module(module)).items():
        if not name.startswith("test_") or test.__module__ != module:
            continue
        for mark in getattr(test, "pytestmark", []):
            if mark.name == "tried":
                rows.append((name, *mark.args))
    return rows


if __name__ == "__main__":
    done = run_cog("-r")
    print(done.stdout + done.stderr, end="")
    sys.exit(done.returncode)
