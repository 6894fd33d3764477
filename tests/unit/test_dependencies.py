"""Requirements are pinned, sorted and consistent; constraints.txt is what its command writes."""

import re

import pytest

import dependencies
from project import ROOT

FILES = ("requirements.txt", "requirements-metadata.txt", "tests/requirements.txt")


def read_lines(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith(("-r ", "#"))]


@pytest.mark.parametrize("name", FILES)
def test_requirements_are_pinned_and_sorted(name):
    lines = read_lines(name)
    assert lines == sorted(lines, key=str.lower)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+==\d+(\.\d+)+(; .*)?", line) for line in lines)


def test_metadata_requirements_are_part_of_the_whole():
    assert set(read_lines("requirements-metadata.txt")) < set(read_lines("requirements.txt"))


def test_constraints_are_current():
    """Regenerate with: python tests/support/dependencies.py > constraints.txt"""
    header, *lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    made_by, *current = dependencies.constraints().splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[a-zA-Z0-9.]+", line) for line in lines)
    assert not [line for line in lines if line.startswith(("torch==", "nvidia-", "triton"))]
    if made_by == header:
        assert current == lines
    else:  # another Python may need fewer packages, in the same versions
        named = {line.partition("==")[0] for line in lines}
        assert {line for line in current if line.partition("==")[0] in named} <= set(lines)
