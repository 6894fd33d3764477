"""Read the words beside a value in a card: which metric, which data set, which split, and what is left over.

A label (a table's header, a row's name, a clause) is understood as a whole or not at all. Each word is of a
metric, a data set or a split, or adds nothing (`FILLERS`); what is left over is for the caller to explain.
"""

import functools
import re
from dataclasses import dataclass

from scored.claims import VOCABULARY, Rejected, metric_name

# ── Metrics ───────────────────────────────────────────────────────────────────────────────────────────────

IOU_RANGE = r"[@(\[ ]*(?<![\w.])(?:iou ?[=:@]? ?)?0?\.?50? ?[:\-–~] ?(?:0?\.?05 ?[:\-–] ?)?0?\.?95\b[)\]]*"
ONE_IOU = r"(ap)[@(\[ ]*(?:iou)? ?[=:@>≥]* ?(?:0?\.)?{}(?![\d.])[)\]]*"
SPELLINGS = [  # each becomes one word; a range of IoU before a single one
    (re.compile(r"\b(?:mean )?average precision\b"), " ap "),
    (re.compile(IOU_RANGE), " "),
    (re.compile(ONE_IOU.format("50?")), r"\1_50 "),
    (re.compile(ONE_IOU.format("75")), r"\1_75 "),
    (re.compile(r"\b(?:accuracy|acc|prec|precision)\.? ?@ ?(?:top)?-? ?(\d{1,2})\b(?! ?[a-z])"), r" top_\1 "),
    (re.compile(r"\bacc([15])\b"), r" top_\1 "),
    (re.compile(r"\btop ?[-@]? ?([1-9]\d?)\b(?!\.\d)"), r" top_\1 "),
    (re.compile(r"\bf[- ]?1\b|\bf[- ]?score\b|\bf[- ]measure\b"), " f1 "),
    (re.compile(r"\bbalanced acc(?:uracy)?\b"), " balancedaccuracy "),
    (re.compile(r"\b\d{2,4} ?[x×] ?\d{2,4}\b"), " "),  # an image size
]
BOX = re.compile(r"\b(?:box|bbox)\b|\(b\)")
AVERAGES = {"macro", "micro", "weighted"}
AVERAGED = {"f1", "precision", "recall"}
DETECTION = {"AP", "AP50", "AP75"}

# ── Data sets ─────────────────────────────────────────────────────────────────────────────────────────────

IMAGENET = re.compile(  # group 1 or 2: what makes it another data set
    r"(?<![\w.])(?:image[- ]?net|ilsvrc|in(?=-?(?:1k|v2|21k|22k|12k|real)\b))(?!(?!v\d|val)[a-z])"
    r"(?:[-_ ]?(?:ilsvrc|lsvrc|1k|1000|2012|12|val|validation)(?!\w))*"
    r"(?:-(a|r|c|o|d|s|w|lt|p)(?![\w-])"
    r"|[-_ ]?(v\d|sketch|real|rendition|adversarial|hard|\d+k|100|10)(?![\w-]))?"
)
COCO = re.compile(
    r"(?<![\w.])(?:ms[- ]?)?coco(?![a-z])"
    r"(?:[-_ ]?(?:2017|17|detection|object detection|val|validation|minival)(?!\w)|[-_ ]?val2017\b)*"
    r"(?:[-_ ]?(2014|2015|2016|captions?|panoptic|stuff|key-?points?|whole-?body|pose)|-(text|c|o))?(?!\w)"
)
EMOTION = re.compile(
    r"(?:\bdatasets/)?\b(?:dair-ai|setfit)/emotion\b(?![-/\w])|\bdatasets/emotion\b(?![-/\w])"
    r"|(?:\b(?:the|on|hugging ?face(?:'s)?) |^)\W?emotion\W? (?:data ?set|corpus|benchmark)\b|^\W?emotion\W?$"
)
NAMED = re.compile(  # "on the go_emotions dataset"
    r"\b(?:on|from|using|of|for) (?:the |an? )?"
    r"((?:(?!(?:on|from|using|of|for|with|and)\b)[\w./:+-]+ ){1,4}?)(?:data ?sets?|corpus|corpora)\b"
)
NAMELESS = set(  # "the large training data set" names none
    "the a an this that same our full whole entire large small new given original following labeled public "
    "held-out evaluation eval test validation training train val dev image text downstream benchmark "
    "different several multiple various many other any all each of in on and "
    "classification detection object language vision large-scale standard popular common".split()
)
OTHERS = re.compile(  # well-known data sets for the same tasks, often named without "data set"
    r"\b(?:cifar-?\d*|mnist|go[-_ ]?emotions?|tweet[-_ ]?eval|object-?net|objects-?365|ade-?20k"
    r"|pascal(?: voc)?|voc(?:2007|2012)|lvis|open ?images|crowd ?human|cityscapes|places-?365|food-?101"
    r"|inat(?:uralist)?\w*|laion\w*|jft\w*|cppe-?5|sst-?2|imdb|meld|isear|daily ?dialog|sem-?eval\w*|vtab"
    r"|stanford cars)\b"
)
NOT_EVALUATED = re.compile(  # the source of weights or preprocessing: "pre-trained on …", "ImageNet mean"
    r"\b(?:image[- ]?net|coco)(?:[- ]?(?:1k|21k|22k|12k))?(?: \(?ilsvrc\w*\)?)?[- ](?:default |standard )?"
    r"(?:mean|std|stat|normali|pre-?train|weight|init|class|categor|label|backbone|checkpoint|api|format|style)\w*"
    r"|\bpre-?train\w*(?: \w+){0,6}? (?:on|with|using|dataset:?) [^.;\n]*?(?=\band\b|\bthen\b|[.;,\n]|$)"
)

