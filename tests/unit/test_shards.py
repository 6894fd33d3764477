"""Shards of raw outputs: which are pending, how they are merged, what is refused."""

import argparse
from pathlib import Path

import pytest

from harness import cluster
from harness.checkpoint import CannotMeasure, Model
from harness.shards import Shard, as_table, make_shards, merge_shards, pending, read_predictions, save_shard
from harness.task import Batch, Data, ForwardPass, Job, Run, versions
from scored.files import UserError, exclusive


def passes(folder: Path, n: int, size: int, order=None) -> tuple[list[Shard], ForwardPass]:
    data = Data("test", "r", "", [str(i) for i in range(n)], list(range(n)), n, selected=range(100, 100 + n))
    part = ForwardPass({"model": "m"}, data, {}, {}, folder / "whole.parquet")
    return make_shards(argparse.Namespace(shard_size=size, shard_order=order), part), part


def save(shard: Shard, **facts) -> None:
    batch = Batch(range(len(shard.data.examples)), {"hash": list(shard.data.examples)})
    made = {"about": {}, "unreadable": {}, "measured_at": "", "seconds": 1.5, "ran": {"device": "cpu"}}
    made |= {"versions": versions()} | facts
    save_shard(shard.file, shard.data, [as_table(batch, shard.data.indices)], made)


def test_shards_are_in_the_tasks_order_and_merged_in_the_datas(tmp_path):
    made, part = passes(tmp_path, 7, 3, lambda data: [6, 0, 5, 1, 4, 2, 3])
    assert [shard.data.examples for shard in made] == [["6", "0", "5"], ["1", "4", "2"], ["3"]]
    assert pending(made) == made
    save(made[1])
    assert pending(made) == [made[0], made[2]]
    save(made[0], ran={"device": "cuda"})
    save(made[2], versions={"torch": "another"})
    assert pending(made) == [made[2]]  # other libraries: computed again
    save(made[2])
    merge_shards(part, made)
    table, record = read_predictions(part.file)
    assert table["example"].to_pylist() == list(range(100, 107))
    assert table["hash"].to_pylist() == list("0123456")
    assert record["seconds"] == 4.5 and record["ran"]["device"] == ["cpu", "cuda"]
    assert [path.name for path in tmp_path.iterdir()] == ["whole.parquet"]


def test_shards_that_disagree_or_lack_predictions_are_not_merged(tmp_path):
    made, part = passes(tmp_path, 4, 2)
    save(made[0])
    save(made[1], about={"labels": ["x"]})
    with pytest.raises(CannotMeasure, match="do not agree"):
        merge_shards(part, made)
    assert pending(made) == made and not part.file.exists()
    with pytest.raises(CannotMeasure, match="2 predictions for 2 examples"):
        save(made[0], unreadable={100: "broken"})


@pytest.mark.tried(
    "an image that is another one on a worker than on the driver", 1, "the model's row is an error"
)
def test_predictions_for_other_examples_are_not_merged(tmp_path):
    made, part = passes(tmp_path, 4, 2)
    part.data.__dict__["hashes"] = ["0", "1", "", "other"]  # the third could not be read before
    for shard in made:
        save(shard)
    with pytest.raises(CannotMeasure, match="1 examples differ from the data's, such as example 3"):
        merge_shards(part, made)
    assert pending(made) == made and not part.file.exists()
    part.data.__dict__["hashes"] = list("0123")
    for shard in made:
        save(shard)
    merge_shards(part, made)
    assert part.file.exists()


def test_configuration_with_nan_is_refused_before_it_reaches_a_row(tmp_path):
    (shard,), _ = passes(tmp_path, 2, 3)
    with pytest.raises(CannotMeasure, match="cannot stand in a row"):
        save(shard, about={"preprocessing": {"image_mean": float("nan")}})
    assert not shard.file.exists()


def test_predictions_with_nan_in_their_facts_are_named(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "x.parquet"
    table = pyarrow.table({"example": [0]}).replace_schema_metadata({"scored": '{"a": NaN}'})
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(UserError, match=r"x\.parquet is not a predictions file.*NaN"):
        read_predictions(path)


def test_other_libraries_on_a_worker_stop_the_run(tmp_path):
    made, _ = passes(tmp_path, 2, 2)
    save(made[0], versions=versions() | {"pillow": "1.0"})
    content = made[0].file.read_bytes()
    with pytest.raises(UserError, match=r"far has pillow 1.0 \(here .*: install the same"):
        cluster.save_result(made[0], "far", content)
    assert not made[0].file.exists()


def test_complete_predictions_hold_no_lock(tmp_path):
    _, part = passes(tmp_path, 2, 2)
    part.file.write_bytes(b"")
    args = argparse.Namespace(force=False, gpus_per_model=0, cpus_per_model=1)
    job = Job(Model("m", "r", (), None), [part])
    made = cluster.lock_jobs(Run(None, args, {}, None), [job])
    job = next(made)
    assert not job.shards
    with exclusive(part.file, wait=False) as mine:
        assert mine
