"""audit.py end to end: its files, its pages, its comparisons, and its errors."""

import json
import re
import warnings

import pytest

import audit
from hub_records import HOSTILE, claiming, hostile_records
from project import ROOT
from scored.records import write_records


@pytest.fixture
def some(tmp_path):
    """A file of three records that make the same claim."""
    path = tmp_path / "some.json"
    write_records(path, (json.dumps(claiming(f"m/{i}", 0.9123)).encode() for i in range(3)))
    return path


@pytest.fixture
def empty(tmp_path):
    """A file without records."""
    path = tmp_path / "empty.json"
    path.write_text("[]")
    return path


@pytest.fixture
def outputs(tmp_path):
    """The flags that say where files go."""
    return ["--output", tmp_path / "audit.json", "--figures", tmp_path / "figures"]


def test_no_records_give_the_studys_figure_and_the_same_bytes_twice(run_script, empty, outputs, tmp_path):
    contents = []
    for _ in range(2):
        assert run_script(audit.main, "--modelinfo", empty, *outputs).code == 0
        paths = sorted((tmp_path / "figures").glob("*.png"))
        assert [path.stem for path in paths] == ["registry_monthly_downloads"]
        contents.append([path.read_bytes() for path in [tmp_path / "audit.json", *paths]])
    assert contents[0] == contents[1]


def test_a_figure_without_data_is_removed_and_other_files_stay(run_script, some, empty, outputs, tmp_path):
    folder = tmp_path / "figures"
    assert run_script(audit.main, "--modelinfo", some, *outputs).code == 0
    assert (folder / "artifacts_and_risks.png").exists() and (folder / "growth.png").exists()
    (folder / "err.png").write_bytes(b"err.py's")
    assert run_script(audit.main, "--modelinfo", empty, *outputs).code == 0
    assert {path.stem for path in folder.glob("*.png")} == {"err", "registry_monthly_downloads"}


