"""What the README shows of the scripts, made by running them (used by cog; see README, "Changing things").

python tests/support/readme.py    # every package that requirements.txt brings here, with its version and licence
"""

import importlib
import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = set()  # lines of the blocks that stay as they stand
CUDA = re.compile("nvidia-|cuda-|triton$")  # what a CUDA build of torch brings; the README says so in words


def shell(command: str, hidden: str = "") -> None:
    """Prints `command` and its output as a code block; `hidden` flags keep the working tree as it is.

    What needs ../shared stays as it stands where that folder is missing.
    """
    import cog  # only while cogapp runs

    if "../shared" in command and not (ROOT.parent / "shared").is_dir():
        if cog.firstLineNum not in KEPT:  # the whole block, at its first command
            print(cog.previous.strip("\n"))
        KEPT.add(cog.firstLineNum)
        return
    with tempfile.TemporaryDirectory() as folder:
        words = shlex.split(f"{command} {hidden}".replace("TMP", folder))
        words[0] = sys.executable if words[0] == "python" else words[0]
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"}, check=False
        )
    output = (done.stdout + ("" if done.returncode == 0 else done.stderr)).rstrip()
    print(f"```console\n$ {command}\n{output}\n```")


def helps(*scripts: str) -> None:
    """Prints the --help of every script, folded."""
    for script in scripts:
        print(f"<details><summary><code>python {script} --help</code></summary>\n")
        shell(f"python {script} --help")
        print("\n</details>\n")


def licences() -> dict[str, tuple[str, str]]:
    """Package -> (version, licence as it states it) for all that requirements.txt brings, at any hand."""
    from packaging.requirements import Requirement

    todo = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().split()]
    seen, found = set(), {}
    while todo:
        wanted = todo.pop()
        name, extras = wanted.name.lower().replace("_", "-"), {"", *wanted.extras}
        if (name, *sorted(extras)) in seen or CUDA.match(name):
            continue
        seen.add((name, *sorted(extras)))
        about = importlib.metadata.metadata(name)
        stated = about.get("License-Expression") or about.get("License") or ""
        classes = [
            c.rpartition(" :: ")[2] for c in about.get_all("Classifier", []) if c.startswith("License")
        ]
        brief = stated if stated and len(stated) < 60 and "\n" not in stated else ", ".join(classes)
        found[name] = (about["Version"], brief or stated.strip().splitlines()[0])
        for line in importlib.metadata.requires(name) or ():
            need = Requirement(line)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(need)
    return dict(sorted(found.items()))


def licence_table() -> None:
    """Prints what requirements.txt pins, by licence. What that brings may differ tomorrow, so not here."""
    by_licence, pinned = {}, (ROOT / "requirements.txt").read_text().lower().replace("_", "-")
    for name, (_, licence) in licences().items():
        if f"\n{name}==" in f"\n{pinned}":
            by_licence.setdefault(licence, []).append(name)
    print("| licence, as the package states it | packages |\n|---|---|")
    for licence, names in sorted(by_licence.items(), key=lambda row: (-len(row[1]), row[0])):
        print(f"| {licence} | {', '.join(names)} |")


def tried() -> None:
    """Prints a table with a row for each test marked `tried(what, times, outcome)`."""
    import project  # noqa: F401  (puts the folders of the scripts on the path)

    print("| what was tried | times | what happened | test |\n|---|---|---|---|")
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for name, test in vars(importlib.import_module(path.stem)).items():
            for mark in getattr(test, "pytestmark", []) if callable(test) else []:
                if mark.name == "tried" and test.__module__ == path.stem:
                    what, times, outcome = mark.args
                    print(f"| {what} | {times:,} | {outcome} | `{path.name}`: `{name}` |")


if __name__ == "__main__":
    for package, facts in licences().items():
        print(package, *facts, sep="\t")
