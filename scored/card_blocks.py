"""Cut a model card into what can hold a claim: its tables, and its paragraphs, list items and lines of code.

Each has its line and what a reader knows there: the headings over it and the paragraphs before it. Nothing
here knows a metric or a data set.
"""

import html
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

from scored.front_matter import load_yaml

MAX_CARD = 2_000_000  # characters; the rest of a longer card is not read
LONGEST_CONTEXT = 1000  # characters of a paragraph that say what follows is about
PARAGRAPHS_BEFORE = 4  # a value further from a paragraph than this is not about what the paragraph says

# Inline markup is taken away by `plain`, in linear time; markdown-it needs quadratic time for "[[[[[".
MARKDOWN = MarkdownIt("commonmark").enable("table").disable("inline")

IMAGE = re.compile(r"!\[[^\[\]]*+\]\([^()]*+\)")
LINK = re.compile(r"\[([^\[\]]*+)\]\(([^()]*+)\)")
URL = re.compile(r"https?://[^\s|<>()\[\]*]++")
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*+)[^<>]*+>|<!--(?:(?!-->)[^<])*+-->")
HTML_TABLE = re.compile(r"<(/?)table\b", re.I)
FENCE = re.compile(r" {0,3}(```|~~~)")
REPORT_HEADER = re.compile(r"\s*precision\s+recall\s+f1-score\s+support\s*")
DASHES = re.compile(r"---\s*")
KEY = re.compile(r"[a-z_-]+:")
FIELDS = ("datasets", "tags", "pipeline_tag", "duplicated_from")
LONGEST_FIELD = 10_000  # characters


@dataclass(frozen=True)
class Passage:
    """A paragraph, a list item or a line of code."""

    text: str
    line: int  # of its first line, from 1
    where: str  # sentence, list or code
    scope: tuple[str, ...]  # list items over it, paragraphs before it and headings, the nearest first
    heading: str


@dataclass(frozen=True)
class Cell:
    """A table's cell as plain text, with the addresses in it."""

    text: str
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table of Markdown or HTML; each row has the header's length."""

    header: tuple[Cell, ...]
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]  # line, cells
    line: int
    scope: tuple[str, ...]
    heading: str


@dataclass(frozen=True)
class Card:
    """A card's blocks, and what they say together."""

    metadata: dict
    body: str  # all after the front matter
    headings: tuple[str, ...]
    lead: str  # what stands before the second heading
    passages: tuple[Passage, ...]
    tables: tuple[Table, ...]


@dataclass
class _Reader:
    """What was read of a card so far."""

    headings: dict[int, str] = field(default_factory=dict)  # by level, those that are open
    before: deque[str] = field(default_factory=lambda: deque(maxlen=PARAGRAPHS_BEFORE))
    items: list[str] = field(default_factory=list)  # the first paragraph of each open list item
    all_headings: list[str] = field(default_factory=list)
    lead: list[str] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def scope(self) -> tuple[str, ...]:
        """Return what stands over and before the present place, the nearest first."""
        items = [text for text in reversed(self.items) if text]
        return (*items, *reversed(self.before), *reversed(self.headings.values()))

    def open_heading(self, level: int, text: str) -> None:
        """Close the sections of this level and below, and open one."""
        self.headings = {other: name for other, name in self.headings.items() if other < level}
        self.headings[level] = text[:LONGEST_CONTEXT]
        self.all_headings.append(text)
        self.before.clear()

    def add_passage(self, text: str, line: int, where: str) -> None:
        """Add a passage where it stands; a paragraph is then context for what follows."""
        heading = next(reversed(self.headings.values()), "")
        self.passages.append(Passage(text, line, where, self.scope(), heading))
        if len(self.all_headings) < 2 and where != "code":
            self.lead.append(text)
        if where == "sentence":
            self.before.append(text[:LONGEST_CONTEXT])
        elif where == "list" and not self.items[-1]:
            self.items[-1] = text[:LONGEST_CONTEXT]

    def add_table(self, header: list[Cell], rows: list[tuple[int, list[Cell]]], line: int) -> None:
        """Add a table where it stands."""
        heading = next(reversed(self.headings.values()), "")
        cells = tuple((row_line, tuple(row)) for row_line, row in rows)
        self.tables.append(Table(tuple(header), cells, line, self.scope(), heading))


