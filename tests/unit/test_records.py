"""Files of Hub records: every form is read as a stream, and what is broken is named."""

import gzip
import json

import pytest

import ptm
from ptm import PTM
from scored.files import UserError, read_json
from scored.records import read_records, write_records

THREE = [{"id": "a"}, {"id": "b", "tags": ["x"]}, {"id": "c"}]


def test_the_same_records_from_every_form(tmp_path):
    lines = [json.dumps(record) for record in THREE]
    forms = {
        "lines.json": ("[\n" + ",\n".join(lines) + "\n]\n").encode(),
        "array.json": json.dumps(THREE).encode(),
        "indented.json": json.dumps(THREE, indent=1).encode(),
        "indented4.json": json.dumps(THREE, indent=4).encode(),
        "records.jsonl": "\n".join(lines).encode(),
        "records.jsonl.gz": gzip.compress("\n".join(lines).encode()),
    }
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
        assert list(read_records(tmp_path / name)) == THREE, name
    (tmp_path / "empty.json").write_text("[]")
    assert list(read_records(tmp_path / "empty.json")) == []
    write_records(tmp_path / "none.json", [])
    assert (
        list(read_records(tmp_path / "none.json")) == json.loads((tmp_path / "none.json").read_text()) == []
    )


def test_a_broken_line_is_reported_with_its_number_and_the_rest_is_read(tmp_path):
    path = tmp_path / "m.json"
    path.write_text('[\n{"id": "a"},\n{"id": "b", ,\n{"noid": 1},\n{"id": "c", "x": NaN}\n]\n')
    reports = []
    assert [record["id"] for record in read_records(path, reports.append)] == ["a", "c"]
    assert ["line 3" in reports[0], "line 4" in reports[1], len(reports)] == [True, True, 2]


