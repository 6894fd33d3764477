"""Raw outputs on disk: one file per shard, merged into one file per forward pass.

A shard is the part of the data that a process computes per request. Local runs and runs on a cluster shard
the data alike, so that their batches, and with them their numbers, are the same.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict

import msgspec

from harness.checkpoint import CannotMeasure
from harness.task import Batch, Data, ForwardPass, Task, versions
from scored.files import UserError, atomic_write, display_path


class SavedRecord(TypedDict):
    """The fields that are read of the record in a file of saved predictions."""

    model: str
    revision: str
    dataset_revision: str
    split: str
    limit: Annotated[int, msgspec.Meta(ge=1)] | None
    dtype: str
    inputs: dict
    key: str
    claims: list
    examples: dict
    code: dict[str, str | bool | None]
    about: dict
    measured_at: str
    seconds: float
    ran: dict
    versions: dict


@dataclass(frozen=True)
class Shard:
    """Some of a pass's examples, and the file that holds their raw outputs until the pass is complete."""

    data: Data
    file: Path


def shards_folder(forward_pass: ForwardPass) -> Path:
    """Return the folder of a pass's shards, beside its file."""
    return forward_pass.file.with_name(f".{forward_pass.file.stem}.shards")


def make_shards(task: Task, forward_pass: ForwardPass) -> list[Shard]:
    """Divide a pass's data into shards, the same ones in every run."""
    data, folder = forward_pass.data, shards_folder(forward_pass)
    order = task.shard_order(data) if task.shard_order else range(len(data.examples))
    shards = []
    for start in range(0, len(order), task.shard_size):
        part = data.take(order[start : start + task.shard_size])
        shards.append(Shard(part, folder / f"{len(shards):05}.parquet"))
    return shards


def pending(shards: list[Shard]) -> list[Shard]:
    """Return the shards without raw outputs, or with outputs of other library versions."""
    now = versions()
    return [
        shard
        for shard in shards
        if not shard.file.exists() or read_metadata(shard.file).get("versions") != now
    ]


def discard(forward_pass: ForwardPass) -> None:
    """Delete a pass's raw outputs, complete or not."""
    forward_pass.file.unlink(missing_ok=True)
    shutil.rmtree(shards_folder(forward_pass), ignore_errors=True)


def as_table(batch: Batch, indices: Sequence[int]):
    """Return a batch's columns as an Arrow table; column `example` is the index in the full split."""
    import numpy as np
    import pyarrow as pa

    columns = {"example": pa.array([int(indices[i]) for i in batch.indices], pa.int32())}
    for name, values in batch.columns.items():
        if isinstance(values, np.ndarray) and values.ndim == 2:
            values = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        columns[name] = values
    return pa.table(columns)


def save_shard(file: Path, data: Data, tables: list, facts: dict) -> None:
    """Write a shard's raw outputs. Raises CannotMeasure unless each example is predicted or unreadable."""
    import pyarrow as pa

    predicted = [i for table in tables for i in table["example"].to_pylist()]
    if sorted([*predicted, *facts["unreadable"]]) != sorted(data.indices):
        raise CannotMeasure(f"{len(predicted)} predictions for {len(data.examples)} examples")
    filled = [table for table in tables if len(table)] or tables[:1]
    _write(file, pa.concat_tables(filled).sort_by("example"), facts)


def _write(file: Path, table, record: dict) -> None:
    import pyarrow.parquet as pq

    try:
        text = json.dumps(record, allow_nan=False)
    except ValueError as error:  # a stranger's configuration
        raise CannotMeasure(f"its configuration cannot stand in a row: {error}") from error
    table = table.replace_schema_metadata({"scored": text})
    with atomic_write(file, "wb") as output:
        pq.write_table(table, output, compression="zstd")