# ── Splits, numbers, and words that add nothing ───────────────────────────────────────────────────────────

SPLIT_OF = {"val": "validation", "valid": "validation", "dev": "validation", "minival": "validation"}
SPLIT_IN_LABEL = re.compile(
    r"\b(test-dev|validation|valid|val|dev|minival|testing|test|training|train)(?:-?2017)?\b"
)
SPLIT_IN_TEXT = re.compile(
    r"\b(?:(test-dev)|(minival|val)-?2017|(validation|valid|val|dev|test)[- ]"
    r"(?:split|sub-?set|partition|data ?set|set|data|metrics|results|accuracy)"
    r"|(?:2017|imagenet(?:-1k)?|coco|ilsvrc ?2012|1k) (validation|val|test)(?: set)?)\b"
)
FILLERS = set(
    # nouns that add nothing
    "score scores value values metric metrics result results performance set split dataset data number "
    "evaluation eval evaluated evaluating model models bbox box b final overall best held out full "
    "entire official image images text classification object detection task benchmark all percent resolution "
    "input size pixels px npu ipu cpu gpu "
    # the frame of a sentence
    "this the it its our we an a of is was are were be to at on in for by with and following has have had "
    "been also can able when achieves achieve achieved achieving reaches reach reached reaching obtains "
    "obtain obtained obtaining gets get got yields yield yielded attains attain attained scored scoring "
    "tested validated shows gives gave trained fine tuned finetuned resulting here good high strong "
    "competitive impressive".split()
)
WORD = re.compile(r"[^\W_]+(?:[_.'][^\W_]+)*")
FIGURE = r"\d{1,3}(?:[.,]\d+)?(?: ?%| percent\b)?(?: ?(?:±|\+/?-) ?\d+(?:\.\d+)?(?: ?%)?)?"
BOUND = r"(?:[~≈><≥≤]|\b(?:about|around|approximately|over|nearly|almost|above|below|under|up to)\b)"
WRITTEN = re.compile(f"(?:{BOUND} ?)?{FIGURE}")
NUMBER = re.compile(rf"(?:{BOUND} ?)?(?<![\w.,/×-]){FIGURE}(?![\w×/-]|[.,]\d)")  # no part of a name


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
        return "accuracy" if metric == "accuracy-top1" else metric


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

    def take_known(name: str, match: re.Match) -> str:
        variant = match[1] or match[2]
        names.add(f"{name.removesuffix('-1k')}-{variant}" if variant else name)
        return " val " if "val" in match[0] else " "

    def take_other(match: re.Match) -> str:
        names.add(match[0])
        return " "

    def take_named(match: re.Match) -> str:
        name = " ".join(word for word in match[1].split() if word not in NAMELESS)
        if not name:
            return match[0]
        if name != "emotion":  # "an emotion dataset" may be any
            names.add(f"{name} dataset")
        return " "

    text = NOT_EVALUATED.sub(" ", text)
    text = OTHERS.sub(take_other, text)
    if EMOTION.search(text):
        names.add("emotion")
    text = EMOTION.sub(" ", text)
    text = IMAGENET.sub(functools.partial(take_known, "imagenet-1k"), text)
    text = COCO.sub(functools.partial(take_known, "coco"), text)
    text = NAMED.sub(take_named, text)
    return frozenset(names), text


@functools.lru_cache(4096)
def read_label(text: str) -> Label:
    """Read a table's header, a row's name, or a clause."""
    datasets, text = take_datasets(normalise(text))
    text = text.replace("_", " ")
    splits = frozenset(SPLIT_OF.get(name, name) for name in SPLIT_IN_LABEL.findall(text))
    text = SPLIT_IN_LABEL.sub(" ", text)
    for spelling, word in SPELLINGS:
        text = spelling.sub(word, text)
    numbers = tuple(match[0].strip() for match in NUMBER.finditer(text))
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
        bool(BOX.search(text)),
        "%" in text,
    )


def read_metric(word: str) -> str | None:
    """Return the vocabulary's metric for one word, after `SPELLINGS`."""
    if word.startswith("top_"):
        return f"accuracy-top{word[4:]}"
    metric = metric_name(word.replace("_", ""))
    return metric if metric in VOCABULARY["metrics"] else None


def read_splits(text: str) -> frozenset[str]:
    """Return the evaluation splits that a paragraph or a heading names."""
    names = [name for match in SPLIT_IN_TEXT.findall(normalise(text)) for name in match if name]
    return frozenset(SPLIT_OF.get(name, name) for name in names)
