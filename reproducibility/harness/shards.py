"""Which examples has a model answered already? Raw outputs on disk: a file per shard, then one per pass.

A shard is a part of the data that one process answers at a time. Local runs and runs on a cluster cut the
data alike, so that their batches, and with them their numbers, are the same. Used through `harness.py`.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.checkpoint import CannotMeasure
from harness.task import Batch, Data, ForwardPass, Task, versions
from scored.files import UserError, atomic_write, display_path


@dataclass(frozen=True)
class Shard:
    """Some of a pass's examples, and the file that holds their raw outputs until the pass is complete."""

    data: Data
    file: Path


def make_shards(task: Task, part: ForwardPass) -> list[Shard]:
    """All shards of a pass, the same ones in every run."""
    data, folder = part.data, part.file.with_name(f".{part.file.stem}.shards")
    order = task.shard_order(data) if task.shard_order else range(len(data.examples))
    starts = range(0, len(order), task.shard_size)
    return [
        Shard(data.take(order[start : start + task.shard_size]), folder / f"{number:05}.parquet")
        for number, start in enumerate(starts)
    ]


def pending(shards: list[Shard]) -> list[Shard]:
    """The shards without raw outputs, or with outputs of other libraries than today's."""
    now = versions()
    return [
        shard
        for shard in shards
        if not shard.file.exists() or read_metadata(shard.file).get("versions") != now
    ]


def discard(part: ForwardPass) -> None:
    """Forgets a pass's raw outputs, finished or not."""
    part.file.unlink(missing_ok=True)
    shutil.rmtree(part.file.with_name(f".{part.file.stem}.shards"), ignore_errors=True)


def as_table(batch: Batch, index: Sequence[int]):
    """A batch's columns as an Arrow table, with each example's place in the full split."""
    import numpy as np
    import pyarrow as pa

    columns = {"example": pa.array([int(index[i]) for i in batch.indices], pa.int32())}
    for name, values in batch.columns.items():
        if isinstance(values, np.ndarray) and values.ndim == 2:
            values = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        columns[name] = values
    return pa.table(columns)


def save(file: Path, data: Data, tables: list, facts: dict) -> None:
    """Writes a shard's raw outputs. Raises CannotMeasure unless each example is answered or among the unread."""
    import pyarrow as pa

    answered = [i for table in tables for i in table["example"].to_pylist()]
    if sorted([*answered, *facts["unread"]]) != sorted(data.indices):
        raise CannotMeasure(f"{len(answered)} answers for {len(data.examples)} examples: not one each")
    full = [table for table in tables if len(table)] or tables[:1]
    _write(file, pa.concat_tables(full).sort_by("example"), facts)


def _write(file: Path, table, record: dict) -> None:
    import pyarrow.parquet as pq

    table = table.replace_schema_metadata({"scored": json.dumps(record)})
    with atomic_write(file, "wb") as opened:
        pq.write_table(table, opened, compression="zstd")


def merge_shards(part: ForwardPass, shards: list[Shard]) -> None:
    """Makes one file of a pass's shards, in the data's order. Raises CannotMeasure unless all are answered."""
    import pyarrow as pa

    read = [read_predictions(shard.file) for shard in shards]
    unread = {int(i): why for _, facts in read for i, why in facts["unread"].items()}
    if unread:
        for shard, (_, facts) in zip(shards, read, strict=True):
            if facts["unread"]:  # so that they are read again once they are mended
                shard.file.unlink()
        first, why = min(unread.items())
        raise CannotMeasure(
            f"{len(unread)} of {len(part.data.examples)} examples not answered; example {first}: {why}"
        )
    about = read[0][1]["about"]
    if any(facts["about"] != about for _, facts in read):
        discard(part)
        raise CannotMeasure("its shards do not agree on its labels or preprocessing; run it again")
    ran = {name: [facts["ran"][name] for _, facts in read] for name in read[0][1]["ran"]}
    whole = part.record | {
        "about": about,
        "measured_at": max(facts["measured_at"] for _, facts in read),
        "seconds": sum(facts["seconds"] for _, facts in read),
        "ran": {
            name: values[0] if len(set(values)) == 1 else sorted(set(values)) for name, values in ran.items()
        },
        "versions": read[0][1]["versions"],
    }
    table = pa.concat_tables([table for table, _ in read]).sort_by("example")
    answered = table["hash"].to_pylist() if part.data.hashes else ()
    changed = [i for i, (a, b) in enumerate(zip(answered, part.data.hashes, strict=True)) if b and a != b]
    if changed:  # while it was measured, or on a machine of a cluster that has other data there
        discard(part)
        raise CannotMeasure(
            f"{len(changed)} examples were not those of the data, such as example {changed[0]}"
        )
    _write(part.file, table, whole)
    shutil.rmtree(shards[0].file.parent, ignore_errors=True)


def read_predictions(path: Path) -> tuple:
    """The raw outputs in a Parquet file, and the record of what made them."""
    import pyarrow.parquet as pq

    return pq.read_table(path), read_metadata(path)


def read_metadata(path: Path) -> dict:
    """What made the raw outputs in a Parquet file. Raises UserError for a file that does not say so."""
    import pyarrow
    import pyarrow.parquet as pq

    try:
        return dict(json.loads(pq.read_schema(path).metadata[b"scored"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, pyarrow.ArrowException) as why:
        raise UserError(f"{display_path(path)} holds no saved predictions ({why!r}); move it away") from why
