"""What does a result row say, and which row takes the place of which? Rows in, rows out, one file per task.

Used through `harness.py`, which decides what to measure.
"""

import inspect
import re
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

from harness.checkpoint import Model, digest, file_digest
from harness.task import ForwardPass, StageError, Task, versions
from scored.files import ROOT, UserError, atomic_write, display_path, exclusive, read_json, write_json
from scored.schema import Row, check

HERE = Path(__file__).resolve().parent
SOURCE = "measured"  # as against the rows of the study
# What a number rests on, beside the script.
MEASURING = ("runner.py", "process.py", "shards.py", "checkpoint.py", "task.py")


def code_state(task: Task) -> dict:
    """The project's commit, whether its code differs from it, and a hash of the code that measures."""

    def git(*words: str) -> str | None:
        ours = ["git", f"--git-dir={ROOT / '.git'}", f"--work-tree={ROOT}"]  # not a repository around us
        try:
            done = subprocess.run([*ours, *words], capture_output=True, text=True, check=False, cwd=ROOT)
        except OSError:  # a machine without git
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    script = Path(inspect.getsourcefile(task.score))
    files = [
        *(HERE / name for name in MEASURING),
        script,
        *(script.parent / name for name in task.code_files),
    ]
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "requirements.txt")
    hashes = [(path.name, file_digest(path)) for path in files]
    return {"git": git("rev-parse", "HEAD"), "dirty": bool(changed), "hash": digest(hashes)}


def row_key(record: dict, name: str, protocol: object) -> str:
    """What must be the same for a row to be reused instead of measured again."""
    return digest(record["key"], name, asdict(protocol))


def make_row(task: Task, part: ForwardPass, name: str, record: dict, scores: dict, code: dict) -> dict:
    """The row of one protocol, scored from raw outputs that `record` describes."""
    protocol, about = part.protocols[name], dict(record["about"])
    return {
        **{k: record[k] for k in ("model", "revision", "dataset_revision", "split", "examples", "claims")},
        **{k: record[k] for k in ("measured_at", "seconds")},
        "source": SOURCE,
        "task": task.name,
        "dataset": task.dataset,
        "protocol": name,
        **{k: scores.pop(k) for k in ("metrics", "intervals", "interval_method")},
        "settings": {
            **{k: record.get(k) for k in ("dtype", "limit", "weights")},
            **record["ran"],
            "preprocessing": about.pop("preprocessing", None),
            "choices": asdict(protocol),
        },
        "notes": {"split": part.split_reason[name], "data": part.data.source, **scores},
        "versions": record["versions"],
        "code": code,
        "predictions": {
            "file": display_path(part.file),
            "sha256": file_digest(part.file),
            "code": record["code"]["hash"],  # differs from the row's where they were scored again later
        },
        "key": row_key(record, name, protocol),
    }


def error_row(
    task: Task, model: Model, why: StageError, code: dict, part: ForwardPass | None = None, protocol=None
) -> dict:
    """The row of a model that failed: at which stage, and why in one line."""
    return {
        "model": model.name,
        "revision": model.revision,
        "task": task.name,
        "dataset": task.dataset,
        "source": SOURCE,
        "split": part.data.split if part else None,
        "protocol": protocol,
        "stage": why.stage,
        "error": why.reason,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        "code": code,
    }


def read_rows(path: Path, task: Task) -> list[dict]:
    """The rows in a results file; none if there is no file yet. Raises UserError for another kind of file."""
    found = read_json(path, dict, "move it away to start afresh") if path.exists() else {}
    rows = found.get("rows", [])
    where, advice = f"{display_path(path)} holds no rows of {task.name}", "give another --results"
    check(rows, list[Row], where, advice)
    if found.get("task", task.name) != task.name:
        raise UserError(f"{where}: they are of {found['task']}; {advice}")
    return rows


def add_row(path: Path, task: Task, row: dict) -> None:
    """Adds a row to the file. It replaces the same measurement; an error never replaces a measurement.

    Where the task has a text for a row on all examples, it is written beside the file.
    """

    def same(old: dict, *fields: str) -> bool:
        return all(old.get(f) == row.get(f) for f in fields)

    def stale(old: dict) -> bool:
        if "error" in old:  # a success clears the errors before it; a folder's earlier content is gone
            gone = str(old["revision"]).startswith("sha256:")
            fields = ("split", "protocol") if gone else ("revision", "split", "protocol")
            return same(old, "model") and all(
                None in (old.get(f), row.get(f)) or same(old, f) for f in fields
            )
        return (
            "error" not in row
            and same(old, "model", "revision", "dataset_revision", "split", "protocol")
            and all(old.get("settings", {}).get(f) == row["settings"].get(f) for f in ("limit", "dtype"))
        )

    order = ("model", "revision", "split", "protocol", "key")
    with exclusive(path):
        rows = [old for old in read_rows(path, task) if not stale(old)] + [row]
        rows.sort(key=lambda r: [str(r.get(f) or "") for f in order])
        write_json(path, {"task": task.name, "rows": rows})
    if task.format_text and "error" not in row and row["settings"]["limit"] is None:
        with atomic_write(path.parent / f"{safe_name(row['model'])}.{row['protocol']}.txt") as file:
            file.write(f"# model: {row['model']}\n# rows: {path.name}\n{task.format_text(row)}")


def safe_name(text: str) -> str:
    """A file name for any text: a Hub id with `--` for `/`; else what is odd becomes `_`, and a hash."""
    if (
        re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", text, re.ASCII)
        and "--" not in text
    ):
        return text.replace("/", "--")
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', text).lstrip('.')[:80]}-{digest(text)[:8]}"
