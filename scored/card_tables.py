"""Read the values of this model in a card's tables, whose columns, rows or caption name the metric."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from scored.card_blocks import Cell, Table
from scored.card_labels import WRITTEN, Label, Value, normalise, read_label, reject
from scored.card_names import (
    OWN_PHRASE,
    USUAL_SIDES,
    Entry,
    ModelNames,
    explain_rest,
    own_entries,
    read_besides,
)
from scored.claims import Rejected

MODEL_COLUMN = re.compile(
    r"\b(?:models?|name|architecture|variant|checkpoint|backbone|network|method|arch)\b"
)
DATASET_COLUMN = re.compile(r"(?:evaluation )?(?:data ?sets?|benchmarks?)(?: name)?")
QUALIFIER_COLUMN = re.compile(r"splits?|subset|set|(?:evaluation )?(?:metrics?|measure)(?: name)?")
SIDE_COLUMN = re.compile(r"\bresol|\bimg.?s|\bim(?:age|g)?.?size|\binput|^size$|\bres\b")
PROGRESS_COLUMN = re.compile(r"\b(?:epochs?|steps?|iter\w*|(?:train\w*|validation|val|test|eval) loss)\b")
LIKE_A_NUMBER = re.compile(r"\W{0,3}\d")


@dataclass(frozen=True)
class Columns:
    """What the columns of a table hold."""

    labels: tuple[Label, ...]
    name: int | None  # the column of the rows' names
    is_name_of_model: bool
    datasets: tuple[int, ...]
    qualifiers: tuple[int, ...]  # split, metric
    sides: tuple[int, ...]  # image size
    values: tuple[int, ...]

    @property
    def metrics(self) -> list[int]:
        """The columns whose header names a metric."""
        return [place for place in self.values if self.labels[place].metrics]


def read_columns(table: Table) -> Columns:
    """Tell names, data sets, splits, image sizes and values apart by the header."""
    titles = [normalise(cell.text).strip(" :#") for cell in table.header]
    labels = tuple(read_label(title) for title in titles)
    names, datasets, qualifiers, sides, values = [], [], [], [], []
    for place, title in enumerate(titles):
        if DATASET_COLUMN.fullmatch(title):
            datasets.append(place)
        elif QUALIFIER_COLUMN.fullmatch(title):
            qualifiers.append(place)
        elif SIDE_COLUMN.search(title):
            sides.append(place)
        elif MODEL_COLUMN.search(title) and not labels[place].metrics and not OWN_PHRASE.search(title):
            names.append(place)
        else:
            values.append(place)
    name = names[0] if names else name_column(table, labels, values)
    values = tuple(place for place in values if place != name)
    return Columns(labels, name, bool(names), tuple(datasets), tuple(qualifiers), tuple(sides), values)


def name_column(table: Table, labels: tuple[Label, ...], values: list[int]) -> int | None:
    """Return the first column, or a column of words before the metrics, where no header says "model"."""
    for place in values:
        if labels[place].metrics:
            break
        cell = table.rows[0][1][place].text if table.rows else ""
        if place == 0 or re.match(r"\W*[a-z]", cell, re.I):
            return place
    return None


def read_table(table: Table, model: ModelNames) -> Iterator[Value | Rejected]:
    """Read the values of this model in a table."""
    columns = read_columns(table)
    titles = normalise(describe(table.header))
    if not columns.is_name_of_model and PROGRESS_COLUMN.search(titles):
        if columns.metrics:
            yield reject("rows are epochs", table.line, titles)
    elif columns.metrics:
        yield from read_metric_columns(table, columns, model)
    else:
        values = list(read_metric_rows(table, columns, model))
        yield from values or read_captioned(table, columns, model)


def describe(cells: tuple[Cell, ...]) -> str:
    """Return the text of a row."""
    return " | ".join(cell.text for cell in cells)


def read_cell(table: Table, label: Label, line: int, cell: Cell, title: Cell) -> Iterator[Value | Rejected]:
    """Yield a cell's value with what its row and column say; nothing if the cell holds no number."""
    text = f"{title.text}: {cell.text}"
    written = cell.text.strip("*†‡ ")
    if WRITTEN.fullmatch(written):
        yield Value(written, label, line, "table", text, table.heading, table.scope)
    elif LIKE_A_NUMBER.match(written):
        yield reject("not a number", line, text)


