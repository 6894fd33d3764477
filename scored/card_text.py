"""Read the claims that stand in a model card's text: in its tables, lists and sentences.

    claims, rejected = read_claims(text, "facebook/detr-resnet-50")

A value is a claim if a metric's word stands beside it, if it is about this model and no other, and if the card
says that it was measured on a data set of SCORED. Whatever looks like a claim and is not one has a reason.
Precision goes before recall: a word beside the value that is not understood is such a reason.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from ptm import Claim, Rejected, as_fraction, dataset_name, read_value
from scored.card_blocks import Card, Cell, Passage, Table, read_card
from scored.card_names import OWN_WORDS, USUAL_SIDES, Entry, is_whole_name, match_name, own_entries
from scored.card_words import DETECTION, Label, normalise, read_label, read_splits, take_datasets

TASKS = {"imagenet-1k": "image-classification", "coco": "object-detection", "emotion": "text-classification"}
CLASSIFICATION = re.compile(r"accuracy(-top\d+|-balanced)?|(f1|precision|recall)(-(macro|micro|weighted))?")
OTHER_PROTOCOL = re.compile(r"\b(?:zero[- ]?shot|few[- ]?shot|\d+-shot|linear(?: prob\w*| eval\w*| classif\w*)|k-?nn|transfer)\b")
OTHER_AP = re.compile(r"\b(?:segm\w*|masks?|key-?points?|pose|panoptic|seg)\b")  # AP of something else than boxes
DATASET_STATED = re.compile(r"\bdata ?sets?(?: name)?\W{0,4}[:|]\W{0,4}(.{1,80})", re.I)
PRETRAINING = re.compile(r"imagenet-?(?:\d\d+k)|objects365|laion|jft")

MODEL_COLUMN = re.compile(r"\b(?:models?|name|architecture|variant|checkpoint|backbone|network|method|arch)\b")
DATASET_COLUMN = re.compile(r"^(?:evaluation )?(?:data ?sets?|benchmarks?)(?: name)?$")
SPLIT_COLUMN = re.compile(r"^(?:splits?|subset|set)$")
METRIC_COLUMN = re.compile(r"^(?:evaluation )?(?:metrics?|measure)(?: name)?$")
QUALIFIER_COLUMNS = (DATASET_COLUMN, SPLIT_COLUMN, METRIC_COLUMN)
SIDE_COLUMN = re.compile(r"\bresol|\bimg.?s|\bim(?:age|g)?.?size|\binput|^size$|\bres\b")
PROGRESS_COLUMN = re.compile(r"\b(?:epochs?|steps?|iter\w*|(?:train\w*|validation|val|test|eval) loss)\b")
CLAUSE_END = re.compile(r"[;|]|,(?=\s)|\.(?=\s|$)|\b(?:and|while|whereas|but|with(?= an? ))\b|\n(?=[^\n:=]{1,40}[:=]\s)")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])|\n\s*\n")
SUBJECT = re.compile(r"\b(?:(?:this|the|our) model|this checkpoint|it|we)\b")
OTHER_MODEL = re.compile(r"\b(?:baselines?|teacher|original model|base model|other models|examples?)\b")
WRITTEN = re.compile(r"(?:[~≈><≥≤]|about |around )? ?\d{1,3}(?:[.,]\d+)?(?: ?%| percent)?(?: ?(?:±|\+/?-) ?\d+(?:\.\d+)?(?: ?%)?)?")
LIKE_A_NUMBER = re.compile(r"\W{0,3}\d")
LONGEST_SENTENCE = 2000
MAX_REST = 8  # a clause with more words that are not understood does not look like a claim
CODE_LINE = re.compile(r"\s*['\"]?([\w@./-]{1,60})['\"]?\s*[:=]\s*([\d.]{1,25}),?\s*")
RESULTS_HEADING = re.compile(r"\b(?:results?|evaluat\w*|eval|performance|metrics?|scores?)\b", re.I)
NAME_PREFIX = re.compile(r"^model card (?:for|of)\s+", re.I)


class TextClaim(Claim, frozen=True, kw_only=True):
    """A claim of the card's text, and where it stands."""

    line: int  # from 1, in the whole README
    where: str  # table, list or sentence


