"""Find what is about a model in its card, by its name, size, resolution or suffix."""

import functools
import re
from dataclasses import dataclass, replace

from scored.card_labels import Label, read_label

LONGEST_RUN = 5  # parts of a name that may be written together: "RT-DETR" and "rtdetr"

PART = re.compile(
    r"(?<![a-z])in\d+k|(?:patch|window)\d+|\d+k(?![a-z])"
    r"|x{1,3}[-_ ]?(?:small|large|s|l)(?![a-z])|[a-z]+|\d+(?:\.\d+)?"
)
PATCH = re.compile(r"(?<=[a-z\d])/(\d{1,2})\b")  # as in ViT-B/16
SHORT = dict(  # a reader takes these for the same
    pair.split("=")
    for pair in "n=nano t=tiny s=small m=medium b=base l=large h=huge g=giant x=xlarge xl=xlarge xs=xsmall "
    "xxs=xxsmall xxl=xxlarge resnet=r".split()
)
SIZES = set(SHORT.values()) - {"r"}
FORMATS = {"int", "uint", "fp", "bf", "float"}
NEUTRAL = set(  # parts of an id that name the data set, the task or the library, and so no other model
    "in1k 1k imagenet coco emotion hf ft finetuned finetune fine tuned model models detection detector "
    "classification classifier image object text pytorch torch onnx tflite keras tf timm".split()
)
USUAL_SIDES = frozenset({"224", "640"})  # pixels, of classifiers and detectors; seldom stated in a row
NOTE = re.compile(r"\b\d+ ?(?:epochs?|ep)\b|\bpre-?trained\b", re.I)  # in a label, of no name
OBJECTS365 = re.compile(r"\bobj(?:ects)?[- ]?365\b")
OWN_PHRASE = re.compile(r"\b(?:ours?|this (?:model|work|repository|checkpoint))\b")
HUB_LINK = re.compile(r"huggingface\.co/([\w.-]+/[\w.-]+)")


@dataclass(frozen=True)
class ModelNames:
    """The names under which a card may speak of its model."""

    model_id: str
    names: tuple[str, ...]  # of the repository, then of the one that it was duplicated from


@dataclass(frozen=True)
class Entry:
    """A row or a column of a table, as far as it tells which model it is about."""

    label: str
    links: tuple[str, ...]  # of the label
    all_links: tuple[str, ...]  # of the whole row
    sides: frozenset[str] = USUAL_SIDES  # the image sizes in pixels that it states


@dataclass(frozen=True)
class Match:
    """How far a label names the model: the number of the name's parts, and the parts that it leaves out."""

    covered: int
    left_out: tuple[str, ...] = ()


def name_parts(name: str) -> list[str]:
    """Cut a name into words and numbers, with short sizes written out."""
    parts = PART.findall(OBJECTS365.sub("o365", PATCH.sub(r"-patch\1", name.casefold())))
    return [SHORT.get(re.sub(r"[-_ ]", "", part), re.sub(r"[-_ ]", "", part)) for part in parts]


def glued_parts(name: str) -> set[str]:
    """Return the letters, but for sizes, that follow a number without a separator, as `vd` in `r50vd`."""
    return {part for part in re.findall(r"(?<=\d)[a-z]{2,}", name.casefold()) if part not in SHORT}


@functools.lru_cache(64)
def name_spans(name: str) -> tuple[list[str], dict[str, range]]:
    """Return a name's parts, and the places of each run of them that may be written together."""
    parts = name_parts(name)
    spans: dict[str, range] = {}
    for begin in range(len(parts)):
        for end in range(begin + 1, min(begin + LONGEST_RUN, len(parts)) + 1):
            spans.setdefault("".join(parts[begin:end]), range(begin, end))
    return parts, spans


def match_name(label: str, name: str) -> Match | None:
    """Return how far a label names the model `name`; None if it holds a part that the name does not."""
    parts, spans = name_spans(name)
    wanted = name_parts(label)
    covered: set[int] = set()
    position = 0
    while position < len(wanted):
        for end in range(min(position + LONGEST_RUN, len(wanted)), position, -1):
            span = spans.get("".join(wanted[position:end]))
            if span is not None:
                covered.update(span)
                position = end
                break
        else:
            return None
    if not covered:
        return None
    glued = glued_parts(name)
    left_out = [part for index, part in enumerate(parts) if index not in covered and part not in glued]
    return Match(len(covered), tuple(left_out))