def read_card(text: str) -> Card:
    """Read the blocks of a card in time linear in its length. Never raises."""
    lines = re.split(r"\r\n|\r|\n", text[:MAX_CARD].replace("\0", "\ufffd"))
    metadata, start = read_front_matter(lines)
    body = [""] * start + lines[start:]  # so that every line keeps its number
    html_tables = cut_html_tables(body)
    reader = _Reader()
    read_blocks(reader, MARKDOWN.parse("\n".join(body)), html_tables)
    return Card(
        metadata,
        "\n".join(lines[start:]),
        tuple(reader.all_headings),
        "\n\n".join(reader.lead),
        tuple(reader.passages),
        tuple(reader.tables),
    )


def read_front_matter(lines: list[str]) -> tuple[dict, int]:
    """Return the `FIELDS` between the first two lines of dashes, and the number of lines to its end.

    Blank lines and one line of text may come before, if a key stands between the dashes.
    """
    dashes = [number for number, line in enumerate(lines) if DASHES.fullmatch(line)][:2]
    if len(dashes) < 2:
        return {}, 0
    begin, end = dashes
    front = lines[begin + 1 : end]
    text_before = [line for line in lines[:begin] if line.strip("\ufeff \t")]
    if len(text_before) > 1 or not any(KEY.match(line) for line in front):
        return {}, 0
    metadata: dict = {}
    for name in FIELDS:
        metadata.update(read_field(name, front))
    return metadata, end + 1


def read_field(name: str, lines: list[str]) -> dict:
    """Read one top-level field of YAML, of a limited length; a fault in another does not matter."""
    begin = next((number for number, line in enumerate(lines) if line.startswith(f"{name}:")), None)
    if begin is None:
        return {}
    end = begin + 1
    while end < len(lines) and lines[end][:1] in ("", " ", "-", "#"):
        end += 1
    try:
        loaded = load_yaml("\n".join(lines[begin:end])[:LONGEST_FIELD])
    except ValueError:
        return {}
    return loaded if isinstance(loaded, dict) else {}


def plain(markup: str) -> str:
    """Take away inline markup: emphasis, code, links, images, tags, escapes. Newlines stay."""
    text = LINK.sub(r"\1", IMAGE.sub("", markup))
    text = TAG.sub(" ", text)
    text = re.sub(r"[*`]|~~|__|\\(?=[^\w\s])", "", text)
    return html.unescape(text).strip(" \t")


def make_cell(markup: str) -> Cell:
    """Read a table's cell."""
    return Cell(plain(markup).strip(), tuple(URL.findall(markup)))


def read_blocks(reader: _Reader, tokens: list[Token], html_tables: dict[int, list]) -> None:
    """Walk through markdown-it's block tokens and the HTML tables, in the order of their lines."""
    pending = deque(sorted(html_tables))
    position = 0
    while position < len(tokens):
        token = tokens[position]
        line = token.map[0] + 1 if token.map else 0
        while pending and line and pending[0] < line:
            add_html_table(reader, html_tables[pending[0]], pending.popleft())
        if token.type == "heading_open":
            reader.open_heading(int(token.tag[1]), plain(tokens[position + 1].content))
            position += 2
        elif token.type == "list_item_open":
            reader.items.append("")
        elif token.type == "list_item_close":
            reader.items.pop()
        elif token.type == "inline":
            reader.add_passage(plain(token.content), line, "list" if reader.items else "sentence")
        elif token.type in ("fence", "code_block"):
            add_code(reader, token, line)
        elif token.type == "table_open":
            position = read_table(reader, tokens, position)
        position += 1
    for line in pending:
        add_html_table(reader, html_tables[line], line)


