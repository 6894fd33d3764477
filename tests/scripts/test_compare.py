"""compare.py: is B as good as A, from saved predictions of the same examples?"""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import compare
import detection
import image_classification
import sentiment_analysis
from harness import coco, pairs
from harness.shards import read_predictions
from project import SHARED


def change(source, target, revision: str, edit_column=None, **record_changes) -> None:
    """Copy predictions as those of another revision, with one column and some of the record changed."""
    table, record = read_predictions(source)
    if edit_column:
        name, edit = edit_column
        place = table.schema.get_field_index(name)
        table = table.set_column(
            place, table.schema.field(name), pa.array(edit(table), table.schema.field(name).type)
        )
    record = {**record, "revision": revision, **record_changes}
    table = table.replace_schema_metadata({"scored": json.dumps(record)})
    pq.write_table(table, target)


def move_half_of_joy(table) -> list:
    """Exchange the logits of joy and anger in every second text of joy."""
    logits = np.array(table["logits"].to_pylist())
    places = np.flatnonzero(np.array(table["label"]) == 1)[::2]
    logits[np.ix_(places, [1, 3])] = logits[np.ix_(places, [3, 1])]
    return logits.astype("float32").tolist()


@pytest.fixture(scope="module")
def emotion_tiny(tmp_path_factory):
    """Two copies of emotion-tiny: as it is, and with some weights rounded to bfloat16."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("copies")
    for name in ("plain", "rounded"):
        shutil.copytree(SHARED / "models" / "emotion-tiny", folder / name)
        for path in (folder / name, *(folder / name).iterdir()):
            path.chmod(0o755)
    file = folder / "rounded" / "model.safetensors"
    weights = load_file(file)
    for name in [name for name in weights if "attention.self.query" in name]:
        weights[name] = weights[name].to(torch.bfloat16).to(torch.float32)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def predictions_in(folder) -> list:
    return sorted((folder / "predictions").rglob("[!.]*.parquet"))


@pytest.mark.shared
def test_a_rounded_copy_is_equivalent_and_moved_answers_are_worse(
    shared, emotion_tiny, measure, run_script, tmp_path
):
    arguments = ["--data", shared / "emotion", "--split", "test", "--limit", "800"]
    for name in ("plain", "rounded"):
        call, _ = measure(sentiment_analysis.TASK, emotion_tiny / name, *arguments)
        assert call.code == 0, call.err
    folder = tmp_path / "predictions"
    call = run_script(compare.main, emotion_tiny / "plain", emotion_tiny / "rounded", "--predictions", folder)
    assert call.code == 0 and "rounded@" in call.out and ": equivalent\n" in call.out, call.out
    assert "on 800 examples of emotion, test" in call.out

    (plain,) = (path for path in predictions_in(tmp_path) if "plain" in path.name)
    moved, swapped = tmp_path / "moved.parquet", tmp_path / "swapped.parquet"
    change(plain, moved, "moved", ("logits", move_half_of_joy))
    call = run_script(compare.main, plain, moved)
    table, _ = read_predictions(plain)
    labels, was = np.array(table["label"]), np.array(table["logits"].to_pylist()).argmax(1)
    now = np.array(move_half_of_joy(table)).argmax(1)
    lines = [line for line in call.out.splitlines() if line.startswith("example ")]
    assert call.code == 3 and ": worse\n" in call.out
    assert [int(line.split(",")[0].split()[1]) for line in lines] == np.flatnonzero(was != now).tolist()
    assert f"example {np.flatnonzero((was != now) & (was == labels))[0]}, joy: joy → anger  lost" in lines
    lost = sum(line.endswith("  lost") for line in lines)
    gained = sum(line.endswith("  gained") for line in lines)
    accuracy = (was == labels).mean() + (gained - lost) / len(labels)
    assert f"accuracy {accuracy:.4f} against {(was == labels).mean():.4f}" in call.out

    for metric in ("f1-macro", "f1-weighted"):
        call = run_script(compare.main, plain, moved, "--metric", metric)
        assert (call.code, f"  {metric} " in call.out) == (3, True)
    change(plain, swapped, "same")
    call = run_script(compare.main, plain, swapped, moved)
    assert call.code == 3 and call.out.index("equivalent") < call.out.index("worse")


@pytest.mark.shared
def test_few_texts_leave_it_undecided_and_other_examples_are_refused(
    shared, emotion_tiny, measure, run_script, tmp_path
):
    for split in ("test", "validation"):
        arguments = ["--data", shared / "emotion", "--split", split, "--limit", "60"]
        measure(sentiment_analysis.TASK, emotion_tiny / "plain", *arguments)
    validation, test = sorted(predictions_in(tmp_path), key=lambda path: ".test." in path.name)
    same = tmp_path / "same.parquet"
    change(test, same, "same")
    call = run_script(compare.main, test, same)
    assert (call.code, ": undecided\n" in call.out) == (4, True)
    call = run_script(compare.main, test, same, "--margin", "20")
    assert (call.code, ": equivalent\n" in call.out) == (0, True)

    call = run_script(compare.main, test, validation)
    assert call.code == 2 and "are about other examples: dataset_revision" in call.err
    for name, column in (("hash", "hash"), ("example", "example")):
        edited = tmp_path / f"{name}.parquet"
        change(test, edited, "x", (column, lambda table, column=column: table[column].to_pylist()[::-1]))
        call = run_script(compare.main, test, edited)
        assert call.code == 2 and f"the column {column} differs" in call.err
    change(test, same, "same", limit=None)
    call = run_script(compare.main, test, same)
    assert call.code == 2 and "limit 60 and None" in call.err


@pytest.mark.shared
def test_classifiers_of_images_are_compared(shared, measure, run_script, tmp_path):
    data = ["--data", shared / "imagenet"]
    _, rows = measure(image_classification.TASK, shared / "models" / "mobilenet-v2", *data, "--limit", "24")
    (file,) = predictions_in(tmp_path)
    call = run_script(compare.main, file, file)
    assert call.code == 2 and "hold no labels: give --data" in call.err

    def first_answer_away(table) -> list:
        return [
            [row[1:] + row[:1] for row in rows] if isinstance(rows[0], list) else rows[1:] + rows[:1]
            for rows in table["classes"].to_pylist()
        ]

    worse = tmp_path / "worse.parquet"
    change(file, worse, "worse", ("classes", first_answer_away))
    call = run_script(compare.main, file, worse, *data, "--metric", "accuracy")
    assert call.code == 3, call.out + call.err
    assert sum(line.startswith("example ") for line in call.out.splitlines()) == 24
    call = run_script(compare.main, file, worse, *data, "--metric", "accuracy-top5")
    (row,) = [row for row in rows if row["protocol"] == "standard"]
    assert f"accuracy-top5 {row['metrics']['accuracy-top5']:.4f} against" not in call.out
    assert f" against {row['metrics']['accuracy-top5']:.4f} on 24 examples" in call.out
    assert "McNemar p = " in call.out
    call = run_script(compare.main, file, worse, *data, "--metric", "f1-macro")
    assert call.code == 2 and "f1-macro cannot be compared on imagenet-1k" in call.err


@pytest.mark.shared
def test_detectors_are_compared(shared, measure, run_script, monkeypatch, tmp_path):
    monkeypatch.setitem(pairs.DRAWS, "AP", 50)
    monkeypatch.setattr(coco, "HALVES", 20)
    data = ["--data", shared / "coco"]
    measure(detection.TASK, shared / "models" / "yolos-tiny-overfit", *data, "--limit", "6")
    (file,) = predictions_in(tmp_path)
    same, worse = tmp_path / "same.parquet", tmp_path / "worse.parquet"
    change(file, same, "same")
    call = run_script(compare.main, file, same, *data)
    assert call.code == 4 and "bootstrap p = 1" in call.out and "image " not in call.out, call.out

    def shift_boxes(table) -> list:
        return [[value + 60 for value in image] for image in table["boxes"].to_pylist()]

    change(file, worse, "worse", ("boxes", shift_boxes))
    call = run_script(compare.main, file, worse, *data)
    assert call.code == 3 and "  AP " in call.out, call.out
    assert " objects lost, " in call.out
    call = run_script(compare.main, file, worse, *data, "--metric", "accuracy")
    assert call.code == 2 and "--metric must be one of AP, " in call.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["org/a", "org/b"], "0 files in"),
        (["a.parquet", "b.parquet"], "there is no file a.parquet"),
        (["org/a", "org/b", "--margin", "0"], "--margin must be a number of points"),
    ],
)
def test_what_is_not_there_is_named(run_script, tmp_path, arguments, reason):
    call = run_script(compare.main, *arguments, "--predictions", tmp_path)
    assert call.code == 2 and reason in call.err


@pytest.mark.shared
def test_a_model_is_looked_up_by_its_id_and_revision(shared, emotion_tiny, measure, run_script, tmp_path):
    arguments = ["--data", shared / "emotion", "--split", "test", "--limit", "60"]
    measure(sentiment_analysis.TASK, emotion_tiny / "plain", *arguments)
    (file,) = predictions_in(tmp_path)
    folder = file.parent
    for revision in ("aaaa1111", "bbbb2222"):
        change(file, folder / f"{revision}.parquet", revision, model="org/m")
    flags = ["--predictions", folder.parent, "--margin", "20"]
    call = run_script(compare.main, "org/m@aaaa", "org/m@bbbb2222", *flags)
    assert call.code == 0 and "org/m@bbbb2222 against org/m@aaaa1111: equivalent" in call.out, call.err
    call = run_script(compare.main, "org/m", "org/m@bbbb2222", *flags)
    assert call.code == 2 and "2 files in" in call.err and "aaaa1111.parquet" in call.err