def merge_shards(forward_pass: ForwardPass, shards: list[Shard]) -> None:
    """Merge a pass's shards into one file, in the data's order.

    Raises CannotMeasure if an example is unreadable or differs from the data's, or if the shards disagree on
    the model's facts.
    """
    import pyarrow as pa

    tables, records = [], []
    for shard in shards:
        table, record = read_predictions(shard.file)
        tables.append(table)
        records.append(record)
    _check_unreadable(forward_pass, shards, records)
    if any(record["about"] != records[0]["about"] for record in records):
        discard(forward_pass)
        raise CannotMeasure("its shards do not agree on its labels or preprocessing; run it again")
    table = pa.concat_tables(tables).sort_by("example")
    _check_hashes(forward_pass, table)
    _write(forward_pass.file, table, forward_pass.record | _merge_records(records))
    shutil.rmtree(shards_folder(forward_pass), ignore_errors=True)


def _check_unreadable(forward_pass: ForwardPass, shards: list[Shard], records: list[dict]) -> None:
    """Raise CannotMeasure if an example was unreadable; its shard is deleted, to be read again next time."""
    unreadable = {}
    for shard, record in zip(shards, records, strict=True):
        if record["unreadable"]:
            shard.file.unlink()
        for index, reason in record["unreadable"].items():
            unreadable[int(index)] = reason
    if unreadable:
        first, reason = min(unreadable.items())
        total = len(forward_pass.data.examples)
        raise CannotMeasure(
            f"{len(unreadable)} of {total} examples are unreadable; example {first}: {reason}"
        )


def _check_hashes(forward_pass: ForwardPass, table) -> None:
    """Raise CannotMeasure if an example changed meanwhile, or is another one on a machine of a cluster."""
    expected = forward_pass.data.hashes
    if not expected:
        return
    changed = []
    for i, (hash_read, hash_expected) in enumerate(zip(table["hash"].to_pylist(), expected, strict=True)):
        if hash_expected and hash_read != hash_expected:
            changed.append(i)
    if changed:
        discard(forward_pass)
        raise CannotMeasure(f"{len(changed)} examples differ from the data's, such as example {changed[0]}")


def _merge_records(records: list[dict]) -> dict:
    """Return one record for all shards of a pass; settings that differ become lists."""
    ran = {}
    for name in records[0]["ran"]:
        values = sorted({record["ran"][name] for record in records})
        ran[name] = values[0] if len(values) == 1 else values
    return {
        "about": records[0]["about"],
        "measured_at": max(record["measured_at"] for record in records),
        "seconds": sum(record["seconds"] for record in records),
        "ran": ran,
        "versions": records[0]["versions"],
    }


def read_predictions(path: Path) -> tuple:
    """Return the raw outputs in a Parquet file and the record of what produced them. Raises UserError."""
    import pyarrow.parquet as pq

    return pq.read_table(path), read_metadata(path)


def reject_constant(name: str) -> None:
    """Raise ValueError for NaN and infinity, which no row could hold."""
    raise ValueError(f"it holds {name}")


def read_metadata(path: Path) -> dict:
    """Return the record of what produced the raw outputs in a Parquet file. Raises UserError without one."""
    import pyarrow
    import pyarrow.parquet as pq

    try:
        text = pq.read_schema(path).metadata[b"scored"]
        return dict(json.loads(text, parse_constant=reject_constant))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, pyarrow.ArrowException) as error:
        raise not_predictions(path, error) from error


def read_complete_metadata(path: Path, task: Task) -> dict:
    """Return the record of a complete pass of this task. Raises UserError for any other file."""
    record = read_metadata(path)
    try:
        msgspec.convert(record, SavedRecord)
        if record["split"] not in task.splits:
            raise ValueError(f"unknown split {record['split']!r}")
        if "hash" not in record["code"]:
            raise ValueError("it does not say which code produced it")
    except ValueError as error:
        raise not_predictions(path, error) from error
    return record


def not_predictions(path: Path, error: Exception) -> UserError:
    """Return the error for a file without saved predictions."""
    return UserError(f"{display_path(path)} is not a predictions file ({error!r}); move or delete it")