@dataclass(frozen=True)
class Value:
    """A number of the card with the words that say what it is."""

    written: str
    label: Label
    line: int
    where: str
    text: str  # the row's or clause's, to show beside a reason
    near: tuple[str, ...]  # texts that may name the data set and the split, the nearest first


@dataclass(frozen=True)
class Context:
    """What holds for each value of a card."""

    model_id: str
    names: tuple[str, ...]  # under which the card may speak of its model, the id's first
    general: tuple[frozenset[str], ...]  # data sets by the card as a whole: its statements, its front matter
    is_other_ap: bool  # the model segments or finds key points, so that AP alone is not the boxes'
    is_other_protocol: bool


def read_claims(
    text: str, model_id: str, metadata: dict | None = None
) -> tuple[list[TextClaim], list[Rejected]]:
    """Read a card's text. `metadata` is its front matter, if the caller has it already. Never raises."""
    card = read_card(text)
    context = make_context(card, model_id, card.metadata if metadata is None else metadata)
    claims: list[TextClaim] = []
    rejected: list[Rejected] = []
    values = []
    for table in card.tables:
        values.extend(value for value in read_table(table, context) if value is not None)
    for passage in card.passages:
        values.extend(read_passage(passage))
    for value in values:
        result = value if isinstance(value, Rejected) else make_claim(value, context)
        if isinstance(result, TextClaim):
            claims.append(result)
        else:
            rejected.append(result)
    return merge_claims(claims), rejected


def reject(reason: str, line: int, text: str) -> Rejected:
    return Rejected(reason, {"line": line, "text": text[:200]})


# ── The card as a whole ───────────────────────────────────────────────────────────────────────────────────


def make_context(card: Card, model_id: str, metadata: dict) -> Context:
    """Gather what the card says of all its values."""
    title = NAME_PREFIX.sub("", card.headings[0]) if card.headings else ""
    names = [model_id.rpartition("/")[2]]
    if isinstance(metadata.get("duplicated_from"), str):
        names.append(metadata["duplicated_from"].rpartition("/")[2])
    names.append(title[:100])
    tasks = [text for key in ("pipeline_tag", "tags") for text in read_strings(metadata.get(key))]
    about = normalise(" ".join([*tasks, *names]).replace("-", " "))
    protocol = OTHER_PROTOCOL.search(about) or OTHER_PROTOCOL.search(normalise(card.lead))
    return Context(
        model_id,
        tuple(names),
        (read_statements(card), read_datasets(card.lead), read_front_matter_datasets(metadata)),
        bool(OTHER_AP.search(about)),
        bool(protocol),
    )


def read_strings(value: object) -> list[str]:
    """Return the strings of a front matter's field that holds one or a list."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def read_datasets(text: str) -> frozenset[str]:
    """Return the data sets that a text is about."""
    return take_datasets(normalise(text))[0]


def read_statements(card: Card) -> frozenset[str]:
    """Return the data sets that lines such as "Dataset: ImageNet-1k" name."""
    names: frozenset[str] = frozenset()
    for passage in card.passages:
        stated = DATASET_STATED.match(passage.text)
        if stated:
            names |= read_datasets(stated[1])
    return names


def read_front_matter_datasets(metadata: dict) -> frozenset[str]:
    """Return the data sets of the front matter, in the vocabulary's words where it has them."""
    names: set[str] = set()
    for name in read_strings(metadata.get("datasets")):
        known = dataset_name(name)
        names |= {known} if known in TASKS else read_datasets(name) or {name}
    return frozenset(names)


# ── Tables ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Columns:
    """What the columns of a table hold."""

    labels: tuple[Label, ...]
    name: int | None  # of the rows' names
    qualifiers: tuple[int, ...]  # data set, split, metric
    sides: tuple[int, ...]  # image size
    values: tuple[int, ...]

    @property
    def metrics(self) -> list[int]:
        return [place for place in self.values if self.labels[place].metrics]