def test_comparison_with_an_audit_and_with_records_writes_nothing(
    run_script, empty, some, outputs, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(audit, "compose_figures", lambda result: [])
        assert run_script(audit.main, "--modelinfo", empty, *outputs).code == 0
    first = (tmp_path / "audit.json").read_bytes()
    assert json.loads(first)["schema"] == 2
    for old in (tmp_path / "audit.json", empty):
        call = run_script(audit.main, "--modelinfo", some, "--compare", old, *outputs)
        assert call.code == 0 and re.search(r"^  with_claims +0 → 3$", call.out, re.M)
        assert (tmp_path / "audit.json").read_bytes() == first


def test_comparison_with_records_of_other_layouts(run_script, some, tmp_path):
    lines = [json.dumps(claiming("m/0", 0.9123)), json.dumps(claiming("m/1", 0.9123))]
    (tmp_path / "lines.jsonl").write_text("\n".join(lines))
    (tmp_path / "single.jsonl").write_text(lines[0] + "\n")
    for name, count in (("lines.jsonl", 2), ("single.jsonl", 1)):
        call = run_script(audit.main, "--modelinfo", some, "--compare", tmp_path / name)
        assert call.code == 0 and re.search(rf"^  with_claims +{count} → 3$", call.out, re.M)


@pytest.mark.parametrize("schema", [{}, {"schema": 1}, {"schema": 3}])
def test_comparison_with_an_audit_of_another_schema_is_refused(run_script, some, tmp_path, schema):
    old = tmp_path / "old.json"
    old.write_text(json.dumps({"about": {"as_of": None}, "trends": {}, **schema}))
    call = run_script(audit.main, "--modelinfo", some, "--compare", old)
    assert (call.code, call.out) == (2, "")
    assert "not 2; rewrite it with: python audit.py --modelinfo RECORDS --output" in call.err


def test_measurements_of_another_schema_are_refused(run_script, some, tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "DATA", tmp_path)
    (tmp_path / "err.json").write_text('{"series": [], "published": {}}')
    call = run_script(audit.main, "--modelinfo", some, "m/1")
    assert (call.code, call.out) == (2, "") and "python err.py" in call.err
    (tmp_path / "err.json").unlink()
    call = run_script(audit.main, "--modelinfo", some, "m/1")
    assert call.code == 0 and "not compared" in call.out


def test_page_of_a_model(run_script, some):
    page = run_script(audit.main, "--modelinfo", some, "m/1").out
    assert "accuracy 0.9123 on imdb: self-reported, model-index, unit fraction, no split" in page


def test_page_says_what_is_not_known_and_of_when_the_rest_is(run_script, tmp_path):
    path = tmp_path / "taken.json"
    raw = {"id": "a/b", "pipeline_tag": "fill-mask", "downloads": 7, "taken": {"hub": "2022-10-01"}}
    write_records(path, [json.dumps(raw).encode()])
    page = run_script(audit.main, "--modelinfo", path, "a/b").out
    facts = dict(re.findall(r"^  (\w[\w ]*?)  +(.*)$", page, re.M))
    assert facts["task"] == "fill-mask (2022-10-01)"
    assert facts["downloads"] == "7 in 30 days, rank 1 of 1 (2022-10-01)"
    unknown = ("license", "formats", "custom code", "gated", "base models", "last change", "claims")
    assert {name for name, fact in facts.items() if fact == "not known"} == set(unknown)


def test_page_of_a_model_of_the_study(run_script):
    page = run_script(audit.main, "facebook/detr-resnet-50").out
    assert "claimed 0.42, measured 0.397, discrepancy -2.3 points" in page
    assert "(coco, measured 2022, protocol scored-2022)" in page


def test_missing_files_and_models_are_one_line(run_script, some, tmp_path):
    for arguments in (
        ["--modelinfo", tmp_path / "none.json"],
        ["--modelinfo", some, "m/9"],
        ["--compare", tmp_path / "no"],
    ):
        call = run_script(audit.main, *arguments)
        assert (call.code, call.out, call.err.count("\n")) == (2, "", 1)
    assert "--compare" in run_script(audit.main, "--help").out


def is_shown(text):
    """Whether a figure shows a text, which may be a legend or missing."""
    return text is not None and text.get_visible() and getattr(text, "get_text", lambda: "text")().strip()


def overlaps(figure):
    """Find the texts of a figure that cover each other or leave it; return them, and how many there are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.draw_without_rendering()
    renderer, texts = FigureCanvasAgg(figure).get_renderer(), list(figure.texts)
    for ax in figure.axes:
        texts += [*ax.texts, ax.get_legend(), ax._left_title]
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [text.get_window_extent(renderer).padded(-0.5) for text in texts if is_shown(text)]
    pairs = []
    for i, first in enumerate(boxes):
        pairs += [(first, second) for second in boxes[:i] if first.overlaps(second)]
    return pairs + [box for box in boxes if box.x0 < 0 or box.x1 > figure.bbox.x1], len(boxes)


@pytest.mark.tried(
    "ids, tags, tasks and dates with TeX, control and right-to-left characters, 10,000 long",
    len(HOSTILE),
    "figures, table and page are made, no text over another",
)
def test_hostile_records_break_neither_figure_nor_table_nor_page(run_script, outputs, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn, save = [], Figure.savefig

    def check_and_save(figure, *arguments, **options):
        drawn.append(overlaps(figure))
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", check_and_save)
    path, records = tmp_path / "modelinfo.json", hostile_records()
    write_records(path, (json.dumps(raw).encode() for raw in records))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call = run_script(audit.main, "--modelinfo", path, *outputs)
    assert (call.code, call.err) == (0, "")
    json.loads((tmp_path / "audit.json").read_text("utf-8"), parse_constant=pytest.fail)
    paths = list((tmp_path / "figures").glob("*.png"))
    assert len(paths) == 10 and all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)
    assert len(drawn) == 10 and all(covered == [] and texts for covered, texts in drawn), drawn
    page = run_script(audit.main, "--modelinfo", path, records[18]["id"])
    assert page.code == 0 and all(character.isprintable() or character == "\n" for character in page.out)
    assert max(map(len, page.out.splitlines())) < 400


def test_shipped_counts_are_those_of_the_shipped_records(run_script, outputs, tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "compose_figures", lambda result: [])
    assert run_script(audit.main, *outputs).code == 0
    assert (tmp_path / "audit.json").read_bytes() == (ROOT / "assets/data/audit.json").read_bytes()
