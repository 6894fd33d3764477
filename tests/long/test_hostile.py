"""Hostile or broken cards, pages, files, images, texts and weights cost themselves and nothing else.

Inputs that hypothesis draws are the same in each run; there are more of them where CI is set.
"""

import itertools
import json
import os
import pickle
import signal
import struct
import sys
import types
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import audit
import detection
import err
import explain
import image_classification
import modelinfo
import profiles
import ptm
import results
import scored.hub
import sentiment_analysis
import toy
from harness import images, reference, runner
from harness.checkpoint import CannotMeasure, Model, describe_error, read_card
from harness.coco import annotation_columns
from harness.imagenet import synsets
from harness.runner import run_task
from harness.task import Data
from scored.claims import read_value
from scored.cli import run
from scored.files import UserError, atomic_write, read_json, write_json
from scored.hub_records import HubRecord, read_page, read_record
from zoo import COCO, PARTS_OF, coco_folder, encoded, examples, give_intervals, measure, photo, places

FEW, MANY = 100, 400  # inputs that hypothesis draws in CI
few, many = profiles.draw(FEW), profiles.draw(MANY)
# Any JSON, and what Python's reader takes for it: NaN, infinity, any integer, lone surrogates.
WORDS = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["", "\0", "\ud800", "\x1b[2J", "$\\bad$", "../x"]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([-1, 10**30, -(10**400), 1e308])
JUNK = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def no_hang():
    """Ends a test that hangs: nothing here takes more than a few seconds."""

    def end(*_):
        raise TimeoutError("a hang")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs a script's `main` as a user does: (exit code, stdout, stderr). One line where it is 2."""

    def go(main, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run(main)
        out, stderr = capsys.readouterr()
        code = end.value.code or 0
        assert code in (0, 1, 2)
        assert code != 2 or stderr.count("\n") == 1 or stderr.startswith("usage: "), stderr
        assert "Traceback" not in stderr
        return code, out, stderr

    return go


def changed(draw, value: object) -> object:
    """A copy of some JSON in which one to three places hold something else, or are gone."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        if not (result := places(value)):
            break
        node, key = result[draw(st.integers(0, len(result) - 1))]
        if draw(st.integers(0, 4)) == 0:
            del node[key]
        else:
            node[key] = draw(JUNK)
    return value


# ── What all scripts share ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.tried("a message that holds any text", FEW, "one printable line, exit code 2")
@few
@given(WORDS)
def test_message_is_one_printable_line(call, text):
    def main():
        print(text)
        raise UserError(f"bad {text}\n, do this")

    code, _, stderr = call(main)
    assert code == 2 and stderr.startswith("script: bad ") and stderr[:-1].isprintable()


@pytest.mark.tried(
    "NaN, infinity or endless nesting in one of our files", 7, "the file is named, exit code 2"
)
@pytest.mark.parametrize(
    "text", ["[NaN]", "[Infinity]", "[-1e999]", "[" * 10**5, "[" + "9" * 5000 + "]", "\ud800", ""]
)
def test_invalid_json_is_rejected(tmp_path, text):
    (tmp_path / "x.json").write_text(text, errors="surrogatepass")
    with pytest.raises(UserError, match=r"x\.json is truncated or invalid JSON"):
        read_json(tmp_path / "x.json", list)
    with pytest.raises(UserError, match="must hold an object or an array"):
        (tmp_path / "x.json").write_text("5")
        read_json(tmp_path / "x.json", dict | list)


@pytest.mark.tried("a value that JSON cannot hold, written to a file", 3, "the old file stays intact")
def test_value_outside_json_is_not_written(tmp_path):
    deep = []
    for _ in range(10_000):
        deep = [deep]
    write_json(tmp_path / "x.json", {"a": 1})
    for value in (float("nan"), float("inf"), deep):
        with pytest.raises(UserError, match=r"cannot write .*x\.json"):
            write_json(tmp_path / "x.json", [value])
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1} and len(list(tmp_path.iterdir())) == 1
    with atomic_write(tmp_path / "x.csv") as file:
        file.write("a\ud800b")
    assert (tmp_path / "x.csv").read_bytes() == b"a\\ud800b"


# ── Cards ─────────────────────────────────────────────────────────────────────────────────────────────────

RECORD = {
    "id": "a/b",
    "sha": "x",
    "tags": ["license:mit", "dataset:emotion"],
    "lastModified": "2026-01-01T00:00:00.000Z",
    "createdAt": "2022-03-02T23:29:04.000Z",
    "downloads": 5,
    "gated": False,
    "model-index": [
        {
            "name": "m",
            "results": [
                {
                    "task": {"type": "text-classification"},
                    "dataset": {"type": "emotion", "name": "emotion", "args": "split", "split": "test"},
                    "metrics": [{"type": "accuracy", "value": 0.9}, {"type": "f1", "value": "92,7 ± 1%"}],
                }
            ],
        }
    ],
    "evalResults": [{"filename": "x.yaml", "data": {"dataset": {"id": "a/b", "task_id": "c"}, "value": 1}}],
}

LONG = ["1" * 10**6 + "x", "1" + " " * 10**6 + "x", "1±" + "1," * 10**6 + "x", "1" + "." * 10**6, "," * 10**6]


@pytest.mark.tried("a stated value of a million characters", len(LONG), "rejected at once, no hang")
@pytest.mark.parametrize("value", LONG, ids=range(len(LONG)))
def test_value_of_a_million_characters_is_rejected(value):
    with pytest.raises(ValueError, match="not a number"):
        read_value(value, "accuracy")


METRIC = """---
model-index:
- results:
  - dataset: {type: emotion}
    metrics: [{type: accuracy, value: 0.9}, %s]
---
"""
BAD = {  # what stands beside a good claim -> is the good one kept?
    "{type: accuracy, value: x, 2020-01-01: x}": True,  # a key that JSON has not
    "{type: accuracy, value: x, ? [a, b] : x}": False,
    "{type: accuracy, value: x, null: y, true: z}": True,
    "{type: accuracy, value: !!binary aGVsbG8=}": True,
    "{type: accuracy, value: !!set {a, b}}": True,
    "{type: accuracy, value: 2020-01-01}": True,
    "{type: accuracy, value: .nan}": True,
    "{type: accuracy, value: -.inf}": True,
    "{type: accuracy, value: 0x%s}" % ("f" * 5000): False,
    "{type: accuracy, value: %s}" % ("9" * 5000): False,
    '{type: accuracy, value: "0.9\\ud800\\0"}': True,
    "{type: accuracy, value: 0.8, value: x}": True,
    "&a {type: accuracy, value: *a}": False,
    "&a [*a]": False,
    "!!python/object/apply:os.mkdir [ran]": False,
    "!!python/tuple [1]": False,
    "2020-99-99": False,
    "{<<: 3}": False,
    "[" * 3000 + "]" * 3000: False,
    "{a: " * 3000 + "1" + "}" * 3000: False,
    "*nobody": False,
    "\0": False,
    "é": True,
}
ALL = [*"abcdefghijkl"]
NINE = "".join(f"{b}: &{b} [{f'*{a}, ' * 9}]\n" for a, b in itertools.pairwise(ALL))
ONE = "model-index: [{results: [{dataset: {type: emotion}, metrics: [{type: accuracy, value: 0.9}]}]}]"
HUGE = [  # small cards that are large when read
    f"a: &a [x]\n{NINE}",
    f"a: &a {'x' * 10**5}\nb: [{'*a, ' * 10**3}]\n",
    f"a: &a {{{'x' * 10**3}: 1}}\nb: [{'*a, ' * 10**4}]\n",
    f"a: &a [{'1, ' * 9999}]\nb: &b [{'*a, ' * 9999}]\nc: [{'*b, ' * 9999}]\n",
    "a: 1\n" * 10**6,
]


def card(folder, text: str | bytes) -> ptm.PTM:
    (folder / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_card(Model("a/b", "", ("README.md",), str(folder)))


@pytest.mark.tried(
    "a model card in YAML of any kind", len(BAD) + len(HUGE) + 2, "at most its claims are lost"
)
def test_odd_yaml_costs_only_its_claims(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text, is_kept in BAD.items():
        result = card(tmp_path, METRIC % text)
        assert [claim.fraction for claim in result.claims] == ([0.9] if is_kept else []), text
    for text in [*(f"---\n{text}{ONE}\n---\n" for text in HUGE), b"---\nlicense: \xff\n---\n", b""]:
        assert card(tmp_path, text).claims == ()
    assert not (tmp_path / "ran").exists()


@pytest.mark.tried("a model card with any metadata", MANY, "read, or no claim")
@many
@given(st.data())
def test_card_with_any_metadata_is_read(tmp_path, data):
    import yaml

    index = changed(data.draw, RECORD)
    text = yaml.safe_dump(index) if data.draw(st.integers(0, 9)) else data.draw(WORDS)
    result = card(tmp_path, f"---\n{text}\n---\n".encode(errors="surrogatepass"))
    assert all(claim.fraction is None or abs(claim.fraction) < 1e9 for claim in result.claims)


# ── The Hub ───────────────────────────────────────────────────────────────────────────────────────────────

HUB = "http://hub.test"
URLS = [
    "http://evil.test/",
    f"{HUB}:99999/",
    "http://[::1/",
    f"{HUB}@evil.test/",
    "//evil.test",
    "",
    f"{HUB}/\0",
    "é",
]
DATES = [
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 2020 00:00:00 +99999999999999",
    "9" * 400,
    "9" * 5000,
]
DATES += [
    "Mon, 01 Jan 99999999999999 00:00:00 GMT",
    "Mon, 01 Jan 2020 99999999999999999999:00:00 GMT",
    "-1",
    "nan",
]
LIMITS = [f'"api";r=0;t={"9" * 400}', f'"api";r={"9" * 5000};t=1', '"api";r=0;t=-5', '"api";r=x', "r=0;t=1"]
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Date": st.sampled_from(DATES),
        "Retry-After": st.sampled_from(DATES),
        "RateLimit": st.sampled_from(LIMITS),
        "Link": st.sampled_from(URLS).map(lambda url: f'<{url}>; rel="next"') | st.just("<;;=>, x; rel=next"),
        "Location": st.sampled_from(URLS),
        "X-Error-Code": st.sampled_from(["RepoNotFound", "GatedRepo", "", "é"]),
        "X-Error-Message": st.sampled_from(["Access to this resource is disabled.", "\x1b[2J\n", "é" * 300]),
        "X-HF-Warning": st.sampled_from([";", "a;b", "é"]),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "zstd", "x"]),
        "Content-Type": st.sampled_from(["text/html", "application/json", "x/y; charset=\0"]),
    },
)
BODIES = JUNK.map(lambda value: json.dumps(value).encode()) | st.sampled_from(
    [
        b"",
        b"[",
        b"\xff\xfe",
        b"[" * 10**4,
        b"[" * 2000 + rb"\"" * 10**4,
        b'{"error": [5]}',
        b'{"errors": 5}',
        b"nan",
    ]
)
CODES = st.sampled_from([200, 200, 200, 204, 302, 304, 400, 401, 403, 404, 418, 429, 451, 500, 503, 599, 999])


@pytest.fixture
def answers(monkeypatch):
    """Lets a function request -> response stand for the network, and a clock that waits no time for time."""
    import httpx2
    import huggingface_hub.utils

    clock, result = itertools.count(), {}
    sleep = lambda seconds: [next(clock) for _ in range(int(seconds) + 1)]  # noqa: E731
    time = types.SimpleNamespace(monotonic=lambda: next(clock), sleep=sleep, time=lambda: 1.8e9)
    monkeypatch.setattr(scored.hub, "time", time)
    monkeypatch.setattr(scored.hub, "ATTEMPTS", 3)
    transport = httpx2.MockTransport(lambda request: result["answer"](request))
    client = httpx2.Client(transport=transport, follow_redirects=True)
    monkeypatch.setattr(huggingface_hub.utils, "get_session", lambda: client)
    return lambda answer: result.update(answer=answer)


@pytest.mark.tried("any status, headers and body from a Hub", MANY, "read, refused or given up, in one line")
@many
@given(CODES, HEADERS, BODIES, st.sampled_from([list, dict]))
def test_any_hub_response_is_read_or_refused(answers, code, headers, body, kind):
    import httpx2

    headers = {name: value.encode("latin-1", "replace") for name, value in headers.items()}
    answers(lambda request: httpx2.Response(code, headers=headers, content=body))
    hub = scored.hub.Hub(HUB, lambda text: None)
    try:
        answer = hub.get(f"{HUB}/api/models/a/b?x=1", read_record if kind is dict else read_page)
    except (UserError, scored.hub.HubRefused) as error:
        assert str(error)
        return
    assert isinstance(answer.value, list if kind is list else HubRecord | dict)
    assert not answer.next_url or answer.next_url.startswith(f"{HUB}/")


def strict(path) -> object:
    """The value in a file of strict JSON."""

    def constant(text: str):
        raise AssertionError(text)

    value = json.loads(path.read_bytes(), parse_constant=constant)
    assert all(abs(number) < float("inf") for number in numbers(value))
    return value


def numbers(value: object) -> list[float]:
    """Every number in nested JSON."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if type(value) in (int, float) else [n for item in inner for n in numbers(item)]


@pytest.mark.tried(
    "a page of the Hub with any JSON for records", FEW, "strict JSON; only the invalid record is lost"
)
@few
@given(st.data())
def test_page_of_any_records_loses_only_odd_ones(answers, tmp_path, capsys, data):
    import httpx2

    odd = [data.draw(JUNK) if data.draw(st.booleans()) else changed(data.draw, RECORD) for _ in range(4)]
    odd += [RECORD | {"id": data.draw(WORDS)}, RECORD | {"lastModified": data.draw(JUNK)}]
    page, date = json.dumps([*odd, RECORD | {"id": "good/one"}]).encode(), data.draw(st.sampled_from(DATES))
    answers(lambda request: httpx2.Response(200, content=page, headers={"Date": date}))
    output, ignore = tmp_path / "m.json", tmp_path / "i.json"
    for path in (output, ignore):
        path.unlink(missing_ok=True)
    arguments = ["--full", "--endpoint", HUB, "--output", str(output), "--ignore", str(ignore)]
    assert modelinfo.main(arguments) == 0
    result = {record["id"]: record for record in strict(output)}
    strict(ignore)
    assert result["good/one"] == RECORD | {"id": "good/one"}
    assert not any(c in name for name in result for c in "\0\x1b\ud800$\\") and "../x" not in result
    models = list(ptm.PTM.load(output))
    assert [model.id for model in models] == sorted(result)
    assert "Traceback" not in capsys.readouterr().err


# ── Images ────────────────────────────────────────────────────────────────────────────────────────────────

TURNS = [
    "",
    "FLIP_LEFT_RIGHT",
    "ROTATE_180",
    "FLIP_TOP_BOTTOM",
    "TRANSPOSE",
    "ROTATE_270",
    "TRANSVERSE",
    "ROTATE_90",
]


def png(width: int, height: int) -> bytes:
    """A small PNG that says that it is of this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")


def turned(turn: int) -> bytes:
    exif = Image.Exif()
    exif[images.ORIENTATION] = turn
    return encoded(photo(), "PNG", exif=exif)


def pixels(image: Image.Image) -> list:
    return np.asarray(image.convert("RGB")).tolist()


SAME = {  # what looks like the photo, whatever it is stored as -> how far its pixels may be off
    "png": (encoded(photo(), "PNG"), 0),
    "as webp, animated": (
        encoded(photo(), "WEBP", lossless=True, save_all=True, append_images=[photo().rotate(180)]),
        0,
    ),
    "as png, animated": (encoded(photo(), "PNG", save_all=True, append_images=[photo().rotate(180)]), 0),
    "jpeg in CMYK": (
        encoded(photo().resize((300, 200), 0).convert("CMYK"), "JPEG", quality=100, subsampling=0),
        9,
    ),
    "palette with transparency": (encoded(photo().quantize(256), "PNG", transparency=bytes(range(256))), 40),
    "gif, animated": (
        encoded(photo().quantize(256), "GIF", save_all=True, append_images=[photo().rotate(180)]),
        40,
    ),
    "with alpha": (encoded(photo().convert("RGBA"), "PNG"), 0),
}
UNREAD = {
    "empty": b"",
    "text": b"hello",
    "cut": encoded(photo(), "JPEG")[:-200],
    "cut png": encoded(photo(), "PNG")[:-200],
    "bomb": png(60_000, 60_000),
    "larger bomb": png(2**31 - 1, 2**31 - 1),
    "bomb below Pillow's limit": png(13_000, 13_000),
    "no pixels": png(0, 0),
    "16 bits": encoded(Image.fromarray(np.full((9, 9), 40_000, np.uint16)), "PNG"),
    "32 bits": encoded(Image.fromarray(np.full((9, 9), 400_000, np.int32)), "TIFF"),
    "floats": encoded(Image.fromarray(np.full((9, 9), 0.5, np.float32)), "TIFF"),
}


@pytest.mark.tried(
    "an image in an unusual format (CMYK, palette, alpha, animated)",
    len(SAME),
    "its first frame is read, as RGB",
)
@pytest.mark.parametrize("name", SAME)
@pytest.mark.filterwarnings("ignore:Palette images")
def test_unusual_image_format_is_read(name):
    raw, off = SAME[name]
    (view,) = images.decode_views(raw)
    assert view.mode == "RGB" and view.size in ((30, 20), (300, 200))
    result = np.asarray(view.resize((30, 20), Image.Resampling.NEAREST), int)
    assert np.abs(result - np.asarray(photo(), int)).mean() <= off


@pytest.mark.tried(
    "an image that is cut, empty, a bomb, or deeper than 8 bits", len(UNREAD), "skipped, with the reason"
)
@pytest.mark.parametrize("name", UNREAD)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_unreadable_image_is_reported(name):
    files = [encoded(photo(), "PNG"), UNREAD[name]]
    forward = lambda batch: [{"x": [1]} for _ in batch]  # noqa: E731
    result = list(
        images.batches(
            files.__getitem__,
            range(2),
            lambda image: {"x": np.zeros(1)},
            forward,
            types.SimpleNamespace(type="cpu"),
            4,
            {"x": "int32"},
        )
    )
    unread = {place: why for batch in result for place, why in batch.unreadable.items()}
    assert list(unread) == [1] and ": " in unread[1]
    assert [place for batch in result for place in batch.indices] == [0]


@pytest.mark.tried("each of the eight EXIF orientations, and two invalid ones", 10, "rotated as the tag says")
@pytest.mark.parametrize("turn", range(10))
def test_exif_orientation_is_applied(turn):
    views = images.decode_views(turned(turn))
    how = TURNS[turn - 1] if 2 <= turn <= 8 else ""
    wanted = [photo(), *([photo().transpose(Image.Transpose[how])] if how else [])]
    assert list(map(pixels, views)) == list(map(pixels, wanted))


@pytest.mark.tried("an EXIF block with any bytes changed", MANY, "the image is read as stored")
@many
@given(st.data())
@pytest.mark.filterwarnings("ignore")
def test_broken_exif_block_is_ignored(data):
    exif = Image.Exif()
    exif[images.ORIENTATION], exif[0x010F], exif[0x011A], exif[0x8769] = 6, "x" * 9, 1.5, {0x829A: (1, 50)}
    block = bytearray(exif.tobytes())
    for _ in range(data.draw(st.integers(1, 5))):
        block[data.draw(st.integers(6, len(block) - 1))] = data.draw(st.integers(0, 255))
    views = images.decode_views(encoded(photo(), "PNG", exif=bytes(block)))
    assert pixels(views[0]) == pixels(photo()) and len(views) <= 2


@pytest.mark.tried("image files with any bytes changed", FEW, "pixels, or the reason why there are none")
@few
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]), st.data())
@pytest.mark.filterwarnings("ignore")
def test_damaged_image_is_read_or_reported(kind, data):
    raw = bytearray(encoded(photo(), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        views = images.decode_views(bytes(raw))
    except Exception as why:
        assert describe_error(why)
    else:
        assert all(view.mode == "RGB" for view in views)


# ── Annotations, answers and texts ────────────────────────────────────────────────────────────────────────

BOXES = [
    [1, 1, -9, 9],
    [1, 1, 9, -9],
    [1e300, 1, 9, 9],
    [1, 2, 3],
    [None] * 4,
    ["1"] * 4,
    [True] * 4,
    "x",
    {},
    None,
]
BOXES += [[float("nan"), 1, 9, 9], [1, 1, float("inf"), 9]]
IDS = ["1", 1.0, 1.5, None, True, -1, 2**53 + 1, 2**63, 2**64, 10**400, [1], 9]
SIDES = [0, -1, "20", None, 1e9, 10**400, True, [1], 1.5]
WRONG = [  # where -> what no annotation file holds there
    *((("annotations", 0, "bbox"), box) for box in BOXES),
    *(
        (("annotations", 0, "area"), area)
        for area in (-1, "x", None, float("nan"), float("inf"), True, 10**400)
    ),
    *((("annotations", 0, "iscrowd"), crowd) for crowd in (-1, 2, "0", None, 0.5, True)),
    *((("annotations", 0, key), value) for key in ("image_id", "category_id") for value in IDS),
    *(((part, 0, "id"), value) for part in ("images", "categories") for value in IDS),
    *((("images", 0, key), value) for key in ("height", "width") for value in SIDES),
    *(
        (("images", 0, "file_name"), name)
        for name in ("..", "/", "", "\0", "x" * 5000, "\ud800", None, 5, "/etc/passwd")
    ),
    *((("categories", 0, "name"), name) for name in (None, 5, ["x"], "\ud800")),
    *(((part,), value) for part in COCO for value in (None, 5, {}, [5], [[]], "x")),
    *(((part,), [*COCO[part], COCO[part][0]]) for part in ("images", "categories")),  # twice
]


@pytest.mark.tried(
    "an annotation file with a wrong value", len(WRONG), "the file is named, exit code 2; no number"
)
def test_invalid_annotation_is_rejected(tmp_path):
    assert detection.load_data(coco_folder(tmp_path, json.dumps(COCO)), "validation").expected == 5000
    for path, value in WRONG:
        coco = json.loads(json.dumps(COCO))
        node = coco
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        with pytest.raises(UserError, match=r"not a COCO annotation file|images are missing"):
            pytest.fail(
                f"{path}: {value!r}",
                detection.load_data(coco_folder(tmp_path, json.dumps(coco)), "validation"),
            )


@pytest.mark.tried(
    "ids of images and categories that a double cannot hold", 8, "the file is named, exit code 2"
)
@pytest.mark.parametrize("part, key", [("images", "image_id"), ("categories", "category_id")])
@pytest.mark.parametrize("value", [-1, 2**53 + 1, 2**64, 10**400], ids=str)
def test_invalid_but_matching_ids_are_rejected(tmp_path, part, key, value):
    coco = json.loads(json.dumps(COCO))
    was, coco[part][0]["id"] = coco[part][0]["id"], value
    for annotation in coco["annotations"]:
        annotation[key] = value if annotation[key] == was else annotation[key]
    with pytest.raises(UserError, match=r"instances_val2017.json.*not a COCO annotation file"):
        detection.load_data(coco_folder(tmp_path, json.dumps(coco)), "validation")


def found_by(data: Data) -> pa.Table:
    """Two detections in each image: the annotated box as either category."""
    kinds = {"labels": pa.int32(), "scores": pa.float32(), "boxes": pa.float32()}
    values = {"labels": [0, 1], "scores": [0.9, 0.8], "boxes": [1.5, 1, 10.5, 10] * 2}
    n = len(data.examples)
    columns = {name: pa.array([values[name]] * n, pa.list_(kind)) for name, kind in kinds.items()}
    return pa.table(
        columns | {f"turned_{name}": pa.nulls(n, column.type) for name, column in columns.items()}
    )


@pytest.mark.tried(
    "an annotation file with any values", FEW, "the file is named, or the score is that of pycocotools"
)
@few
@given(st.data())
def test_any_annotations_are_rejected_or_scored_as_by_pycocotools(tmp_path, monkeypatch, data):
    give_intervals(monkeypatch)
    file = changed(data.draw, COCO)
    try:
        read = detection.load_data(coco_folder(tmp_path, json.dumps(file)), "validation")
    except UserError as why:
        assert "instances_val2017.json" in str(why) or "missing" in str(why)
        return
    about = {"labels": list(read.split_facts["categories"].values())}
    try:
        scores = detection.score(found_by(read), read, detection.PROTOCOLS["standard"], about)
    except CannotMeasure:
        return  # names that cannot be told apart, or no category at all
    json.dumps(scores, allow_nan=False)
    order, _ = detection.map_labels(about["labels"], read.split_facts["categories"])
    rows = detection.detections(found_by(read), read, detection.PROTOCOLS["standard"], order)
    ids = [image for image, *_ in read.examples]
    truth = annotation_columns(ids, read.targets)
    wanted = reference.coco_stats(ids, read.split_facts["categories"], truth, rows)
    assert list(scores["metrics"].values()) == [value for value in wanted if value >= 0]


ANSWERS = {  # file -> what it may hold and no answer can be read from
    "val.txt": [
        "a.jpg -1",
        "a.jpg 1000",
        "a.jpg 1.5",
        "a.jpg 1 2",
        "",
        "a.jpg \0",
        "\ud800",
        "a.jpg " + "9" * 5000,
    ],
    "LOC_val_solution.csv": [
        f"ImageId,PredictionString\na{rest}"
        for rest in ("", ",", ",n99 1", ",\0", "," + "x" * 200_000, ',"n')
    ],
    "ILSVRC2012_validation_ground_truth.txt": ["1", "x", "\ud800"],
}


@pytest.mark.tried(
    "a file of ImageNet labels without valid labels", sum(map(len, ANSWERS.values())), "named, exit code 2"
)
def test_invalid_imagenet_labels_are_rejected(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(photo(), "JPEG"))
    for name, texts in ANSWERS.items():
        for text in texts:
            (tmp_path / name).write_text(text, errors="surrogatepass")
            with pytest.raises(UserError, match=name):
                pytest.fail(text[:80], image_classification.load_data(tmp_path, "validation"))
        (tmp_path / name).unlink()


IMAGE = pa.array([{"bytes": b"x"}])
TABLES = {
    "no label": pa.table({"image": IMAGE}),
    **{
        f"label {kind}": pa.table({"image": IMAGE, "label": pa.array([value], kind)})
        for value, kind in [
            ("cat", pa.string()),
            (None, pa.int64()),
            (5.5, pa.float64()),
            (float("nan"), pa.float64()),
            ([5], pa.list_(pa.int64())),
            (-1, pa.int64()),
            (1000, pa.int64()),
            (b"\xff", pa.binary()),
        ]
    },
    **{
        f"about {text[:20]!r}": pa.table({"image": IMAGE, "label": [5]}, metadata={b"huggingface": text})
        for text in [b"{", b"[1]", b"\xff", b"[" * 10**5, b'{"info": [1]}', b'{"info": {"features": []}}']
        + [
            b'{"info": {"features": {"label": {"names": %s}}}}' % names
            for names in (b"5", b'["a", "b"]', b'{"a": 1}', b"[%s]" % b",".join([b"1"] * 1000))
        ]
    },
}
PARTS = 40  # places at which a Parquet file is cut, and at which one of its bytes is changed


@pytest.mark.tried("a Parquet file of images that is damaged or has other columns", len(TABLES) + 2 * PARTS,
                   "named, exit code 2, or read as it was")  # fmt: skip
def test_damaged_parquet_is_rejected(tmp_path):
    file = tmp_path / "validation-0.parquet"
    for name, table in TABLES.items():
        pa.parquet.write_table(table, file)
        with pytest.raises(UserError, match="arquet"):
            pytest.fail(name, image_classification.load_data(tmp_path, "validation"))
    pa.parquet.write_table(pa.table({"image": IMAGE, "label": [5]}), file)
    whole = file.read_bytes()
    assert image_classification.load_data(tmp_path, "validation").targets == [5]
    for part in range(PARTS):
        place = part * len(whole) // PARTS
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]):
            file.write_bytes(damaged)
            try:
                data = image_classification.load_data(tmp_path, "validation")
            except UserError as why:
                assert "arquet" in str(why)
            else:
                assert len(data.targets) == len(data.examples) and all(0 <= t < 1000 for t in data.targets)


TEXTS = ['"a\\ud800"', "[" * 10**5, "null", "5", '"\ud800"', "{", "NaN", "9" * 5000]


@pytest.mark.tried(
    "a line of a texts file without a valid text", len(TEXTS), "the line is named, exit code 2"
)
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_invalid_text_is_rejected(tmp_path, text):
    line = f'{{"text": {text}, "label": 1}}'
    (tmp_path / "test.jsonl").write_text(f'{{"text": "a", "label": 1}}\n{line}\n', errors="surrogatepass")
    with pytest.raises(UserError, match=r"line 2|test\.jsonl: .* codec"):
        sentiment_analysis.load_data(tmp_path, "test")


@pytest.mark.tried(
    "a data folder with odd file names, links in a circle and pipes", 5, "only images are read"
)
def test_only_images_of_a_folder_are_read(tmp_path):
    folder = tmp_path / next(iter(synsets()))
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.jpg")).write_bytes(encoded(photo(), "JPEG"))
    (folder / "folder.jpg").mkdir()
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "gone.jpg").symlink_to("nothing")
    os.mkfifo(folder / "pipe.jpg")
    data = image_classification.load_data(tmp_path, "validation")
    assert data.targets == [0] and data.revision.startswith("sha256:")


# ── Models ────────────────────────────────────────────────────────────────────────────────────────────────


def weights(path, change) -> bytes:
    from safetensors.torch import load_file, save

    return save({name: change(name, value) for name, value in load_file(path).items()}, {"format": "pt"})


BROKEN = {  # name, tensor -> tensor
    "all NaN": lambda name, value: value * float("nan"),
    "all infinite": lambda name, value: value * 0 + float("inf"),
    "overflow": lambda name, value: value * 0 + 1e38,
    "NaN in one class": lambda name, value: value.index_fill(0, *NAN) if name.endswith(LAST) else value,
    "NaN in the boxes": lambda name, value: (
        value * float("nan") if "bbox" in name or name == LAST[0] else value
    ),
}
LAST = ("classifier.bias", "class_labels_classifier.layers.2.bias")


@pytest.mark.tried(
    "weights of NaN, infinity or overflow in the three runners", 3 * len(BROKEN), "an error, no score"
)
@pytest.mark.parametrize("kind", PARTS_OF)
@pytest.mark.parametrize("name", BROKEN)
def test_weights_that_are_not_finite_give_no_score(zoo, altered, tmp_path, kind, name):
    import torch

    global NAN
    NAN = torch.tensor([0]), float("nan")
    assert measure(kind, zoo / kind, examples(kind, tmp_path))
    folder = altered(kind, weights=weights(zoo / kind / "model.safetensors", BROKEN[name]))
    with pytest.raises(CannotMeasure, match="not finite"):
        measure(kind, folder, examples(kind, tmp_path))


def header(value: object, size: int | None = None, rest: bytes = b"") -> bytes:
    text = json.dumps(value).encode() if not isinstance(value, bytes) else value
    return struct.pack("<Q", len(text) if size is None else size) + text + rest


TENSOR = {"dtype": "F32", "shape": [10**15], "data_offsets": [0, 4 * 10**15]}
FILES = [
    b"",
    header({}, 2**63),
    header({}, 10**8),
    header(b"x" * 9),
    header(b"[" * 10**5),
    header({"a": TENSOR}),
]
FILES += [
    header({"a": TENSOR | {"shape": [1], "data_offsets": [4, 0]}}),
    pickle.dumps("no tensors"),
    b"PK\x03\x04",
]
SAFETENSORS = {f"safetensors {n}": {"weights": content} for n, content in enumerate(FILES)}
CONFIGS = {
    f"{key} {value!r:.20}": {"config": {key: value}}
    for key, values in {
        "hidden_size": [10**9, -1, 0, "8", 8.5],
        "vocab_size": [10**12],
        "max_position_embeddings": [10**12],
        "num_hidden_layers": [50],
        "layer_norm_eps": [float("nan"), -1.0],
        "hidden_act": ["__import__('os').mkdir('ran')"],
        "model_type": ["../../x"],
        "dtype": ["evil"],
        "auto_map": [{"AutoModel": "x--y.Z"}, "x"],
        "_attn_implementation": ["evil/kernels"],
        "quantization_config": [5, {"quant_method": "bitsandbytes", "load_in_4bit": True}],
        "id2label": [["a"] * 6, {"a": "b"}, {}, {"9" * 5000: "a"}]
        + [
            dict(zip(map(str, at), sentiment_analysis.LABELS, strict=True))
            for at in ([1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 7], [-1, 0, 1, 2, 3, 4])
        ],
        "num_labels": [3],
        "return_dict": [False],
    }.items()
    for value in values
}
TOKENIZERS = {
    "none": {"tokenizer.json": None, "tokenizer_config.json": None},
    "none, but a path": {
        "tokenizer.json": None,
        "tokenizer_config.json": {"vocab_file": "/etc/passwd", "tokenizer_class": "BertTokenizer"},
    },
    "no JSON": {"tokenizer.json": b"{"},
    "a list": {"tokenizer_config.json": [1]},
    "own code": {"tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["x.Y", None]}}},
    "a length below 0": {"tokenizer_config.json": {"model_max_length": -1}},
    "a length in words": {"tokenizer_config.json": {"model_max_length": "x"}},
}
FAIL = [(kind, name, files) for kind in PARTS_OF for name, files in SAFETENSORS.items()]
FAIL += [("text", name, files) for name, files in (CONFIGS | TOKENIZERS).items()]
FAIL += [
    (kind, f"{key} {value!r:.20}", {"preprocessor_config.json": {key: value}})
    for kind in ("image", "boxes")
    for key, value in {
        "size": {"height": 10**9, "width": 10**9},
        "image_std": [0, 0, 0],
        "image_mean": [0.5],
        "rescale_factor": 1e308,
        "resample": 99,
        "auto_map": {"AutoImageProcessor": "x.Y"},
        "image_processor_type": "os.system",
    }.items()
]
FAIL += [(kind, "no preprocessor", {"preprocessor_config.json": None}) for kind in ("image", "boxes")]


@pytest.mark.tried(
    "a model with a hostile configuration, tokenizer or weight file", len(FAIL), "an error, no score"
)
@pytest.mark.filterwarnings("ignore")
def test_hostile_model_gives_no_score(altered, tmp_path):
    for kind, name, files in FAIL:
        folder, data = altered(kind, **files), examples(kind, tmp_path)
        try:
            result = measure(kind, folder, data)
        except Exception as why:
            assert describe_error(why).isprintable() and len(describe_error(why)) <= 500
        else:
            pytest.fail(f"{kind}, {name}: {result}")
    assert not (tmp_path / "ran").exists()


def test_panic_in_a_library_becomes_a_row(altered, call, tmp_path):
    """Pieces of no length make tokenizers give up in Rust, which is no Exception in Python."""
    altered("text", **{"tokenizer.json": {"pre_tokenizer": {"type": "FixedLength", "length": 0}}})
    (tmp_path / "test.jsonl").write_text('{"text": "i feel happy", "label": 1}\n')
    places = ["--data", tmp_path, "--results", tmp_path / "r.json", "--predictions", tmp_path / "p"]
    arguments = [*places, "--device", "cpu", "--split", "test", "text"]
    code, *_ = call(lambda: run_task(sentiment_analysis.TASK), *arguments)
    (row,) = strict(tmp_path / "r.json")["rows"]
    assert (code, row["stage"]) == (1, "predict") and "chunk size must be non-zero" in row["error"]


ODD = [
    "",
    " \n\t ",
    "happy " * 16_667,
    "x" * 100_000,
    "שלום \u202eabc",
    "a\0b",
    "👨‍👩‍👧" * 99,
    "[PAD] [UNK]",
    "a" + "\u0301" * 5000,
]


@pytest.mark.tried(
    "an unusual text (empty, 100,000 characters, right-to-left, NUL, emoji)", len(ODD), "one prediction each"
)
def test_unusual_texts_get_predictions(zoo, tmp_path):
    texts = ["i feel happy", *ODD]
    for scores in measure("text", zoo / "text", examples("text", tmp_path, texts)).values():
        assert scores["metrics"]["accuracy"] * len(texts) == pytest.approx(
            round(scores["metrics"]["accuracy"] * len(texts))
        )
        assert scores["truncated"] == 2


@pytest.mark.tried("an image of unusual size (1x1, 3x3, 1x50, …)", 6, "the pixels of a plain resize")
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 50), (50, 1), (3, 50), (50, 3)])
def test_image_of_unusual_size_keeps_its_pixels(zoo, size):
    import torch

    model = image_classification.load_model(zoo / "image", torch.device("cpu"), torch.float32)
    result = images.tensors(photo(*size), model, {})["pixel_values"][0].permute(1, 2, 0).numpy()
    wanted = np.asarray(photo(*size).resize((32, 32), Image.Resampling.BILINEAR), float) / 255
    assert np.abs(result - (wanted - 0.5) / 0.5).max() < 1e-5


# ── Files of results ──────────────────────────────────────────────────────────────────────────────────────

CLAIM = {"task": None, "dataset": "emotion", "dataset_stated": "emotion", "config": None, "split": "test"}
CLAIM |= {"revision": None, "metric": "accuracy", "metric_stated": "accuracy", "value": 0.9, "number": 0.9}
CLAIM |= {"error": None, "fraction": 0.9, "unit": "fraction", "verified": False, "source": "model-index"}
ABOUT = {"task": "sentiment-analysis", "dataset": "emotion", "source": "measured", "protocol": "standard"}
MEASURED = {
    **ABOUT,
    **{"model": "a/b", "revision": "x", "dataset_revision": "y", "split": "test", "claims": [CLAIM]},
    **{
        "metrics": {"accuracy": 0.8},
        "intervals": {"accuracy": [0.7, 0.9]},
        "key": "k",
        "code": {"hash": "0" * 64},
    },
    **{"examples": {"expected": 2000, "evaluated": 2000}, "measured_at": "2026-01-01T00:00:00Z"},
    "settings": {"limit": None, "dtype": "float32"},
}
FAILED = {
    **ABOUT,
    "model": "a/c",
    "revision": None,
    "split": None,
    "protocol": None,
    "stage": "load",
    "error": "x",
}
UNNAMED = {**ABOUT, "split": "test", "metric": "accuracy", "values": [0.01, 0.2], "note": "x"}
RESULTS = {"schema": 2, "rows": [MEASURED, FAILED], "discrepancies": [UNNAMED]}
EXPLAINED = {"model": "a/b", "dataset": "emotion", "unexplained_points": -1.5}
EXPLAINED |= {"causes": [{"factor": "label order", "points": 2.0, "seen": None, "faithful": None}]}
EXPLANATIONS = {"schema": 2, "explanations": [EXPLAINED]}


@pytest.mark.tried(
    "results.json and explanations.json with any values", MANY, "named, exit code 2, or strict JSON"
)
@many
@given(st.data())
def test_any_results_are_rejected_or_written_as_strict_json(call, tmp_path, monkeypatch, data):
    monkeypatch.setattr(err, "write_figures", lambda *_: None)
    inputs = {"modelinfo": RECORD, "results": RESULTS, "explanations": EXPLANATIONS}
    which = data.draw(st.sampled_from(["results", "results", "explanations"]))
    for name, value in inputs.items():
        value = changed(data.draw, value) if name == which else [value] if name == "modelinfo" else value
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    arguments = [word for name in inputs for word in (f"--{name}", tmp_path / f"{name}.json")]
    code, _, stderr = call(err.main, *arguments, "--output", tmp_path)
    assert code == 0 or f"{which}.json" in stderr
    if code == 0:
        strict(tmp_path / "assets" / "data" / "err.json")


BEYOND = [  # where in RESULTS -> what no row holds there
    *((("claims", 0, "fraction"), value) for value in (-0.1, 1.1, 90.0)),
    *((("metrics", "accuracy"), value) for value in (-1.1, 1.1, 80.0, 10**400)),
    *((("intervals", "accuracy"), value) for value in ([0.7, 1.1], [-1.1, 0.9], [0.9], 0.9)),
    *((("examples", key), -1) for key in ("expected", "evaluated")),
    *(
        ((key,), word)
        for key in ("source", "protocol", "measured_at")
        for word in ("", "$\\x$", "x" * 81, "\u202e")
    ),
]


@pytest.mark.tried(
    "a row of results.json with an impossible value", len(BEYOND), "the row is named, exit code 2"
)
@pytest.mark.parametrize("path, value", BEYOND, ids=range(len(BEYOND)))
def test_impossible_row_is_rejected(call, tmp_path, monkeypatch, path, value):
    monkeypatch.setattr(err, "write_figures", lambda *_: None)
    (tmp_path / "modelinfo.json").write_text(json.dumps([RECORD]))
    node = (row := json.loads(json.dumps(MEASURED)))
    for key in path[:-1]:
        node = node[key]
    arguments = ["--modelinfo", tmp_path / "modelinfo.json", "--results", tmp_path / "results.json"]
    for wrong in (False, True):
        node[path[-1]] = value if wrong else node[path[-1]]
        (tmp_path / "results.json").write_text(json.dumps(RESULTS | {"rows": [FAILED, row]}))
        code, _, stderr = call(err.main, *arguments, "--output", tmp_path)
        assert code == (2 if wrong else 0), stderr
    assert "results.json, row 2: " in stderr


@pytest.mark.tried("figures from results with any accepted values", FEW, "drawn, or named")
@few
@given(st.data())
@pytest.mark.filterwarnings("ignore")
def test_figures_of_any_results_are_drawn(call, tmp_path, data):
    inputs = {"modelinfo": [RECORD], "results": RESULTS, "explanations": EXPLANATIONS}
    which = data.draw(st.sampled_from(["results", "explanations"]))
    inputs[which] = changed(data.draw, inputs[which])
    for name, value in inputs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    arguments = [word for name in inputs for word in (f"--{name}", tmp_path / f"{name}.json")]
    code, _, stderr = call(err.main, *arguments, "--output", tmp_path)
    assert code == 0 or f"{which}.json" in stderr


@pytest.mark.tried("a results file under results/ with any values", FEW, "named, exit code 2, or strict JSON")
@few
@given(st.data())
def test_any_rows_are_gathered_or_rejected(call, tmp_path, data):
    study = {
        "source": "x",
        "measured": {"a/b": {"f1-micro": 0.5}},
        "claimed": {"a/b": {"accuracy": 0.5}},
        "failed": ["c"],
    }
    gaps = {"source": "x", "discrepancies": [0.01], "note": "y"}
    shape = data.draw(st.sampled_from([{"task": "x", "rows": [MEASURED, FAILED]}, study, gaps]))
    folder = tmp_path / "results" / "EMOTION"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.json").write_text(json.dumps(changed(data.draw, shape)))
    places = ["--results", folder.parent, "--output", tmp_path / "out", "--eval-results", tmp_path / "yaml"]
    code, _, stderr = call(results.main, *places, "--source-url", "https://x.test")
    assert code == 0 or "x.json" in stderr or "--eval-results" in stderr
    if code == 0:
        strict(tmp_path / "out" / "results.json")


@pytest.mark.tried("pycocotools' twelve lines with an invalid number", 5, "the file is named, exit code 2")
@pytest.mark.parametrize("number", ["nan", "inf", "1e999", "x", "50.1"])
def test_invalid_pycocotools_numbers_are_rejected(call, tmp_path, number):
    (tmp_path / "COCO").mkdir()
    lines = [f" Average Precision = {number if n == 5 else 0.5}" for n in range(12)]
    (tmp_path / "COCO" / "x.txt").write_text("\n".join(lines))
    code, _, stderr = call(results.main, "--results", tmp_path, "--output", tmp_path / "out")
    assert code == 2 and "x.txt" in stderr


def record() -> dict:
    """The record in a file of saved predictions of the toy task."""
    facts = {
        "model": "a/b",
        "revision": "x",
        "dataset_revision": "y",
        "split": "test",
        "limit": None,
        "dtype": "float32",
    }
    facts |= {"inputs": {"add": 0}, "key": "k", "claims": [], "examples": {"expected": 10, "evaluated": 10}}
    facts |= {"code": {"hash": "0" * 64, "git": None, "dirty": False}, "about": {}, "measured_at": "2026"}
    return facts | {"seconds": 1.5, "ran": {"device": "cpu"}, "versions": {}, "task": "toy"}


@pytest.mark.tried(
    "a runner's rows and saved predictions with any values", 2 * FEW, "named, exit code 2, or read"
)
@profiles.draw(2 * FEW)
@given(st.data())
def test_runner_reads_or_rejects_any_file_of_its_own(call, tmp_path, monkeypatch, data):
    monkeypatch.setattr(runner, "measure", lambda *_: iter(()))
    rows, folder = tmp_path / "rows.json", tmp_path / "p" / "EMOTION"
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("test", "validation"):
        (tmp_path / f"{split}.json").write_text(json.dumps(list(range(10))))
    old = {"schema": 2, "task": "toy", "rows": [MEASURED | {"protocol": "doubled"}, FAILED]}
    places = ["--data", tmp_path, "--results", rows, "--predictions", tmp_path / "p"]
    if data.draw(st.booleans()):
        rows.write_text(json.dumps(changed(data.draw, old)))
        code, _, stderr = call(lambda: run_task(toy.TASK), *places, "no/../model")
        assert code == 1 or "rows.json" in stderr
    else:
        rows.write_text(json.dumps(old))
        scored = json.dumps(changed(data.draw, record())).encode()
        odd = data.draw(
            st.sampled_from([{b"scored": scored}] * 6 + [{b"scored": b"[" * 10**5}, {b"x": b""}, None])
        )
        pa.parquet.write_table(pa.table({"value": [1]}, metadata=odd), folder / "x.parquet")
        code, _, stderr = call(lambda: run_task(toy.TASK), *places, "--from-predictions")
        assert code == 0 or "x.parquet" in stderr or "predictions" in stderr
    strict(rows) if code != 2 else None


@pytest.mark.tried("the audit of a model with any values in err.json", FEW, "named, exit code 2, or a page")
@few
@given(st.data())
def test_audit_reads_or_rejects_any_err_json(call, tmp_path, monkeypatch, data):
    model = {"model": "a/b", "metric": "accuracy", "verdict": "inconclusive", "claimed": 0.9, "off": True}
    counts = {"task": "t", "k": 1, "n": 2, "fraction": 0.5, "interval": [0, 1], "superseded": 0}
    summary = {**counts, "verdicts": {"inconclusive": 1}, "left_out": {}, "models": [model]}
    series = {"source": "s", "protocol": "p", "measured": "2026", "datasets": {"d": summary}}
    compared = {"schema": 2, "threshold_points": 1, "series": [series], "published": {}}
    arguments = (audit.main, "a/b", "--modelinfo", tmp_path / "m.json")
    monkeypatch.setattr(audit, "DATA", tmp_path)
    (tmp_path / "m.json").write_text(json.dumps([RECORD]))
    (tmp_path / "err.json").write_text(json.dumps(compared))
    assert "accuracy: claimed 0.9, measured –" in call(*arguments)[1]
    (tmp_path / "err.json").write_text(json.dumps(changed(data.draw, compared)))
    code, out, stderr = call(*arguments)
    assert (code == 0 and out.startswith("a/b")) or "err.json" in stderr


# ── What a user types ─────────────────────────────────────────────────────────────────────────────────────

NAMES = [
    "../../x",
    "/etc",
    "a\nb",
    "x" * 5000,
    "a/b/c",
    "CON",
    "C:\\x",
    "a@",
    "@b",
    "a@../../x",
    "a/b@\x1b[2J",
    "",
    " ",
    "é/ü",
]
NAMES += [os.fsdecode(b"\xff/\xfe"), "~", "http://a/b", "a\u202eb", "--", ".", "..", "a/..", "-x"]


@pytest.mark.tried("a model's name that is a path, a control character, a URL or 5,000 letters", len(NAMES),
                   "a row with an error; no file outside the two folders")  # fmt: skip
def test_invalid_model_names_become_rows(call, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(scored.hub, "WAITS", ())  # nobody will answer there
    monkeypatch.chdir(tmp_path)
    for split in ("test", "validation"):
        (tmp_path / f"{split}.json").write_text(json.dumps(list(range(10))))
    places = ["--data", tmp_path, "--results", tmp_path / "r.json", "--predictions", tmp_path / "p"]
    code, _, stderr = call(lambda: run_task(toy.TASK), *places, "--", *NAMES)
    assert code == 1 and f"{len(NAMES)} failed" in stderr and stderr.count("\n") == len(NAMES) + 1
    assert all(line.isprintable() for line in stderr.split("\n"))
    assert all(row["stage"] == "resolve" and row["error"] for row in strict(tmp_path / "r.json")["rows"])
    ours = {"r.json", ".r.json.lock", "test.json", "validation.json", "p"}
    assert {path.name for path in tmp_path.iterdir()} == ours
    assert [path.name for path in (tmp_path / "p").rglob("*")] == ["EMOTION"]


FLAGS = {
    err.main: [
        ["--threshold", "nan"],
        ["--threshold", "1e999999"],
        ["--source", "\x1b"],
        ["--results", "x" * 5000],
    ],
    audit.main: [["\x1b[2J"], ["--modelinfo", "x" * 5000], ["--compare", "x" * 5000]],
    results.main: [["--results", "x" * 5000], ["--eval-results", "x", "--source-url", "javascript:x"]],
    modelinfo.main: [
        ["--ids", "../x"],
        ["--ids", "\x1b"],
        ["--limit", "-1"],
        ["--endpoint", "file:///etc"],
        ["--endpoint", "http://["],
    ],
    explain.main: [
        ["text", "--seen", "no"],
        ["text", "--seen", "standard,max_length=" + "[" * 10**5],
        ["no such model", "--seen", "no"],
    ],
}


@pytest.mark.tried("a flag with a hostile value", sum(map(len, FLAGS.values())), "one line, exit code 1 or 2")
def test_hostile_flags_are_rejected(call, altered, tmp_path):
    altered("text")
    own = {explain.main: ["--output", "e.json", "--data", "text", "--predictions", "p"]}
    own[err.main] = ["--output", "out"]
    for main, lines in FLAGS.items():
        for arguments in lines:
            places = own.get(main, [])
            code, _, stderr = call(main, *arguments, *places)
            assert code in (1, 2) and "\x1b" not in stderr, arguments
