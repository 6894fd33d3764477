"""Result rows: what a row holds, and which row replaces which. One file per task and data set."""

import re
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

from harness.checkpoint import Model, digest
from harness.task import ForwardPass, Run, StageError, Task, versions
from scored.files import ROOT, UserError, atomic_write, display_path, exclusive, sha256, write_json
from scored.schema import SCHEMA, Row, check, read_versioned

HERE = Path(__file__).resolve().parent
SOURCE = "measured"  # as opposed to the study's rows
# Files that affect a number, beside the task's script.
MEASURING = ("runner.py", "child.py", "threads.py", "process.py", "shards.py", "checkpoint.py", "task.py")


def code_state(task: Task) -> dict:
    """Return the project's commit, whether its code differs from it, and a hash of the code that measures."""
    files = [*(HERE / name for name in MEASURING), task.script]
    files += [task.script.parent / name for name in task.code_files]
    hashes = [(path.name, sha256(path)) for path in files]
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "requirements.txt")
    return {"git": _git("rev-parse", "HEAD"), "dirty": bool(changed), "hash": digest(hashes)}


def _git(*arguments: str) -> str | None:
    """Run git on the project's own repository, not one around it; None where that is impossible."""
    command = ["git", f"--git-dir={ROOT / '.git'}", f"--work-tree={ROOT}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except OSError:  # a machine without git
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def row_key(record: dict, name: str, protocol: object) -> str:
    """Hash what must be the same for a row to be reused instead of measured again."""
    return digest(record["key"], name, asdict(protocol))


def make_row(run: Run, forward_pass: ForwardPass, name: str, record: dict, scores: dict) -> dict:
    """Return the row of protocol `name`, scored from raw outputs that `record` describes."""
    protocol = forward_pass.protocols[name]
    notes = dict(scores)
    if "revision_note" in forward_pass.record:
        notes["revision"] = forward_pass.record["revision_note"]
    return {
        "model": record["model"],
        "revision": record["revision"],
        "task": run.task.name,
        "dataset": run.task.dataset,
        "dataset_revision": record["dataset_revision"],
        "split": record["split"],
        "protocol": name,
        "source": SOURCE,
        "examples": record["examples"],
        "claims": forward_pass.record["claims"],  # as the card is read now, not when the outputs were made
        "metrics": notes.pop("metrics"),
        "intervals": notes.pop("intervals"),
        "interval_method": notes.pop("interval_method"),
        "settings": {
            "dtype": record.get("dtype"),
            "limit": record.get("limit"),
            "weights": record.get("weights"),
            **record["ran"],
            "preprocessing": record["about"].get("preprocessing"),
            "choices": asdict(protocol),
        },
        "notes": {"split": forward_pass.split_reason[name], "data": forward_pass.data.source, **notes},
        "measured_at": record["measured_at"],
        "seconds": record["seconds"],
        "versions": record["versions"],
        "code": run.code,
        "predictions": {
            "file": display_path(forward_pass.file),
            "sha256": sha256(forward_pass.file),
            "code": record["code"]["hash"],  # differs from the row's if they were scored again later
        },
        "key": row_key(record, name, protocol),
    }


def error_row(
    run: Run,
    model: Model,
    error: StageError,
    forward_pass: ForwardPass | None = None,
    protocol: str | None = None,
) -> dict:
    """Return the row of a model that failed: at which stage, and why in one line."""
    return {
        "model": model.name,
        "revision": model.revision,
        "task": run.task.name,
        "dataset": run.task.dataset,
        "source": SOURCE,
        "split": forward_pass.data.split if forward_pass else None,
        "protocol": protocol,
        "stage": error.stage,
        "error": error.reason,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        "code": run.code,
    }


def read_rows(path: Path, task: Task) -> list[dict]:
    """Return the rows in a results file; [] without a file. Raises UserError for another kind of file."""
    if not path.exists():
        return []
    advice = (
        f"Move it away and write it again: python {task.script.name} --from-predictions --results NEW_FILE"
    )
    content = read_versioned(path, advice)
    where, advice = f"{display_path(path)} holds no rows of {task.name}", "choose another --results"
    rows = content.get("rows", [])
    check(rows, list[Row], where, advice)
    for key, expected in (("task", task.name), ("dataset", task.dataset)):
        if content.get(key, expected) != expected:
            raise UserError(f"{where} on {task.dataset}: its {key} is {content[key]}; {advice}")
    return rows


def add_row(path: Path, task: Task, row: dict) -> None:
    """Add a row to the file. It replaces an earlier row of the same measurement.

    An error never replaces a measurement. A task's text for a row on all examples is written beside the file.
    """
    order = ("model", "revision", "split", "protocol", "key")
    with exclusive(path):
        rows = [old for old in read_rows(path, task) if not _replaces(row, old)]
        rows.append(row)
        rows.sort(key=lambda row: [str(row.get(field) or "") for field in order])
        write_json(path, {"schema": SCHEMA, "task": task.name, "dataset": task.dataset, "rows": rows})
    if task.format_text and "error" not in row and row["settings"]["limit"] is None:
        with atomic_write(path.parent / f"{safe_name(row['model'])}.{row['protocol']}.txt") as file:
            file.write(f"# model: {row['model']}\n# rows: {path.name}\n{task.format_text(row)}")


def _replaces(row: dict, old: dict) -> bool:
    """Whether a new row replaces an old one."""
    if "error" in old:
        return _replaces_error(row, old)
    same = ("model", "revision", "dataset_revision", "split", "protocol")
    if "error" in row or any(old.get(field) != row.get(field) for field in same):
        return False
    old_settings = old.get("settings") or {}
    return all(old_settings.get(field) == row["settings"].get(field) for field in ("limit", "dtype"))


def _replaces_error(row: dict, old: dict) -> bool:
    """Whether a new row replaces an old error: any later attempt at the same thing does.

    A local folder's earlier content no longer exists, so its revision does not matter.
    """
    if old["model"] != row["model"]:
        return False
    is_folder = str(old["revision"]).startswith("sha256:")
    fields = ("split", "protocol") if is_folder else ("revision", "split", "protocol")
    return all(None in (old.get(field), row.get(field)) or old[field] == row[field] for field in fields)


def safe_name(text: str) -> str:
    """Return a file name for any text: a Hub id with `--` for `/`; odd characters become `_`, and a hash."""
    part = r"[A-Za-z0-9][\w.-]{0,95}"
    if re.fullmatch(rf"{part}(/{part})?", text, re.ASCII) and "--" not in text:
        return text.replace("/", "--")
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', text).lstrip('.')[:80]}-{digest(text)[:8]}"
