"""A folder with toy data and models, and the command that measures them."""

import json
import os
import subprocess
import sys
from pathlib import Path

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

    def rows(self) -> list[dict]:
        return json.loads(self.results.read_text())["rows"]

    def loads(self) -> list[str]:
        """The models that were loaded, in order: one entry a load."""
        path = self.folder / "loads"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def failures(rows: list[dict]) -> dict[str, tuple]:
    return {Path(r["model"]).name: (r["stage"], r["error"]) for r in rows if "error" in r}
