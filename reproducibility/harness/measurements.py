"""Measurements of one model under any choices, for explain.py; each is made only once."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.checkpoint import CannotMeasure
from harness.choices import as_protocol
from harness.cluster import run_on_cluster
from harness.plan import plan_passes, subset
from harness.runner import measure
from harness.shards import read_predictions
from harness.task import Job, Outputs, Run
from scored.files import ROOT


class Measurements:
    """The rows of one model under any choices; those with equal inputs share a forward pass."""

    def __init__(self, run: Run, model):
        self.run, self.model = run, model
        self.rows: dict[str, dict] = {}  # choices as JSON -> row, or {"error": reason}
        self.passes: set[Path] = set()  # files of the forward passes

    @staticmethod
    def key(choices: dict) -> str:
        """Return choices as JSON."""
        return json.dumps(choices, sort_keys=True)

    def rows_for(self, *wanted: dict) -> list[dict]:
        """Return a row for each set of choices. Raises CannotMeasure if the model fails under any."""
        self._measure(wanted)
        rows = [self.rows[self.key(choices)] for choices in wanted]
        for row in rows:
            if "error" in row:
                raise CannotMeasure(row["error"])
        return rows

    def measurable(self, wanted: Iterable[dict]) -> list[dict]:
        """Return those sets of choices under which the model can be measured."""
        wanted = list(wanted)
        self._measure(wanted)
        return [choices for choices in wanted if "error" not in self.rows[self.key(choices)]]

    def _measure(self, wanted: Iterable[dict]) -> None:
        missing: dict[str, dict[str, object]] = {}  # dtype -> choices as JSON -> protocol
        for choices in wanted:
            if self.key(choices) not in self.rows:
                protocol = as_protocol(self.run.task, choices)
                missing.setdefault(choices["dtype"], {})[self.key(choices)] = protocol
        for dtype, protocols in missing.items():
            self._measure_together(dtype, protocols)
            for key, protocol in protocols.items():  # by itself: it may have failed only beside another
                if key not in self.rows:
                    self._measure_together(dtype, {key: protocol})

    def _measure_together(self, dtype: str, protocols: dict[str, object]) -> None:
        args = argparse.Namespace(**vars(self.run.args))
        args.dtype, args.protocol, args.split = dtype, None, None
        variant = replace(self.run, task=replace(self.run.task, protocols=protocols), args=args)
        passes = plan_passes(variant, self.model, [])
        files = {forward_pass.file for forward_pass in passes}
        args.force = args.force and not files & self.passes
        self.passes |= files
        jobs = [Job(self.model, passes)]
        (job,) = run_on_cluster(variant, jobs) if args.cluster else jobs
        for row in measure(variant, job):
            keys = [row["protocol"]]
            if "error" in row:
                is_whole_job = row["protocol"] is None
                row = {"error": f"failed at {row['stage']}: {row['error']}"}
                if is_whole_job:
                    keys = protocols if len(protocols) == 1 else ()
            self.rows |= dict.fromkeys(keys, row)

    def value(self, choices: dict, metric: str) -> float:
        """Return a metric under these choices, as a fraction."""
        (row,) = self.rows_for(choices)
        return row["metrics"][metric]

    def outputs(self, choices: dict) -> Outputs:
        """Return the raw outputs from which the row of these choices is computed."""
        (row,) = self.rows_for(choices)
        table, record = read_predictions(ROOT / row["predictions"]["file"])
        data = subset(self.run.load(choices["split"]), record["limit"])
        return Outputs(table, data, as_protocol(self.run.task, choices), record["about"])
