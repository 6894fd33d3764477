"""The study's files, read as it laid them out."""

import pytest

from project import ROOT
from scored.benchmarks import all_benchmarks
from scored.study import read_study_text, study_rows, twelve_numbers

TEXT = ROOT / "reproducibility" / "results" / "COCO" / "hustvl--yolos-tiny.txt"
COCO, EMOTION = all_benchmarks()["coco"], all_benchmarks()["emotion"]


def test_a_file_of_twelve_lines_is_read_back():
    (row,) = read_study_text(TEXT, COCO)
    assert row["model"] == "hustvl/yolos-tiny"
    assert list(row["metrics"].values())[:3] == [0.247, 0.427, 0.243]
    assert (row["dataset"], row["split"], row["examples"]["expected"]) == ("coco", "validation", 5000)
    with pytest.raises(ValueError, match="1 lines"):
        twelve_numbers(" Average Precision = 0.3")


def test_a_text_that_a_runner_wrote_beside_its_rows_holds_no_row(tmp_path):
    path = tmp_path / "m.standard.txt"
    path.write_text("# model: m\n# rows: object-detection.json\n" + TEXT.read_text())
    assert read_study_text(path, COCO) == []


def test_micro_f1_of_one_label_per_text_is_accuracy():
    value = {"source": "s", "measured": {"a": {"f1-micro": 0.9}}, "claimed": {}, "failed": ["b"]}
    measured, failed = study_rows(value, EMOTION)
    assert measured["metrics"] == {"accuracy": 0.9, "f1-micro": 0.9}
    assert (failed["model"], failed["metrics"], "no reason" in failed["error"]) == ("b", {}, True)


def test_the_study_has_no_rows_of_a_data_set_that_it_did_not_measure():
    import msgspec

    other = msgspec.structs.replace(EMOTION, name="other", study=None)
    with pytest.raises(ValueError, match="measured nothing on other"):
        study_rows({"source": "s", "failed": ["a"]}, other)