@pytest.mark.tried("a broken line deep in a large file", 1, "reported with its number, the rest is read")
def test_line_numbers_hold_far_into_a_file(tmp_path):
    """Lines are decoded many at once; the broken one keeps its own number."""
    lines = [json.dumps({"id": f"m{i}", "tags": ["x" * 100]}) for i in range(5000)]
    lines[4000] = '{"id": "m4000", ,'
    (tmp_path / "m.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    for decode in (None, ptm._decode_records):
        reports = []
        assert sum(1 for _ in read_records(tmp_path / "m.json", reports.append, decode)) == 4999
        assert len(reports) == 1 and "line 4002:" in reports[0]  # the bracket is line 1


def test_read_json_names_the_wrong_type(tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(UserError, match="must hold an object, not list"):
        read_json(tmp_path / "x.json", dict)


def test_a_file_streams(tmp_path):
    """Reading a file of 30 MB takes no more memory than a few of its lines."""
    import tracemalloc

    line = json.dumps({"id": "m", "tags": ["x" * 300]}).encode()
    write_records(tmp_path / "m.json", (line for _ in range(90_000)))
    tracemalloc.start()
    assert sum(1 for _ in read_records(tmp_path / "m.json")) == 90_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000


TAILS = r"""
    "cardData": {"language": "en"}
    "cardData": {}
    "cardData": 5
    "cardData": null, "likes": true
    "tags": ["license:mit", 3], "siblings": [{"rfilename": "a"}]
    "tags": "x", "downloads": 1.0
    "downloads": 1000000000000000000000000000000
    "x": NaN
    "author": "\ud800"
    "gated": "auto", "model-index": [{"results": 1}]
    "gated": true, "likes": "many"
    "evalResults": [{"error": "no"}], "disabled": true
    "pipeline_tag": "", "sha": "", "lastModified": "", "author": "", "gated": ""
    "pipeline_tag": 7, "downloads": 3
    "id": "", "modelId": "a/old"
""".strip().splitlines()
NO_RECORDS = ('"x": tru', '"id": ""', '"id": "", "modelId": ""', '"id": 5')


SPLIT = [
    '{"id": "a/b",\n"sha": "x"},',
    '{"id": "a/b"},\n{"id": "a/c",\n"sha": "x"},',
    '{"id": "a/b", "tags": [\n]},',
]


@pytest.mark.tried(
    "a record that goes over two lines", len(SPLIT), "skipped, with each line's number, however it is read"
)
@pytest.mark.parametrize("lines", SPLIT, ids=range(len(SPLIT)))
def test_record_over_two_lines_is_skipped(tmp_path, capsys, lines):
    (path := tmp_path / "records.json").write_text(f'[\n{lines}\n{{"id": "a/last"}}\n]\n')
    models = [*PTM.load(path)]
    assert models == [PTM.from_record(r) for r in read_records(path)]
    assert models[-1].id == "a/last" and len(models) == lines.count("},")
    assert capsys.readouterr().err.count(": skipped") == 4


@pytest.mark.tried(
    "odd, wrong or missing fields in a file", len(TAILS) + len(NO_RECORDS), "read as without the shortcut"
)
def test_skipping_unread_fields_changes_no_model(tmp_path, capsys):
    """`load` decodes only what it reads: the models are those of the whole records, broken lines included."""
    path, seen = tmp_path / "records.json", []
    for tail in (*TAILS, *NO_RECORDS):  # each with a whole record after it, in a block of its own
        path.write_text(f'[\n{{"id": "a/b", {tail.strip()}}},\n{{"id": "a/last"}}\n]\n')
        models = [*PTM.load(path)]
        assert models == [PTM.from_record(r) for r in read_records(path)], tail
        assert len(models) == (1 if tail in NO_RECORDS else 2) and models[-1].id == "a/last"
        seen += models[:-1]
    assert capsys.readouterr().err.count("line 2: skipped") == 2 * len(NO_RECORDS)
    assert {(m.task, m.sha, m.modified) for m in seen} == {(None, None, None)}
    assert {m.gated for m in seen} == {None, "auto", "manual"} and "a/old" in {m.id for m in seen}
    assert [m.has_card for m in seen[:5]] == [True, False, False, False, None]


WHOLE = {"id": "a/m"}
GROUPED = {"id": "a/m", "tags": [], "taken": {"card": "2022-02-15", "hub": "2022-10-01"}}


@pytest.mark.parametrize(
    "record, known, unknown",
    [
        (WHOLE, "license claims gated likes task downloads created", ""),
        (WHOLE | {"taken": None}, "license gated task", ""),
        (GROUPED, "tags license library likes modified claims task downloads created", "gated disabled"),
        (WHOLE | {"taken": {"card": "2022-02-15"}}, "license claims", "task downloads created gated"),
        (WHOLE | {"taken": {"hub": "2022-10-01"}}, "task downloads created", "license claims tags likes"),
        (WHOLE | {"taken": {"name": "2022-08-15"}}, "", "task license gated"),
        (WHOLE | {"taken": {"sha": "2022-07-02", "more": 1}}, "", "task license gated"),
        (WHOLE | {"taken": {}}, "", "task license gated"),
        (WHOLE | {"taken": "2022"}, "", "task license gated"),
        (WHOLE | {"taken": {"card": 5, "hub": "2022-10-01"}}, "", "task license gated"),
    ],
)
def test_attribute_is_known_where_its_group_was_taken(tmp_path, record, known, unknown):
    (tmp_path / "m.json").write_text(f"[\n{json.dumps(record)}\n]\n")
    for model in (PTM.from_record(record), *PTM.load(tmp_path / "m.json")):
        assert [name for name in (known + " " + unknown).split() if model.is_known(name)] == known.split()


def test_date_of_an_attribute_is_that_of_its_group():
    model = PTM.from_record(GROUPED)
    assert model.date_taken("downloads") == "2022-10-01" and model.date_taken("license") == "2022-02-15"
    assert model.date_taken("gated") is None and PTM.from_record(WHOLE).date_taken("downloads") is None
