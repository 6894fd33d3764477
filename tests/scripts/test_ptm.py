"""ptm.py counts the claims of a file; a bad file gives one line and exit code 2."""

import gzip
import json
import subprocess
import sys

import pytest

import ptm
from project import ROOT
from scored.cli import run
from scored.records import write_records


def call(monkeypatch, capsys, path):
    """Run ptm.py in process: (exit code, stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", ["ptm.py", str(path)])
    with pytest.raises(SystemExit) as exit_info:
        run(ptm.main)
    return exit_info.value.code, *capsys.readouterr()


BAD_FILES = [
    (None, "No such file"),
    (b"", "is empty"),
    (b'{"id": "a"', "cut off"),
    (b'{"rows": []}\n', "holds no Hub record"),
    (b'{"id": "a"}\n{"id": "b', "cut off"),
    (b"hello", "must hold a JSON array"),
    (b'[\n{"id": "a"},\n{"id"', "cut off"),
    (b'[{"id": "a"}, {"id"', "truncated or invalid JSON"),
    (gzip.compress(b'{"id": "a"}\n' * 999)[:-20], "cannot read"),
    (b"\x00\xff\xfe", "must hold a JSON array"),
]


@pytest.mark.tried(
    "missing, empty, cut off, wrong or binary files of records", len(BAD_FILES), "one line, exit code 2"
)
@pytest.mark.parametrize(("content", "says"), BAD_FILES)
def test_bad_files_give_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, content, says):
    path = tmp_path / "m.json"
    if content is not None:
        path.write_bytes(content)
    code, _, errors = call(monkeypatch, capsys, path)
    assert (code, says in errors, errors.count("\n")) == (2, True, 1), errors


def test_exit_code_and_line_of_the_process(tmp_path):
    command = [sys.executable, ROOT / "ptm.py", tmp_path / "missing.json"]
    script = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (script.returncode, script.stderr.count("\n")) == (2, 1)
    assert script.stderr.startswith("ptm.py: cannot read ")


def test_counts_of_a_file(tmp_path, monkeypatch, capsys):
    metrics = [
        {"type": "accuracy", "value": 0.9},
        {"type": "accuracy", "value": 1.5},
        {"type": "accuracy", "value": 940},
        {"type": "loss", "value": 0.3},
    ]
    index = [{"name": "m", "results": [{"dataset": {"type": "emotion"}, "metrics": metrics}]}]
    records = [{"id": "a/m", "cardData": {"model-index": index}}, {"id": "a/n"}]
    write_records(tmp_path / "m.json", [json.dumps(record).encode() for record in records])
    code, output, errors = call(monkeypatch, capsys, tmp_path / "m.json")
    lines = [line.split(maxsplit=1) for line in output.splitlines()]
    assert (code, errors) == (0, "")
    assert lines == [
        ["3", "claims"],
        ["2", "models"],
        ["1", "models with a claim"],
        ["1", "rejected"],
        ["unit", "of the claims:"],
        ["1", "fraction"],
        ["1", "ambiguous"],
        ["1", "none"],
        ["rejected", "because:"],
        ["1", "out of range"],
    ]
