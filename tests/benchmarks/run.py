"""Run all benchmarks and write their table into tests/benchmarks/README.md.

Each script writes with `--json FILE` a list of rows: what, ours, against, ratio (or null), note. The start-up
time of each script's `--help` is measured here. The README changes only if all benchmarks succeed, and only
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
README = ROOT / "tests" / "benchmarks" / "README.md"
SCRIPTS = tuple("refresh audit runners vision cluster".split())
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
sys.path.append(str(ROOT))
from scored.cli import HelpFormatter, run  # noqa: E402
from scored.files import UserError, atomic_write  # noqa: E402


def machine() -> str:
    """Describe the processor, its cores, the system, the Python and the load."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = names[0] if names else platform.machine()
    python = f"{platform.system()}, Python {platform.python_version()}"
    return f"{name}, {os.cpu_count()} cores, {python}, load {os.getloadavg()[0]:.1f}"


def run_benchmark(script: str) -> list[dict]:
    """Run a benchmark and read its rows; what it prints goes to the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, str(ROOT / "tests" / "benchmarks" / f"{script}.py"), "--json", str(path)]
        done = subprocess.run(command, check=False)
        if done.returncode or not path.exists():
            raise UserError(f"{script}.py ended with code {done.returncode}; the README was not changed")
        return json.loads(path.read_text(encoding="utf-8"))


def time_help(times: int = 5) -> dict:
    """Measure how long each script's `--help` takes, the best of some runs."""
    result = {}
    for path in [*ROOT.glob("*.py"), *(ROOT / "reproducibility").glob("*.py")]:
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
            for _ in range(times):
                began = time.perf_counter()
                subprocess.run([sys.executable, path, "--help"], check=True, stdout=subprocess.DEVNULL)
                result[path.name] = min(result.get(path.name, 1e9), time.perf_counter() - began)
    ordered = sorted(result, key=result.get)
    ends = " to ".join(f"{result[name]:.2f} s (`{name}`)" for name in (ordered[0], ordered[-1]))
    note = f"the best of {times} each"
    return {
        "what": f"`--help` of {len(result)} scripts",
        "ours": ends,
        "against": "",
        "ratio": None,
        "note": note,
    }


def format_table(rows: dict[str, list[dict]], about: str) -> str:
    """Format the rows of each script as a table; a ratio below 20 gets one decimal, below 2 two."""
    lines = [about, "", "| what | ours | against | ratio | note | script |", "|---|---|---|---|---|---|"]
    for script, result in rows.items():
        for row in result:
            ratio = row["ratio"]
            digits = 2 if (ratio or 0) < 2 else 1 if ratio < 20 else 0
            ratio_text = "" if ratio is None else f"{ratio:.{digits}f}"
            cells = [row["what"], row["ours"], row["against"], ratio_text, row["note"], f"`{script}.py`"]
            lines.append(
                "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
            )
    return "\n".join(lines)


def replace_table(text: str, table: str) -> str:
    """Replace what stands between the two marks."""
    if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(BEGIN) > text.index(END):
        raise UserError(f"the README must hold {BEGIN} and after it {END}, each once")
    return f"{text[: text.index(BEGIN)]}{BEGIN}\n{table}\n{text[text.index(END) :]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=HelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, help="print the table of these; write nothing")
    parser.add_argument("--readme", type=Path, default=README, help="file that holds the marks")
    args = parser.parse_args()
    text = args.readme.read_text(encoding="utf-8")
    replace_table(text, "")  # report a missing mark before an hour of measuring
    about = f"{machine()} before the first; {datetime.date.today()}."
    rows = {script: run_benchmark(script) for script in args.only or SCRIPTS}
    if not args.only:
        rows["run"] = [time_help()]
    table = format_table(rows, about)
    print(table)
    if not args.only:
        with atomic_write(args.readme) as file:
            file.write(replace_table(text, table))


if __name__ == "__main__":
    run(main)