def read_columns(header: tuple[Cell, ...]) -> Columns:
    """Tell names, qualifiers, image sizes and values apart by the header."""
    titles = [normalise(cell.text).strip(" :#") for cell in header]
    labels = tuple(read_label(title) for title in titles)
    qualifiers, sides, names, values = [], [], [], []
    for place, title in enumerate(titles):
        if any(pattern.search(title) for pattern in QUALIFIER_COLUMNS):
            qualifiers.append(place)
        elif SIDE_COLUMN.search(title):
            sides.append(place)
        elif MODEL_COLUMN.search(title) and not labels[place].metrics:
            names.append(place)
        else:
            values.append(place)
    if not names and not qualifiers and values and not labels[values[0]].metrics:
        names.append(values.pop(0))
    return Columns(labels, names[0] if names else None, tuple(qualifiers), tuple(sides), tuple(values))


def read_table(table: Table, context: Context) -> list[Value | Rejected]:
    """Read the values of this model in a table whose columns or rows are metrics."""
    columns = read_columns(table.header)
    if PROGRESS_COLUMN.search(normalise(table.header[0].text)):
        return [reject("rows are epochs", table.line, table.header[0].text)] if columns.metrics else []
    if columns.metrics:
        return read_metric_columns(table, columns, context)
    return read_metric_rows(table, columns, context) or read_captioned(table, columns, context)


def row_label(columns: Columns, cells: tuple[Cell, ...]) -> Label:
    """Read the data set, split and metric that a row states in columns of their own."""
    label = Label()
    for place in columns.qualifiers:
        label += read_label(cells[place].text)
    return label


def read_metric_columns(table: Table, columns: Columns, context: Context) -> list[Value | Rejected]:
    """Read the cells where a column that is a metric meets this model's row."""
    rows = own_rows(table, columns, context)
    if not rows:
        return [reject("no row of this model", table.line, describe(table.header))]
    results = []
    for place, label in rows:
        line, cells = table.rows[place]
        label += row_label(columns, cells)
        filled = [column for column in columns.metrics if cells[column].text]
        for column in filled:
            title = explain_rest(columns.labels[column], context)
            if label.metrics and len(filled) == 1:  # the row's metric, as in scikit-learn's report
                title = replace(title, metrics=frozenset())
            results.append(table_value(table, label + title, line, cells[column], table.header[column]))
    return results


def own_rows(table: Table, columns: Columns, context: Context) -> list[tuple[int, Label]]:
    """Return the rows that are about this model, each with what its first cell says besides."""
    everything = [(place, Label()) for place in range(len(table.rows))]
    if columns.name is None:
        return everything if len(everything) == 1 or columns.qualifiers else []
    entries = [row_entry(columns, cells) for _, cells in table.rows]
    own = own_places(entries, context)
    if own:
        return own
    is_model_column = bool(MODEL_COLUMN.search(normalise(table.header[columns.name].text)))
    return [] if is_model_column else plain_places([entry.label for entry in entries])


def row_entry(columns: Columns, cells: tuple[Cell, ...]) -> Entry:
    """Return what a row tells of its model."""
    sides = {side for place in columns.sides for side in re.findall(r"\d{2,4}", cells[place].text)}
    links = tuple(link for cell in cells for link in cell.links)
    name = cells[columns.name]
    return Entry(name.text, name.links, links, frozenset(sides) or USUAL_SIDES)


def own_places(entries: list[Entry], context: Context) -> list[tuple[int, Label]]:
    """Return the places of the entries that name this model, each with what its label says besides."""
    for name in context.names:
        places = own_entries(entries, context.model_id, name)
        if places:
            return [(place, read_besides(entries[place].label, name)) for place in places]
    own = [place for place, entry in enumerate(entries) if OWN_WORDS.search(normalise(entry.label))]
    return [(own[0], read_besides(entries[own[0]].label))] if len(own) == 1 else []


def read_besides(label: str, name: str = "") -> Label:
    """Read what a label that holds a model's name says besides the name."""
    if match_name(label, name):
        return Label()
    return replace(read_label(label), rest=(), numbers=())


