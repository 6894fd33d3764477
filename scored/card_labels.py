"""Read the words of a card that say what a value is: metric, data set, split, and what is left over.

A label (a table's header, the words around a number) is understood as a whole or not at all: each word is a
metric, a data set, a split or a filler; what is left over must be explained by the model's own name.
"""

import functools
import re
from dataclasses import dataclass

from ptm import VOCABULARY, Rejected, metric_name

# ── Metrics ───────────────────────────────────────────────────────────────────────────────────────────────

# Each rewrites a spelling to one word. Order matters: a range of IoU before a single one.
SPELLINGS = [
    (re.compile(r"\b(?:mean )?average precision\b"), " ap "),
    (re.compile(r"[@(\[ ]*(?<![\w.])(?:iou ?[=:@]? ?)?0?\.?50? ?[:\-–~] ?(?:0?\.?05 ?[:\-–] ?)?0?\.?95\b[)\]]*"), " "),
    (re.compile(r"(ap)[@(\[ ]*(?:iou)? ?[=:@>≥]* ?(?:0?\.)?50?(?![\d.])[)\]]*"), r"\1_50 "),
    (re.compile(r"(ap)[@(\[ ]*(?:iou)? ?[=:@>≥]* ?(?:0?\.)?75(?![\d.])[)\]]*"), r"\1_75 "),
    (re.compile(r"\b(?:accuracy|acc|prec|precision)\.? ?@ ?(?:top)?-? ?(\d{1,2})\b(?! ?[a-z])"), r" top_\1 "),
    (re.compile(r"\bacc([15])\b"), r" top_\1 "),
    (re.compile(r"\btop ?[-@]? ?(\d{1,2})\b"), r" top_\1 "),
    (re.compile(r"\b\d{2,4} ?[x×] ?\d{2,4}\b"), " "),  # an image size
    (re.compile(r"\bf[- ]?1\b|\bf[- ]?score\b|\bf[- ]measure\b"), " f1 "),
]
AVERAGES = {"macro", "micro", "weighted"}
AVERAGED = {"f1", "precision", "recall"}
DETECTION = {"AP", "AP50", "AP75"}

# ── Data sets ─────────────────────────────────────────────────────────────────────────────────────────────

IMAGENET = re.compile(
    r"(?<![\w.])(?:image[- ]?net|ilsvrc|in(?=-?(?:1k|v2|21k|22k|12k|real)\b))(?!(?!v\d|val)[a-z])"
    r"(?:[-_ ]?(?:ilsvrc|lsvrc|1k|1000|2012|12|val|validation)(?!\w))*"
    r"(?:-(a|r|c|o|d|s|w|lt|p)(?![\w-])"
    r"|[-_ ]?(v\d|sketch|real|rendition|adversarial|hard|\d+k|100|10)(?![\w-]))?"
)
NOT_EVALUATED = re.compile(  # data that a model or its preprocessing comes from
    r"\b(?:image[- ]?net|coco)(?:[- ]?(?:1k|21k|22k|12k))?(?: \(?ilsvrc\w*\)?)?[- ](?:default |standard )?"
    r"(?:mean|std|stat|normali|pre-?train|weight|init|class|categor|label|backbone|checkpoint|api|format|style)\w*"
    r"|\bpre-?train\w*(?: \w+){0,6}? (?:on|with|using|dataset:?) [^.;\n]*?(?=\band\b|\bthen\b|[.;,\n]|$)"
)
COCO = re.compile(
    r"(?<![\w.])(?:ms[- ]?)?coco(?![a-z])(?:[-_ ]?(?:2017|17|detection|object detection|val|validation|minival)(?!\w)"
    r"|[-_ ]?val2017\b)*"
    r"(?:[-_ ]?(2014|2015|2016|captions?|panoptic|stuff|key-?points?|whole-?body|pose)|-(text|c|o))?(?!\w)"
)
EMOTION = re.compile(
    r"(?:\bdatasets/)?\b(?:dair-ai|setfit)/emotion\b(?![-/\w])|\bdatasets/emotion\b(?![-/\w])|[?]dataset=emotion\b"
    r"|(?:\b(?:the|on|hugging ?face(?:'s)?) |^)\W?emotion\W? (?:data ?set|corpus|benchmark)\b|^\W?emotion\W?$"
)
NAMED = re.compile(r"\b(?:on|from|using|of|for) (?:the |an? )?((?:(?!(?:on|from|using|of|for|with|and)\b)[\w./:+-]+ ){1,4}?)(?:data ?sets?|corpus|corpora)\b")
OTHERS = re.compile(
    r"\b(?:cifar-?\d*|go[-_ ]?emotions?|tweet[-_ ]?eval|object-?net|objects-?365|ade-?20k|pascal(?: voc)?|voc(?:2007|2012)?"
    r"|lvis|open ?images|crowd ?human|cityscapes|places-?365|mnist|food-?101|inat(?:uralist)?\w*|laion\w*|jft\w*|cppe-?5"
    r"|sst-?2|imdb|meld|isear|daily ?dialog|sem-?eval\w*|vtab|oxford[- ]\w+|flowers-?\w*|stanford cars)\b"
)
NOT_A_NAME = set(  # "the large training data set" names none
    "the a an this that same our full whole entire large small new given original following labeled public held-out "
    "evaluation eval test validation training train val dev image text downstream benchmark different several multiple "
    "other any all each of in on and".split()
)

