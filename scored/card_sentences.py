"""Read the values in a card's paragraphs, list items and lines of code, clause by clause."""

import re
from collections.abc import Iterator
from dataclasses import replace

from scored.card_blocks import Passage
from scored.card_labels import WRITTEN, Value, normalise, read_label, reject
from scored.claims import Rejected

CLAUSE_END = re.compile(
    r"[;|]|,(?=\s)|\.(?=\s|$)|\b(?:and|while|whereas|but|with(?= an? ))\b|\n(?=[^\n:=]{1,40}[:=]\s)"
)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])|\n\s*\n")
SUBJECT = re.compile(r"\b(?:(?:this|the|our) model|this checkpoint|it|we)\b")
CODE_LINE = re.compile(r"\s*['\"]?([\w@./-]{1,60})['\"]?\s*[:=]\s*([\d.]{1,25}),?\s*")
RESULTS_HEADING = re.compile(r"\b(?:results?|evaluat\w*|eval|performance|metrics?|scores?)\b", re.I)
LONGEST_SENTENCE = 2000  # characters
MAX_REST = 8  # a clause with more words that are not understood does not look like a claim


def read_passage(passage: Passage) -> Iterator[Value | Rejected]:
    """Read the values of a paragraph, a list item or a line of code."""
    if passage.where == "code":
        pair = CODE_LINE.fullmatch(passage.text)
        if pair and RESULTS_HEADING.search(passage.heading) and WRITTEN.fullmatch(pair[2]):
            label = read_label(pair[1])
            if label.metrics:
                yield Value(
                    pair[2], label, passage.line, "list", passage.text.strip(), passage.heading, passage.scope
                )
        return
    line = passage.line
    for sentence in split_after(SENTENCE_END, passage.text):
        if len(sentence) <= LONGEST_SENTENCE:
            yield from read_sentence(sentence, line, passage)
        line += sentence.count("\n")


def split_after(pattern: re.Pattern, text: str) -> Iterator[str]:
    """Cut a text after each match; the pieces together are the text."""
    begin = 0
    for match in pattern.finditer(text):
        yield text[begin : match.end()]
        begin = match.end()
    yield text[begin:]


def read_sentence(sentence: str, line: int, passage: Passage) -> Iterator[Value | Rejected]:
    """Read the values of a sentence, clause by clause.

    A clause after the first is only read if those before it are understood: its subject stands there.
    """
    where = "list" if passage.where == "list" else "sentence"
    near = (normalise(sentence), passage.text[:LONGEST_SENTENCE], *passage.scope)
    problem = ""
    for clause in split_after(CLAUSE_END, sentence):
        label = read_label(clause.rstrip(" ,.;|"))
        value_line = line + clause[: len(clause) - len(clause.lstrip())].count("\n")
        line += clause.count("\n")
        is_value = label.metrics and label.numbers and len(label.rest) <= MAX_REST
        if is_value and problem:
            yield reject(problem, value_line, clause)
        elif is_value and len(label.numbers) > 1:
            yield reject("several numbers", value_line, clause)
        elif is_value:
            yield Value(
                label.numbers[0].strip(),
                replace(label, numbers=()),
                value_line,
                where,
                clause.strip(),
                passage.heading,
                near,
            )
        elif label.metrics:
            problem = problem or "metrics and values apart"
        elif label.rest and not SUBJECT.search(normalise(clause)):
            problem = problem or f"subject not understood: {' '.join(label.rest)[:60]}"
