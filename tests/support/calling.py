"""Calling a script's `main` in this process, as a user calls the script."""

import sys
from dataclasses import dataclass

import pytest

from scored.cli import run


@dataclass(frozen=True)
class Call:
    """What a script did: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Return a function (main, *arguments) -> Call. A usage or input error must be one line."""

    def call(main, *arguments: object) -> Call:
        monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            run(main)
        out, err = capsys.readouterr()
        code = ending.value.code or 0
        assert code != 2 or err.count("\n") == 1 or err.startswith("usage: "), err
        assert "Traceback" not in err
        return Call(code, out, err)

    return call