# ── Splits ────────────────────────────────────────────────────────────────────────────────────────────────

SPLIT_WORD = {"val": "validation", "valid": "validation", "dev": "validation", "minival": "validation"}
SPLIT_IN_LABEL = re.compile(r"\b(test-dev|validation|valid|val|dev|minival|testing|test|training|train)(?:-?2017)?\b")
SPLIT_IN_TEXT = re.compile(
    r"\b(?:(test-dev)|(minival|val)-?2017|(validation|valid|val|dev|test|training|train)[- ]"
    r"(?:split|sub-?set|partition|data ?set|set|data|metrics|results|accuracy)"
    r"|(?:2017|imagenet(?:-1k)?|coco|ilsvrc ?2012|1k) (validation|val|test)(?: set)?)\b"
)
FILLERS = set(
    # nouns that add nothing
    "score scores value values metric metrics result results performance performances set split dataset data number "
    "evaluation eval evaluated evaluating model models bbox box b final overall best held out full entire "
    "official image images text classification object detection task benchmark all percent "
    "resolution input size pixels px npu ipu cpu gpu "
    # the frame of a sentence
    "this the it its our we an a of is was are were be to at on in for by with and following has have had that which "
    "achieves achieve achieved achieving reaches reach reached reaching obtains obtain obtained obtaining gets get got "
    "yields yield yielded attains attain attained scored scoring tested validated shows able can when trained fine tuned finetuned "
    "resulting gives gave hit hits here"
    .split()
)  # fmt: skip


WORD = re.compile(r"[^\W_]+(?:[_.'][^\W_]+)*")
FIGURE = r"\d{1,3}(?:[.,]\d+)?(?: ?%| percent\b)?(?: ?(?:±|\+/?-) ?\d+(?:\.\d+)?(?: ?%)?)?"
BOUND = r"(?:[~≈><≥≤]|\b(?:about|around|approximately|over|nearly|almost|above|below|under|up to)\b)"
WRITTEN = re.compile(f"(?:{BOUND} ?)?{FIGURE}")
NUMBER = re.compile(rf"(?:{BOUND} ?)?(?<![\w.,/×-]){FIGURE}(?![\w×/-]|[.,]\d)")  # not a part of a name or a range


@dataclass(frozen=True)
class Label:
    """What the words beside a value say."""

    metrics: frozenset[str] = frozenset()
    averages: frozenset[str] = frozenset()
    datasets: frozenset[str] = frozenset()
    splits: frozenset[str] = frozenset()
    rest: tuple[str, ...] = ()  # words that are not understood
    numbers: tuple[str, ...] = ()
    is_box: bool = False
    is_percent: bool = False

    def __add__(self, other: "Label") -> "Label":
        """Return what two labels of one value say together."""
        return Label(
            self.metrics | other.metrics,
            self.averages | other.averages,
            self.datasets | other.datasets,
            self.splits | other.splits,
            self.rest + other.rest,
            self.numbers + other.numbers,
            self.is_box or other.is_box,
            self.is_percent or other.is_percent,
        )

    @property
    def metric(self) -> str | None:
        """The metric that these words together name: top-5 and accuracy are one, F1 and recall are two."""
        names = set(self.metrics)
        if "accuracy" in names:
            names = {name for name in names if name.startswith("accuracy-")} or names
        if "mAP" in names:
            names = {name for name in names if name in DETECTION} or names
        if len(names) != 1 or len(self.averages) > 1:
            return None
        metric = names.pop()
        if metric in AVERAGED and self.averages:
            return f"{metric}-{min(self.averages)}"
        return metric


