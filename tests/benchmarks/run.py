"""How fast is all of it, on this machine? Runs every benchmark and writes the table into the README.

Each script writes with `--json FILE` a list of rows: what, ours, against, ratio (or null), note. The start-up
time of each script's `--help` is measured here. The README changes only if every benchmark succeeds, and only
between its two marks.

    python tests/benchmarks/run.py [--only audit]
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = tuple("refresh audit runners vision cluster".split())
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
sys.path.append(str(ROOT))
from scored.cli import HelpFormatter, run  # noqa: E402
from scored.files import UserError, atomic_write  # noqa: E402


def machine() -> str:
    """The processor, its cores, the system and the Python that the numbers are of, and when."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = names[0] if names else platform.machine()
    python = f"{platform.system()}, Python {platform.python_version()}"
    return f"{name}, {os.cpu_count()} cores, {python}, load {os.getloadavg()[0]:.1f}"


def measured(script: str) -> list[dict]:
    """The rows of one benchmark; what it prints goes to the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, str(ROOT / "tests" / "benchmarks" / f"{script}.py"), "--json", str(path)]
        done = subprocess.run(command, check=False)
        if done.returncode or not path.exists():
            raise UserError(f"{script}.py ended with code {done.returncode}; the README is left as it is")
        return json.loads(path.read_text(encoding="utf-8"))


def start_up(times: int = 5) -> dict:
    """Seconds until `--help` of each script has answered, the best of some."""
    found = {}
    for path in [*ROOT.glob("*.py"), *(ROOT / "reproducibility").glob("*.py")]:
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
            for _ in range(times):
                began = time.perf_counter()
                subprocess.run([sys.executable, path, "--help"], check=True, stdout=subprocess.DEVNULL)
                found[path.name] = min(found.get(path.name, 1e9), time.perf_counter() - began)
    ordered = sorted(found, key=found.get)
    ends = " to ".join(f"{found[name]:.2f} s (`{name}`)" for name in (ordered[0], ordered[-1]))
    note = f"the best of {times} each"
    return {
        "what": f"`--help` of {len(found)} scripts",
        "ours": ends,
        "against": "",
        "ratio": None,
        "note": note,
    }


def table(rows: dict[str, list[dict]], about: str) -> str:
    """The rows of each script as a table; a ratio below 20 has a decimal, one below 2 has two."""
    lines = [about, "", "| what | ours | against | ratio | note | script |", "|---|---|---|---|---|---|"]
    for script, found in rows.items():
        for row in found:
            ratio = row["ratio"]
            digits = 2 if (ratio or 0) < 2 else 1 if ratio < 20 else 0
            ratio_text = "" if ratio is None else f"{ratio:.{digits}f}"
            cells = [row["what"], row["ours"], row["against"], ratio_text, row["note"], f"`{script}.py`"]
            lines.append(
                "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
            )
    return "\n".join(lines)


def replaced(text: str, made: str) -> str:
    """The text with what is between the two marks replaced."""
    if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(BEGIN) > text.index(END):
        raise UserError(f"README.md must hold {BEGIN} and after it {END}, each once")
    return f"{text[: text.index(BEGIN)]}{BEGIN}\n{made}\n{text[text.index(END) :]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=HelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, help="print the table of these, write nothing")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md", help="file that holds the marks")
    args = parser.parse_args()
    text = args.readme.read_text(encoding="utf-8")
    replaced(text, "")  # a missing mark is told before an hour of measuring
    about = f"{machine()} before the first; {datetime.date.today()}."
    rows = {script: measured(script) for script in args.only or SCRIPTS}
    if not args.only:
        rows["run"] = [start_up()]
    made = table(rows, about)
    print(made)
    if not args.only:
        with atomic_write(args.readme) as file:
            file.write(replaced(text, made))


if __name__ == "__main__":
    run(main)