def read_qualifiers(columns: Columns, cells: tuple[Cell, ...]) -> Label:
    """Read the data set, split and metric that a row states in columns of their own."""
    label = Label()
    for place in columns.qualifiers:
        label += read_label(cells[place].text)
    for place in columns.datasets:
        stated = read_label(cells[place].text)
        if not stated.datasets:
            stated = replace(stated, datasets=frozenset({cells[place].text}), rest=(), numbers=())
        label += stated
    return label


def read_metric_columns(table: Table, columns: Columns, model: ModelNames) -> Iterator[Value | Rejected]:
    """Read the cells where a column that is a metric meets this model's row."""
    rows = own_rows(table, columns, model)
    if not rows:
        yield reject("no row of this model", table.line, describe(table.header))
    for place, label in rows:
        line, cells = table.rows[place]
        label += read_qualifiers(columns, cells)
        filled = [column for column in columns.metrics if cells[column].text]
        for column in filled:
            title = explain_rest(columns.labels[column], model.names[0])
            if label.metrics and len(filled) == 1:  # the row's own metric, as in scikit-learn's report
                title = replace(title, metrics=frozenset())
            yield from read_cell(table, label + title, line, cells[column], table.header[column])


def own_rows(table: Table, columns: Columns, model: ModelNames) -> list[tuple[int, Label]]:
    """Return the rows that are about this model, each with what its name says besides."""
    if columns.name is None:
        is_clear = len(table.rows) == 1 or columns.datasets or columns.qualifiers
        return [(place, Label()) for place in range(len(table.rows))] if is_clear else []
    entries = [row_entry(columns, cells) for _, cells in table.rows]
    own = [(place, read_besides(entries[place].label, name)) for place, name in own_entries(entries, model)]
    told_apart = {(entries[place].sides, read_qualifiers(columns, table.rows[place][1])) for place, _ in own}
    if len(told_apart) < len(own):  # by neither image size nor data set, but by something unknown
        return []
    if own or columns.is_name_of_model:
        return own
    return plain_labels([entry.label for entry in entries])


def row_entry(columns: Columns, cells: tuple[Cell, ...]) -> Entry:
    """Return what a row tells of its model."""
    sides = {side for place in columns.sides for side in re.findall(r"\d{2,4}", cells[place].text)}
    links = tuple(link for cell in cells for link in cell.links)
    name = cells[columns.name]
    return Entry(name.text, name.links, links, frozenset(sides) or USUAL_SIDES)


def plain_labels(labels: list[str]) -> list[tuple[int, Label]]:
    """Return the places of the labels that name no model, but a data set, a split, an average or nothing."""
    places = []
    for place, text in enumerate(labels):
        label = read_label(text)
        is_plain = not label.rest and not label.numbers
        if is_plain and (text or len(labels) == 1):
            places.append((place, label))
    return places


def read_metric_rows(table: Table, columns: Columns, model: ModelNames) -> Iterator[Value | Rejected]:
    """Read the cells where a row that is a metric meets this model's column."""
    header = [table.header[place] for place in columns.values]
    entries = [Entry(cell.text, cell.links, cell.links) for cell in header]
    own = [(place, read_besides(entries[place].label, name)) for place, name in own_entries(entries, model)]
    own = own or plain_labels([cell.text for cell in header])
    for line, cells in table.rows:
        label = read_qualifiers(columns, cells)
        if columns.name is not None:
            label += explain_rest(read_label(cells[columns.name].text), model.names[0])
        if not label.metrics:
            continue
        if not own:
            yield reject("no column of this model", table.line, describe(table.header))
            return
        for place, besides in own:
            column = columns.values[place]
            yield from read_cell(table, label + besides, line, cells[column], table.header[column])


def read_captioned(table: Table, columns: Columns, model: ModelNames) -> Iterator[Value | Rejected]:
    """Read this model's row where the text over the table names the metric, and the columns are plain."""
    caption = read_label(table.scope[0].rstrip(" :.")) if table.scope else Label()
    if caption.metric is None or caption.rest or caption.numbers or columns.name is None:
        return
    plain = plain_labels([table.header[place].text for place in columns.values])
    for place, label in own_rows(table, columns, model):
        line, cells = table.rows[place]
        for column, besides in plain:
            cell, title = cells[columns.values[column]], table.header[columns.values[column]]
            yield from read_cell(table, caption + label + besides, line, cell, title)
