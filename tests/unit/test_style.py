"""The code's structure: sizes of files, and names that say nothing."""

import ast

import pytest

from project import ROOT

FORBIDDEN = {"found", "one", "said", "every", "kept", "words", "asked"}
SOURCES = sorted(
    path
    for folder in (ROOT, ROOT / "scored", ROOT / "reproducibility", ROOT / "reproducibility" / "harness")
    for path in folder.glob("*.py")
)


def count_lines(path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def bound_names(tree: ast.AST) -> set[str]:
    """Collect the names of variables, attributes that are set, arguments, functions and imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_file_is_short_and_its_names_say_something(path):
    assert count_lines(path) <= 400
    assert not bound_names(ast.parse(path.read_text(encoding="utf-8"))) & FORBIDDEN


@pytest.mark.xfail(reason="TODO: more than 6,200 lines", strict=False)
def test_all_code_reads_in_an_evening():
    assert sum(map(count_lines, SOURCES)) <= 6_200


def test_readme_is_one_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200 and len(text.encode()) <= 10_240
