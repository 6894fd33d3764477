"""Is the list of protections complete, and does each stand in its file? `protections.py` takes them away."""

import importlib

import pytest

from conftest import ROOT
from protections import protections, without


def with_a_row() -> set[str]:
    """`file::name` of each test that makes a row of the README's table."""
    found = set()
    for path in (ROOT / "tests").glob("test_*.py"):
        for name, test in vars(importlib.import_module(path.stem)).items():
            marks = getattr(test, "pytestmark", []) if callable(test) else []
            if any(mark.name == "tried" for mark in marks) and test.__module__ == path.stem:
                found.add(f"{path.name}::{name}")
    return found


def test_each_row_of_the_table_names_a_protection_that_can_be_taken_away():
    listed = {test for one in protections() for test in one["tests"]}
    assert with_a_row() <= listed
    for test in listed:
        file, name = test.split("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), test


@pytest.mark.parametrize("one", protections(), ids=lambda one: one["what"])
def test_a_protection_stands_in_its_file_once(one):
    assert without(one) and one["old"] != one["new"]