def add_code(reader: _Reader, token: Token, line: int) -> None:
    """Add each line of a block of code, if there is a number in it."""
    first = line + (token.type == "fence")
    report: list[tuple[int, list[Cell]]] = []
    for offset, text in enumerate(token.content.split("\n")):
        if REPORT_HEADER.fullmatch(text):
            report.append((first + offset, [Cell(""), *(Cell(word) for word in text.split())]))
        elif re.search(r"\d", text):
            reader.add_passage(text, first + offset, "code")
            if report:
                report.append((first + offset, report_cells(text)))
    if len(report) > 1:
        reader.add_table(report[0][1], [row for row in report[1:] if len(row[1]) == 5], report[0][0])


def report_cells(line: str) -> list[Cell]:
    """Cut a line of scikit-learn's classification report; its accuracy stands under the F1 scores."""
    cells = re.split(r"\s{2,}", line.strip())
    if len(cells) == 3:
        cells[1:1] = ["", ""]
    return [Cell(text) for text in cells]


def read_table(reader: _Reader, tokens: list[Token], position: int) -> int:
    """Read a Markdown table and return the position of its last token."""
    start = tokens[position]
    rows: list[tuple[int, list[Cell]]] = []
    while tokens[position].type != "table_close":
        token = tokens[position]
        if token.type == "tr_open":
            rows.append((token.map[0] + 1 if token.map else start.map[0] + 1, []))
        elif token.type == "inline":
            rows[-1][1].append(make_cell(token.content))
        position += 1
    reader.add_table(rows[0][1], rows[1:], start.map[0] + 1)
    return position


def cut_html_tables(lines: list[str]) -> dict[int, list[tuple[int, str]]]:
    """Take the HTML tables out of the lines; return the lines of each by the number of its first.

    Markdown would read the rows after a blank line inside of a table as code.
    """
    tables: dict[int, list[tuple[int, str]]] = {}
    table: list[tuple[int, str]] = []
    depth, fence = 0, ""
    for number, text in enumerate(lines, 1):
        marker = FENCE.match(text)
        if marker and not depth and fence in ("", marker[1]):
            fence = "" if fence else marker[1]
        tags = [] if fence else HTML_TABLE.findall(text)
        if tags or depth:
            table.append((number, text))
        for slash in tags:
            depth = max(0, depth + (-1 if slash else 1))
        if table and not depth:
            tables[table[0][0]] = table
            table = []
    for table in tables.values():
        for number, _ in table:
            lines[number - 1] = ""
    return tables


def html_rows(lines: list[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield line and cells' markup of each row of an HTML table."""
    cells: list[str] | None = None
    row_line, is_in_cell = 0, False
    for number, text in lines:
        rest = 0
        for tag in TAG.finditer(text):
            if is_in_cell and cells:
                cells[-1] += text[rest : tag.start()]
            name = (tag[2] or "").lower()
            rest = tag.end() if name in ("table", "tr", "td", "th") else tag.start()
            if name == "tr":
                if cells:
                    yield row_line, cells
                cells, row_line, is_in_cell = ([] if not tag[1] else None), number, False
            elif name in ("td", "th") and cells is not None:
                is_in_cell = not tag[1]
                if is_in_cell:
                    cells.append("")
        if is_in_cell and cells:
            cells[-1] += text[rest:] + " "
    if cells:
        yield row_line, cells


def add_html_table(reader: _Reader, lines: list[tuple[int, str]], line: int) -> None:
    """Add an HTML table whose rows are of the header's length; cells that span others make it unreadable."""
    rows = [(number, [make_cell(cell) for cell in cells]) for number, cells in html_rows(lines)]
    if len(rows) < 2:
        return
    width = len(rows[0][1])
    if all(len(cells) == width for _, cells in rows):
        reader.add_table(rows[0][1], rows[1:], line)