@dataclass(frozen=True)
class Value:
    """A number of the card with the words that say what it is."""

    written: str
    label: Label
    line: int
    where: str  # table, list or sentence
    text: str  # the cell or clause, to show beside a reason
    heading: str
    near: tuple[str, ...]  # texts that may name the data set and the split, the nearest first


def reject(reason: str, line: int, text: str) -> Rejected:
    """Return what looks like a claim and is not taken, with the reason."""
    return Rejected(reason, {"line": line, "text": text.strip()[:200]})


def normalise(text: str) -> str:
    """Return lower-case text with one space between words."""
    return re.sub(r"\s+", " ", text.casefold().replace("‑", "-")).strip()


@functools.lru_cache(4096)
def take_datasets(text: str) -> tuple[frozenset[str], str]:
    """Return the data sets that a normalised text is about, and the text without them."""
    names: set[str] = set()

    def take_imagenet(match: re.Match) -> str:
        other = match[1] or match[2]
        names.add(f"imagenet-{other}" if other else "imagenet-1k")
        return " val " if "val" in match[0] else " "

    def take_coco(match: re.Match) -> str:
        other = match[1] or match[2]
        names.add(f"coco-{other}" if other else "coco")
        return " val " if "val" in match[0] else " "

    def take_emotion(match: re.Match) -> str:
        names.add("emotion")
        return " "

    def take_other(match: re.Match) -> str:
        names.add(match[0].strip())
        return " "

    def take_named(match: re.Match) -> str:
        name = " ".join(word for word in match[1].split() if word not in NOT_A_NAME)
        if name:
            names.add(name)
        return " " if name else match[0]

    text = NOT_EVALUATED.sub(" ", text)
    text = OTHERS.sub(take_other, text)
    text = EMOTION.sub(take_emotion, text)
    text = IMAGENET.sub(take_imagenet, text)
    text = COCO.sub(take_coco, text)
    text = NAMED.sub(take_named, text)
    return frozenset(names), text


@functools.lru_cache(4096)
def read_label(text: str) -> Label:
    """Read a table's header, a row's name, or a clause."""
    datasets, text = take_datasets(normalise(text))
    text = text.replace("_", " ")
    splits = frozenset(SPLIT_WORD.get(name, name) for name in SPLIT_IN_LABEL.findall(text))
    text = SPLIT_IN_LABEL.sub(" ", text)
    for spelling, word in SPELLINGS:
        text = spelling.sub(word, text)
    numbers = tuple(match[0] for match in NUMBER.finditer(text))
    text = NUMBER.sub(" ", text)
    metrics, averages, rest = set(), set(), []
    for word in WORD.findall(text):
        metric = read_metric(word)
        if metric:
            metrics.add(metric)
        elif word in AVERAGES:
            averages.add(word)
        elif word not in FILLERS:
            rest.append(word)
    if averages:
        rest = [word for word in rest if word not in ("avg", "average", "averaged")]
    return Label(
        frozenset(metrics),
        frozenset(averages),
        datasets,
        splits,
        tuple(rest),
        numbers,
        bool(re.search(r"\b(?:box|bbox)\b|\(b\)", text)),
        "%" in text,
    )


def read_metric(word: str) -> str | None:
    """Return the vocabulary's metric for one word of a spelled text."""
    if word.startswith("top_"):
        return "accuracy" if word == "top_1" else f"accuracy-top{word[4:]}"
    metric = metric_name(word.replace("_", ""))
    return metric if metric in VOCABULARY["metrics"] else None


def read_splits(text: str) -> frozenset[str]:
    """Return the evaluation splits that a paragraph or a heading names."""
    names = [name for match in SPLIT_IN_TEXT.findall(normalise(text)) for name in match if name]
    return frozenset(SPLIT_WORD.get(name, name) for name in names if not name.startswith("train"))
