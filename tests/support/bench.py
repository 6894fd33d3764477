"""A folder with toy data and models, and the command that measures them."""

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from project import ROOT

TOY = ROOT / "tests" / "support" / "toy.py"


NUMBERS = {"test": list(range(10)), "validation": [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]}


CARD = """---
model-index:
- name: x
  results:
  - task: {{type: text-classification}}
    dataset: {{type: emotion, name: emotion, split: {}}}
    metrics: [{{type: accuracy, value: 0.9}}]
---
"""


class Bench:
    """A folder with data, models and outputs, and the command that works on them."""

    def __init__(self, folder: Path):
        self.folder, self.results = folder, folder / "out" / "rows.json"
        (folder / "data").mkdir()
        for split, numbers in NUMBERS.items():
            (folder / "data" / f"{split}.json").write_text(json.dumps(numbers))
        self.env = os.environ | {"HF_HOME": str(folder / "hf"), "TOY_LOADS": str(folder / "loads")}

    def model(self, name: str, card: str = "", **config) -> str:
        folder = self.folder / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").write_bytes(b"x")
        (folder / "README.md").write_text(card)
        return str(folder)

    def command(self, *arguments: object) -> list[str]:
        paths = [
            "--data",
            self.folder / "data",
            "--results",
            self.results,
            "--predictions",
            self.folder / "p",
        ]
        return [sys.executable, str(TOY), *map(str, paths), *map(str, arguments)]

    def run(self, *arguments: object, **kwargs) -> subprocess.CompletedProcess:
        env = self.env | kwargs.pop("env", {})
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, env=env, **kwargs)

    def call(self, *words: object, hub: str = "http://127.0.0.1:9") -> SimpleNamespace:
        """Run the command in this process, its models too: returncode, stdout, stderr."""
        import toy

        arguments = self.command(*words)[1:]
        output, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with (
            in_this_process(self, hub),
            mock.patch.object(sys, "argv", arguments),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            pytest.raises(SystemExit) as end,
        ):
            toy.main(toy.TASK)
        texts = []
        for stream in (output, errors):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())
        return SimpleNamespace(returncode=end.value.code or 0, stdout=texts[0], stderr=texts[1])

    def rows(self) -> list[dict]:
        return json.loads(self.results.read_text())["rows"]

    def loads(self) -> list[str]:
        """The models that were loaded, in order: one entry a load."""
        path = self.folder / "loads"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


class SameProcess:
    """Stands in for ModelProcess where a process of its own is not what is tested."""

    def __init__(self, task, model, options, timeout):
        from harness.child import Server

        self.events = []
        self.server = Server(task, model, options, self.events.append)

    def request(self, *message) -> Iterator[tuple]:
        import huggingface_hub.constants as constants

        from harness.task import StageError

        self.events.clear()
        with mock.patch.object(constants, "HF_HUB_OFFLINE", False):  # loading goes offline, for good
            self.server.answer(message)
        *events, last = self.events
        yield from events
        if last[0] == "failed":
            raise StageError(*last[1:])

    def close(self) -> None:
        pass


@contextlib.contextmanager
def in_this_process(bench: Bench, hub: str) -> Iterator[None]:
    """Measure models in this process, with its own Hub and cache; what a run sets is reset afterwards."""
    import huggingface_hub.constants as constants
    import torch

    from harness import process

    handler, factory = signal.getsignal(signal.SIGTERM), logging.getLogRecordFactory()
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    places = {
        "ENDPOINT": hub,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(bench.folder / "hf" / "hub"),
    }
    with (
        mock.patch.multiple(constants, **places),
        mock.patch.dict(os.environ, bench.env),
        mock.patch.object(process, "ModelProcess", SameProcess),
    ):
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(is_deterministic)
            logging.setLogRecordFactory(factory)
            signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def failures(rows: list[dict]) -> dict[str, tuple]:
    return {Path(r["model"]).name: (r["stage"], r["error"]) for r in rows if "error" in r}
