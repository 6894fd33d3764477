"""Reports of verify.py for other programs: JUnit XML and Markdown. Names and card texts are a stranger's."""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from harness.verification import FAILED, Judgment, Verification, describe_claim, format_lines
from scored.cli import to_line
from scored.files import atomic_write

PASSING = ("reproduced", "close", "understated")
NO_CLAIM = "nothing to judge"

# ── JUnit ─────────────────────────────────────────────────────────────────────────────────────────────────


def add_case(suite: ElementTree.Element, name: str, verdict: str, why: str, text: str) -> None:
    """Add a test case: overstated fails, failed to run is an error, what has no verdict is skipped."""
    case = ElementTree.SubElement(suite, "testcase", classname=suite.get("name"), name=name)
    if verdict in PASSING:
        ElementTree.SubElement(case, "system-out").text = text
        return
    tag = {"overstated": "failure", FAILED: "error"}.get(verdict, "skipped")
    outcome = ElementTree.SubElement(case, tag, message=to_line(f"{verdict}: {why}", 500))
    outcome.text = text
    if tag != "skipped":
        outcome.set("type", verdict)


def verdict_without_claim(verification: Verification) -> str:
    """Return the verdict on a model of which no claim is known."""
    return FAILED if verification.error else NO_CLAIM


def make_suite(verification: Verification) -> ElementTree.Element:
    """Make a test suite of a model, with a test case for each claim, or one if there is none."""
    suite = ElementTree.Element("testsuite", name=to_line(verification.model, 200))
    text = "\n".join(format_lines(verification))
    for judgment in verification.judgments:
        name = describe_claim(judgment.claim, verification.dataset)
        add_case(suite, name, judgment.verdict, judgment.why, text)
    if not verification.judgments:
        reason = verification.error or verification.note or ""
        add_case(suite, "claims", verdict_without_claim(verification), reason, text)
    count_cases(suite)
    return suite


def count_cases(element: ElementTree.Element) -> None:
    """State the numbers of test cases and of their outcomes, as JUnit does."""
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(1 for _ in element.iter(tag))))
    element.set("tests", str(sum(1 for _ in element.iter("testcase"))))


def write_junit(path: Path, verifications: Sequence[Verification]) -> None:
    """Write JUnit XML, with a test suite per model. Raises UserError."""
    root = ElementTree.Element("testsuites", name="verify.py")
    root.extend(map(make_suite, verifications))
    count_cases(root)
    ElementTree.indent(root)
    with atomic_write(path) as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write(ElementTree.tostring(root, encoding="unicode") + "\n")


# ── Markdown ──────────────────────────────────────────────────────────────────────────────────────────────


def code_span(text: str) -> str:
    """Quote text as code, so that it is neither markup nor a mention, in a cell of a table."""
    text = to_line(text, 200).replace("|", "¦") or "-"  # a bar would end the cell
    fence = "`" * (longest_fence(text) + 1)
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def longest_fence(text: str) -> int:
    """Count the backticks of the longest run of them."""
    return max(map(len, re.findall("`+", text)), default=0)


def table_line(verification: Verification, judgment: Judgment | None) -> str:
    """Format a claim's line in the table."""
    claim, verdict = "none", verdict_without_claim(verification)
    if judgment:
        claim, verdict = describe_claim(judgment.claim, verification.dataset), judgment.verdict
    return f"| {code_span(verification.model)} | {code_span(claim)} | {verdict} |"


def write_markdown(path: Path, verifications: Sequence[Verification]) -> None:
    """Write a table with a line for each claim, then what stdout said. Raises UserError."""
    lines = ["| model | claim | verdict |", "|---|---|---|"]
    text = []
    for verification in verifications:
        for judgment in verification.judgments or (None,):
            lines.append(table_line(verification, judgment))
        text += format_lines(verification)
    fence = "`" * max(3, longest_fence("\n".join(text)) + 1)
    with atomic_write(path) as file:
        file.write("\n".join([*lines, "", f"{fence}text", *text, fence, ""]))
