"""results.py --check: saved predictions agree with reference implementations, a changed digit does not."""

import json

import pytest

import detection
import image_classification
import results
import sentiment_analysis

MEASURED = [
    (sentiment_analysis.TASK, "emotion-tiny", "emotion", ["--limit", "300"]),
    (image_classification.TASK, "mobilenet-v2", "imagenet", ["--limit", "24"]),
    (detection.TASK, "yolos-tiny-overfit", "coco", ["--limit", "8"]),
]


@pytest.fixture
def checked(shared, measure, run_script, tmp_path):
    """Return a function (*arguments) -> Call of --check on the rows of three models, and the rows' files."""
    files = []
    for task, model, data, arguments in MEASURED:
        folder = tmp_path / "results" / task.folder
        folder.mkdir(parents=True)
        call, _ = measure(task, shared / "models" / model, "--data", shared / data, *arguments)
        assert call.code == 0, call.err
        (tmp_path / "rows.json").rename(folder / "rows.json")
        files.append(folder / "rows.json")

    def check(*arguments: object):
        return run_script(results.main, "--check", "--results", tmp_path / "results", *arguments)

    return check, files


def change(file, edit) -> None:
    """Change the first row of a file."""
    content = json.loads(file.read_text())
    edit(content["rows"][0])
    file.write_text(json.dumps(content))


@pytest.mark.shared
def test_rows_agree_and_a_changed_digit_is_named(shared, checked, tmp_path):
    check, (emotion, imagenet, coco) = checked
    data = ["--data", f"imagenet-1k={shared / 'imagenet'}", "--data", f"coco={shared / 'coco'}"]
    call = check(*data)
    assert call.code == 0, call.err
    lines = call.out.splitlines()
    assert len(lines) == 6 and all(line.endswith("  all metrics agree") for line in lines)
    assert not (tmp_path / "results.json").exists() and call.err == ""

    call = check()  # only the texts' labels are saved
    assert call.code == 0 and len(call.out.splitlines()) == 2
    for name in ("imagenet-1k", "coco"):
        assert f"2 rows not checked: their predictions hold no labels; give --data {name}=DIR" in call.err

    change(emotion, lambda row: row["metrics"].update({"f1-macro": row["metrics"]["f1-macro"] - 1e-9}))
    change(imagenet, lambda row: row["metrics"].update({"accuracy-top5": 0.5}))
    change(coco, lambda row: row["metrics"].pop("AR10"))
    call = check(*data)
    assert call.code == 1
    faults = [line for line in call.out.splitlines() if "all metrics agree" not in line]
    assert [line.split("  ")[0] for line in faults] == ["imagenet-1k", "coco", "emotion"]
    for line, metric in zip(faults, ("accuracy-top5 0.5", "AR10 nan", "f1-macro 0."), strict=True):
        assert f"DIFFERS: {metric}" in line and line.count("reference") == 1


@pytest.mark.shared
def test_other_predictions_or_data_are_not_scored(shared, checked, tmp_path):
    check, (emotion, imagenet, _) = checked
    change(emotion, lambda row: row["predictions"].update(sha256="0" * 64))
    call = check()
    assert call.code == 1 and "is not the file that was scored: its SHA-256 differs" in call.out
    call = check("--data", f"imagenet-1k={shared / 'imagenet' / 'val' / 'n01440764'}")
    assert call.code == 2 and "imagenet" in call.err
    call = check("--predictions", tmp_path / "nothing")
    assert call.code == 2 and "6 rows not checked: their predictions are not here" in call.err
    change(imagenet, lambda row: row["settings"].update(choices={"no such choice": 1}))
    call = check("--data", f"imagenet-1k={shared / 'imagenet'}")
    assert call.code == 1 and "cannot be scored under its choices" in call.out


@pytest.mark.parametrize("value", ["coco", "no-such-set=.", "coco=/no/such/folder"])
def test_data_for_a_check_names_a_data_set_and_a_folder(run_script, value):
    call = run_script(results.main, "--check", "--data", value)
    assert call.code == 2 and "must be DATASET=DIR of a data set and a folder" in call.err
