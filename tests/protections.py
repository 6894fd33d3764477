"""Does each test of the README's table "What was tried" fail when the protection it shows is taken away?

Takes the protections of `protections.toml` away, one after the other, each in a copy of the project, and runs
the tests that must then fail. Prints a line for each; exit code 1 if any test passes all the same.

    python tests/protections.py [--only WORD] [--jobs 2]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "protections.toml"
HANGS = 600  # seconds; a test that takes longer without its protection has shown what it is for
sys.path.append(str(ROOT))
from ptm import Help, Problem, run  # noqa: E402


def protections() -> list[dict]:
    """The list: file, what stands there (old), what takes its place (new), tests that must fail then."""
    return tomllib.loads(LIST.read_text(encoding="utf-8"))["protection"]


def without(one: dict, root: Path = ROOT) -> str:
    """The text of a protection's file without it. Raises Problem unless it stands there once."""
    text = (root / one["file"]).read_text(encoding="utf-8")
    if text.count(one["old"]) != 1:
        raise Problem(f"{one['file']} holds {text.count(one['old'])} times, not once: {one['old']!r}")
    text = text.replace(one["old"], one["new"])
    if one["file"].endswith(".py"):
        compile(text, one["file"], "exec")
    return text


def copied(folder: Path) -> Path:
    """A copy of what git tracks and of what is new, with the real data beside it where there are any."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True, text=True)
    copy = folder / "scored"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    if (ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    subprocess.run(["git", "init", "-q"], cwd=copy, check=True)  # tests ask it for the project's files
    subprocess.run(["git", "add", "-A"], cwd=copy, check=True)
    return copy


def taken_away(one: dict) -> tuple[bool, str]:
    """Whether all of its tests fail without a protection, and a line that says so."""
    with tempfile.TemporaryDirectory() as folder:
        copy, said, failed = copied(Path(folder)), [], True
        (copy / one["file"]).write_text(without(one), encoding="utf-8")
        for test in one["tests"]:
            words = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=found", f"tests/{test}"]
            command = [sys.executable, "-m", "pytest", *words]
            began = time.monotonic()
            try:
                done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=HANGS)
                result = {0: "STILL PASSES", 1: "fails"}.get(done.returncode, f"DOES NOT RUN\n{done.stdout}")
                if " skipped" in done.stdout.splitlines()[-1] and not done.returncode:
                    result = "IS SKIPPED"
                why = next((line[4:104] for line in done.stdout.splitlines() if line.startswith("E   ")), "")
            except subprocess.TimeoutExpired:
                result, why = "fails", "hangs"
            failed = failed and result == "fails"
            said.append(
                f"\n    {test.split('::')[1]} {result} ({time.monotonic() - began:.0f} s): {why.strip()}"
            )
        return failed, f"without {one['what']} ({one['file']}):{''.join(said)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=Help)
    parser.add_argument("--only", nargs="+", help="only protections whose entry holds one of these words")
    parser.add_argument("--jobs", type=int, default=1, help="tests at a time")
    args = parser.parse_args()
    wanted = [p for p in protections() if not args.only or any(word in str(p) for word in args.only)]
    for one in wanted:
        without(one)
    passed = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for done in as_completed([pool.submit(taken_away, one) for one in wanted]):
            failed, line = done.result()
            print(line, flush=True)
            passed += not failed
    print(f"{len(wanted)} protections, {passed} of them not missed by their test", file=sys.stderr)
    return 1 if passed else 0


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    run(main)