def plain_places(labels: list[str]) -> list[tuple[int, Label]]:
    """Return the places of the labels that name no model, but a data set, a split, an average or nothing."""
    places = []
    for place, text in enumerate(labels):
        label = read_label(text)
        is_plain = not label.rest and not label.numbers
        if is_plain and (text or len(labels) == 1):
            places.append((place, label))
    return places


def read_metric_rows(table: Table, columns: Columns, context: Context) -> list[Value | Rejected]:
    """Read the cells where a row that is a metric meets this model's column."""
    header = [table.header[place] for place in columns.values]
    entries = [Entry(cell.text, cell.links, cell.links, USUAL_SIDES) for cell in header]
    own = own_places(entries, context) or plain_places([cell.text for cell in header])
    results = []
    for line, cells in table.rows:
        label = row_label(columns, cells)
        if columns.name is not None:
            label += explain_rest(read_label(cells[columns.name].text), context)
        if not label.metrics:
            continue
        if not own:
            return [reject("no column of this model", table.line, describe(table.header))]
        for place, besides in own:
            column = columns.values[place]
            results.append(table_value(table, label + besides, line, cells[column], table.header[column]))
    return results


def read_captioned(table: Table, columns: Columns, context: Context) -> list[Value | Rejected]:
    """Read this model's row where the text over the table names the metric, and the columns are plain."""
    caption = read_label(table.scope[0].rstrip(" :.")) if table.scope else Label()
    if caption.metric is None or caption.rest or caption.numbers or columns.name is None:
        return []
    results = []
    for place, label in own_rows(table, columns, context):
        line, cells = table.rows[place]
        for column, besides in plain_places([table.header[place].text for place in columns.values]):
            cell, title = cells[columns.values[column]], table.header[columns.values[column]]
            results.append(table_value(table, caption + label + besides, line, cell, title))
    return results


def explain_rest(label: Label, context: Context) -> Label:
    """Leave out the words of a label that are of this model's name, as INT8 in "INT8 accuracy"."""
    rest = " ".join((*label.rest, *label.numbers))
    return replace(label, rest=(), numbers=()) if match_name(rest, context.names[0]) else label


def describe(cells: tuple[Cell, ...]) -> str:
    return " | ".join(cell.text for cell in cells)


def table_value(table: Table, label: Label, line: int, cell: Cell, title: Cell) -> Value | Rejected | None:
    """Return a cell's value with what its row and column say."""
    text = f"{title.text}: {cell.text}"
    written = cell.text.strip("*†‡ ")
    if not WRITTEN.fullmatch(written):
        if not LIKE_A_NUMBER.match(written):
            return None
        return reject("not a number", line, text)
    return Value(written, label, line, "table", text, table.scope)


# ── Lists and sentences ───────────────────────────────────────────────────────────────────────────────────


def read_passage(passage: Passage) -> Iterator[Value | Rejected]:
    """Read the values of a paragraph, a list item or a line of code."""
    if passage.where == "code":
        pair = CODE_LINE.fullmatch(passage.text)
        if pair and RESULTS_HEADING.search(passage.heading) and WRITTEN.fullmatch(pair[2]):
            label = read_label(pair[1])
            if label.metrics:
                yield Value(pair[2], label, passage.line, "list", passage.text.strip(), passage.scope)
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
    near = (normalise(sentence), *passage.scope)
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
            yield Value(label.numbers[0].strip(), replace(label, numbers=()), value_line, where, clause.strip(), near)
        elif label.metrics:
            problem = problem or "metrics and values apart"
        elif label.rest and not SUBJECT.search(normalise(clause)):
            problem = problem or f"subject not understood: {' '.join(label.rest)[:60]}"


# ── Claims ────────────────────────────────────────────────────────────────────────────────────────────────


def make_claim(value: Value, context: Context) -> TextClaim | Rejected:
    """Return a claim, if metric, data set and number are all certain."""
    try:
        metric = check_metric(value, context)
        dataset = find_dataset(value, context, metric)
        split = find_split(value)
        number, error, fraction, unit = read_number(value, metric)
    except ValueError as why:
        return reject(str(why), value.line, value.text)
    return TextClaim(
        task=TASKS[dataset],
        dataset=dataset,
        dataset_stated=dataset,
        config=None,
        split=split,
        revision=None,
        metric=metric,
        metric_stated=value.text,
        value=value.written,
        number=number,
        error=error,
        fraction=fraction,
        unit=unit,
        verified=False,
        source="card text",
        line=value.line,
        where=value.where,
    )


