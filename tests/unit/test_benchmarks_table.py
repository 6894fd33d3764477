"""The table of data sets: read, checked, and the only place that knows them."""

import pytest

from rows import FOURTH
from scored.benchmarks import (
    TABLE,
    all_benchmarks,
    benchmark_in_folder,
    benchmark_named,
    benchmark_of,
    read_benchmarks,
)
from scored.files import UserError


def test_the_shipped_table_has_the_studys_data_sets():
    benchmarks = all_benchmarks()
    assert list(benchmarks) == ["coco", "imagenet-1k", "emotion"]
    study = {name: (entry.task, entry.headline, entry.study) for name, entry in benchmarks.items()}
    assert study == {
        "coco": ("object-detection", "AP", "validation"),
        "imagenet-1k": ("image-classification", "accuracy", "validation"),
        "emotion": ("sentiment-analysis", "accuracy", "test"),
    }


def test_another_table_replaces_it(tmp_path):
    path = tmp_path / "datasets.toml"
    path.write_text(TABLE.read_text(encoding="utf-8") + FOURTH)
    benchmarks = read_benchmarks(path)
    assert benchmark_named("sst2", benchmarks).splits["validation"] == 872
    assert benchmark_in_folder("SST2", benchmarks) is benchmarks["sst2"]
    assert benchmark_named("coco") is all_benchmarks()["coco"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('default = "validation"', 'default = "odd"', "'odd' is not one of train, validation, test"),
        ('default = "validation"', 'default = "test"', "labels of the default split 'test' are not public"),
        ('headline = "accuracy"\n', "", "missing required field `headline`"),
        ('headline = "accuracy"', 'heading = "accuracy"', "`heading`"),
        ("train = 67349", 'train = "many"', "Expected `int`"),
        ('folder = "SST2"', 'folder = "COCO"', "two entries use the folder 'COCO'"),
        ("[sst2]", "[sst2", "cannot read"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, old, new, reason):
    path = tmp_path / "datasets.toml"
    path.write_text(TABLE.read_text(encoding="utf-8") + FOURTH.replace(old, new))
    with pytest.raises(UserError, match=r"datasets\.toml") as raised:
        read_benchmarks(path)
    assert reason in str(raised.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"datasets\.toml"):
        read_benchmarks(tmp_path / "datasets.toml")


def test_unknown_names_are_errors_that_name_them():
    with pytest.raises(UserError, match=r"^unknown data set 'odd'; known are coco, .*benchmarks\.toml"):
        benchmark_named("odd")
    with pytest.raises(UserError, match=r"^unknown results folder 'ODD'; known are COCO, "):
        benchmark_in_folder("ODD")
    row = {"dataset": "emotion", "task": "sentiment-analysis"}
    assert benchmark_of(row, all_benchmarks(), "row 1").name == "emotion"
    with pytest.raises(UserError, match=r"^row 1: unknown data set 'odd'"):
        benchmark_of(row | {"dataset": "odd"}, all_benchmarks(), "row 1")
    with pytest.raises(UserError, match=r"^row 1: unknown task 'odd'; that of emotion is 'sentiment-"):
        benchmark_of(row | {"task": "odd"}, all_benchmarks(), "row 1")
