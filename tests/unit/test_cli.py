"""How scripts end: with one line where a package is missing, with a traceback where the code is wrong."""

import importlib
import sys

import pytest

from scored.cli import require_packages, run


@pytest.mark.parametrize(
    ("script", "file"), [("err.py", "requirements-metadata.txt"), ("explain.py", "requirements.txt")]
)
def test_missing_package_names_the_requirements_file(monkeypatch, capsys, script, file):
    monkeypatch.setattr(sys, "argv", [f"/somewhere/{script}"])
    with pytest.raises(SystemExit) as exit_info:
        run(lambda: require_packages("json", "no_such_package"))
    line = f"{script}: needs the package no_such_package: pip install -r {file}\n"
    assert (exit_info.value.code, capsys.readouterr().err) == (2, line)


def test_missing_module_of_an_installed_package_is_a_bug():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        run(lambda: importlib.import_module("json.no_such_module"))