def check_metric(value: Value, context: Context) -> str:
    """Return the metric, if everything beside the value is understood. Raises ValueError."""
    label = value.label
    metric = "AP" if label.metric == "mAP" else label.metric
    if metric is None:
        raise ValueError("names several metrics")
    if metric not in DETECTION and not CLASSIFICATION.fullmatch(metric):
        raise ValueError(f"not measured here: {metric}")
    rest = (*label.rest, *label.numbers)
    match = match_name(" ".join(rest), context.names[0])
    if rest and not (match and is_whole_name(match, USUAL_SIDES)):
        raise ValueError(f"not understood: {' '.join(rest)[:60]}")
    near = normalise(" ".join(value.near))
    if context.is_other_protocol or OTHER_PROTOCOL.search(near):
        raise ValueError("another protocol: zero-shot or a probe")
    if metric in DETECTION and not label.is_box and (context.is_other_ap or OTHER_AP.search(near)):
        raise ValueError("AP of boxes or of masks")
    return metric


def find_dataset(value: Value, context: Context, metric: str) -> str:
    """Return the data set that the value is about by the nearest text that names one. Raises ValueError."""
    fitting = {"coco"} if metric in DETECTION else {"imagenet-1k", "emotion"}
    near = [value.label.datasets, *(read_datasets(text) for text in value.near)]
    for place, names in enumerate([*near, *context.general]):
        ours, others = names & fitting, names - TASKS.keys()
        is_general, is_label = place >= len(near), place == 0
        if is_general:
            others = {name for name in others if not PRETRAINING.search(name)}
        if len(ours) == 1 and not others:
            return min(ours)
        if others and (is_label or not ours):
            raise ValueError(f"another data set: {', '.join(sorted(others))[:60]}")
    raise ValueError("no data set")


def find_split(value: Value) -> str | None:
    """Return the split that the value's label or the nearest text names. Raises ValueError for `train`."""
    splits = value.label.splits
    if len(splits) > 1 or splits & {"train", "training"}:
        raise ValueError(f"split: {', '.join(sorted(splits))}")
    for names in (splits, *(read_splits(text) for text in value.near)):
        if len(names) == 1:
            return min(names)
    return None


def read_number(value: Value, metric: str) -> tuple[float, float | None, float, str]:
    """Return number, error, fraction and unit of a value as written. Raises ValueError."""
    if not value.written[0].isdigit():
        raise ValueError(f"bound or approximation: {value.written}")
    number, error, is_percent = read_value(value.written.replace(" percent", "%"), metric)
    is_percent = is_percent or (value.label.is_percent and number > 1)
    fraction, unit = as_fraction(metric, number, is_percent)
    if fraction is None:
        raise ValueError("ambiguous unit")
    return number, error, fraction, unit


def merge_claims(claims: list[TextClaim]) -> list[TextClaim]:
    """Return each claim once, where it stands first; a split may be stated elsewhere."""
    merged: list[TextClaim] = []
    for claim in sorted(claims, key=lambda claim: claim.line):
        for place, other in enumerate(merged):
            if is_same_claim(claim, other):
                if other.split is None:
                    merged[place] = msgspec.structs.replace(other, split=claim.split)
                break
        else:
            merged.append(claim)
    return merged


def is_same_claim(claim: TextClaim, other: TextClaim) -> bool:
    """Say whether two claims are the same value, written with more or fewer digits."""
    if (claim.metric, claim.dataset) != (other.metric, other.dataset):
        return False
    if claim.split and other.split and claim.split != other.split:
        return False
    return abs(claim.fraction - other.fraction) < 1.01 * max(last_digit(claim), last_digit(other))


def last_digit(claim: TextClaim) -> float:
    """Return what the last digit written is worth, as a fraction."""
    digits = str(claim.value).rstrip("% ").partition(".")[2]
    return 10.0 ** -(len(digits) + 2 * (claim.unit == "percent"))