def is_whole_name(match: Match, sides: frozenset[str] = USUAL_SIDES, tagged: str = "") -> bool:
    """Say whether what a label leaves out of the name tells no two models apart.

    `sides` are the image sizes in pixels that the label's row states, or else the usual ones; `tagged` is a
    name as timm's, architecture and tag of the weights, where the table does not tell weights apart.
    """
    tag = set(name_parts(tagged.partition(".")[2]))
    if not tag & {"in1k", "coco"} or any(re.fullmatch(r"in\d\d+k", part) for part in tag):
        tag = set()
    for part in match.left_out:
        if part not in NEUTRAL | sides | tag and not part.startswith(("patch", "window")):
            return False
    return True


def match_label(label: str, name: str) -> Match | None:
    """Return how far a label names the model by its whole text, or without data set, split and notes."""
    understood = read_label(label)
    besides = NOTE.sub(" ", " ".join((*understood.rest, *understood.numbers)))
    return match_text(label, name) or match_name(besides, name)


def match_text(label: str, name: str) -> Match | None:
    """Return how far a label names the model by its whole text, with or without notes."""
    return match_name(label, name) or match_name(NOTE.sub(" ", label), name)


def linked_models(links: tuple[str, ...]) -> set[str]:
    """Return the ids of the Hub's models among these addresses, in lower case."""
    models = {model.casefold() for link in links for model in HUB_LINK.findall(link)}
    return {model for model in models if not model.startswith(("datasets/", "spaces/"))}


def own_entries(entries: list[Entry], model: ModelNames) -> list[tuple[int, str]]:
    """Return the places of the entries that name this model, each with the name that they use."""
    for name in model.names:
        places = entries_of_name(entries, model.model_id, name)
        if places:
            return [(place, name) for place in places]
    own = [place for place, entry in enumerate(entries) if OWN_PHRASE.search(entry.label.casefold())]
    return [(own[0], "")] if len(own) == 1 else []


def entries_of_name(entries: list[Entry], model_id: str, name: str) -> list[int]:
    """Return the places of the entries that use a name best; none if two labels do so equally well."""
    own_id = model_id.casefold()
    linking = [place for place, entry in enumerate(entries) if own_id in linked_models(entry.all_links)]
    if len(linking) == 1:  # several are files of one repository, or several image sizes
        return linking
    matches = []
    for entry in entries:
        matches.append(None if is_linked_elsewhere(entry, name) else match_label(entry.label, name))
    most = max((match.covered for match in matches if match), default=0)
    best = [place for place, match in enumerate(matches) if match and match.covered == most]
    if len({" ".join(name_parts(entries[place].label)) for place in best}) > 1:
        return []
    if names_variants([entry.label for entry in entries]):
        return best
    has_tags = any("." in entry.label for entry in entries)
    tagged = "" if has_tags else name
    return [place for place in best if is_whole_name(matches[place], entries[place].sides, tagged)]


def is_linked_elsewhere(entry: Entry, name: str) -> bool:
    """Say whether an entry's label links to a model of another name than this one's."""
    names = {model.rpartition("/")[2] for model in linked_models(entry.links)}
    return bool(names) and name.casefold() not in names


def names_variants(labels: list[str]) -> bool:
    """Say whether the labels are sizes, numbers or formats, as INT8 and FP32; "base" may be a base model."""
    sizes = 0
    for label in labels:
        parts = name_parts(label)
        if not all(part in SIZES | FORMATS or part.isdigit() for part in parts):
            return False
        sizes += set(parts) <= SIZES
    return len(labels) > 1 and sizes != 1


def explain_rest(label: Label, name: str, is_whole: bool = False) -> Label:
    """Leave out the words of a label that are of the model's name, as INT8 in "INT8 accuracy".

    With `is_whole` they must name this model and no other, as in "YOLOS-tiny reaches an AP of 28.7".
    """
    match = match_name(" ".join((*label.rest, *label.numbers)), name)
    if match is None or (is_whole and not is_whole_name(match)):
        return label
    return replace(label, rest=(), numbers=())


def read_besides(text: str, name: str) -> Label:
    """Read what a label that holds the model's name says besides."""
    if match_text(text, name):
        return Label()
    return replace(read_label(text), rest=(), numbers=())
