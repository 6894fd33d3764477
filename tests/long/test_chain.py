"""All scripts, one after the other, from records on a Hub to the headline; each killed in the middle once."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import fake_hub
from project import ROOT, SHARED
from scored.result_rows import PARTIAL

CARD = """---
pipeline_tag: {}
model-index:
- name: tiny
  results:
  - task: {{type: {}}}
    dataset: {{type: {}, name: {}, split: validation}}
    metrics: [{{type: {}, value: {}}}]
---
"""
MODELS = {  # id -> folder under shared/models, task, data set, metric, claim
    "scored/emotion": ("emotion-tiny", "text-classification", "emotion", "accuracy", 0.9025),
    "scored/imagenet": ("mobilenet-v2", "image-classification", "imagenet-1k", "accuracy", 0.72),
    "scored/coco": ("yolos-tiny-overfit", "object-detection", "coco", "mAP", 0.61),
}
RUNNERS = {  # script -> id, folder under shared, and of how many examples
    "sentiment_analysis": ("scored/emotion", "emotion", 2000),
    "image_classification": ("scored/imagenet", "imagenet", 40),
    "detection": ("scored/coco", "coco", 20),
}
# What differs between two runs of the same: when it was, how long it took, and hashes of files that say so.
TIMES, LENGTHS, HASHES = {"measured_at", "measured", "since"}, {"seconds"}, {"sha256"}
STAGES = 8


def repositories(folder: Path) -> dict[str, Path]:
    """The shared models as repositories of a Hub, each with a claim on its card."""
    result = {}
    for name, (model, task, dataset, metric, claim) in MODELS.items():
        result[name] = folder / name
        shutil.copytree(SHARED / "models" / model, result[name], copy_function=shutil.copyfile)
        result[name].chmod(0o755)
        card = CARD.format(task, task, dataset, dataset, metric, claim)
        (result[name] / "README.md").write_text(card)
    return result


def described(name: str) -> dict:
    """The record of one of those models, as the Hub makes it from its card."""
    _, task, dataset, metric, claim = MODELS[name]
    stated = {"type": dataset, "name": dataset, "split": "validation"}
    result = {"task": {"type": task}, "dataset": stated, "metrics": [{"type": metric, "value": claim}]}
    when = "2022-03-01T00:00:00.000Z"
    return {"id": name, "pipeline_tag": task, "tags": ["pytorch"], "downloads": 5, "lastModified": when,
            "createdAt": when, "model-index": [{"name": "tiny", "results": [result]}]}  # fmt: skip


class Chain:
    """The commands of one user: a folder for all that they write, a Hub, and a cache of its files."""

    def __init__(self, folder: Path, hub: fake_hub.FakeHub, kills: bool):
        self.work, self.hub, self.kills, self.killed = folder / "work", hub, kills, []
        self.env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_TOKEN": ""}
        self.env |= {"NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT / "tests" / "support" / "inject")}

    def start(self, script: str, *arguments: object, **env: str) -> subprocess.Popen:
        command = [sys.executable, ROOT / script, *arguments]
        return subprocess.Popen(list(map(str, command)), env=self.env | env, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, cwd="/")  # fmt: skip

    def stage(self, script: str, *arguments: object, kill: tuple | None = None, at=None) -> None:
        """Runs a script, once it was killed before an act on a file, or at what `at` makes the Hub do."""
        if self.kills:
            env = {"FAULT": f"{int(signal.SIGKILL)} {kill[0]} {kill[1]}"} if kill else {}
            doomed = self.start(script, *arguments, **env)
            if at:
                at(doomed.kill)
            output = doomed.communicate()[0]
            assert doomed.returncode == -signal.SIGKILL, (script, output)
            self.killed.append(script)
        done = self.start(script, *arguments)
        output = done.communicate()[0]
        assert done.returncode == 0, (script, output)

    def run(self) -> None:
        work, results, predictions = self.work, self.work / "results", self.work / "predictions"
        records, ignored = work / "modelinfo.json", work / "ignore.json"

        def at_page_15(kill):
            self.hub.before = lambda number: kill() if number == 15 else None

        def in_the_weights(kill):
            self.hub.faults_at["GET .*/emotion/resolve/.*safetensors"] = [
                fake_hub.half(lambda handler: kill())
            ]

        self.stage("modelinfo.py", "--output", records, "--ignore", ignored, at=at_page_15)
        figures = work / "figures"
        self.stage("audit.py", "--modelinfo", records, "--output", work / "audit.json", "--figures", figures,
                   kill=(8, figures))  # fmt: skip
        folders = dict(zip(RUNNERS, ("EMOTION", "IMAGENET", "COCO"), strict=True))
        faults = {"sentiment_analysis": {"at": in_the_weights}}
        faults["image_classification"] = {"kill": (2, predictions)}  # outputs made, not yet in place
        faults["detection"] = {"kill": (3, results / "COCO")}  # outputs in place, no row yet
        for script, (model, data, limit) in RUNNERS.items():
            arguments = ["--data", SHARED / data, "--limit", limit, "--predictions", predictions]
            rows = results / folders[script] / f"{script}.json"
            self.stage(f"reproducibility/{script}.py", model, *arguments, "--results", rows, **faults[script])
        self.hub.before = lambda number: None
        self.hub.requests.clear()
        self.stage("reproducibility/results.py", "--results", results, "--output", work / "tables",
                   kill=(3, work / "tables"))  # fmt: skip
        self.stage("reproducibility/explain.py", "scored/emotion", "--data", SHARED / "emotion",
                   "--limit", 200, "--output", work / "explanations.json", "--predictions", predictions,
                   kill=(4, predictions))  # fmt: skip
        self.stage("err.py", "--modelinfo", records, "--results", work / "tables" / "results.json",
                   "--explanations", work / "explanations.json", "--output", work / "headline",
                   kill=(6, work / "headline"))  # fmt: skip


def alike(value: object, folder: Path, began: str):
    """JSON without what two runs of the same differ in, and that a time stated is one within this test."""
    if isinstance(value, list):
        return [alike(item, folder, began) for item in value]
    if isinstance(value, dict):
        times = {key for key in TIMES & value.keys() if isinstance(value[key], str)}
        for key in times:
            assert began[: len(value[key])] <= value[key] <= now()[: len(value[key])], (key, value[key])
        for key in LENGTHS & value.keys():
            assert 0 < value[key] < 600
        for key in HASHES & value.keys():
            assert re.fullmatch("[0-9a-f]{64}", value[key])
        out = times | LENGTHS | HASHES
        return {key: alike(item, folder, began) for key, item in value.items() if key not in out}
    return value.replace(str(folder), "") if isinstance(value, str) else value


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def content(path: Path, folder: Path, began: str):
    """What a file holds, so that it can be compared with that of the other run."""
    if path.suffix == ".json":
        return alike(json.loads(path.read_bytes()), folder, began)
    return pq.read_table(path).to_pylist() if path.suffix == ".parquet" else path.read_bytes()


@pytest.mark.shared
@pytest.mark.tried(
    "SIGKILL in the middle of each script of the chain, then the same command again",
    STAGES,
    "every file equals that of a run that nobody killed; only times differ",
)
def test_chain_killed_at_each_stage_gives_the_same_files(shared, tmp_path):
    """Real records and real models by Hub id; nothing is written but where the flags say."""
    began, before = now(), outputs()
    with gzip.open(shared / "hub/models-2022-02.jsonl.gz") as file:
        records = [json.loads(line) for line in file] + [described(name) for name in MODELS]
    repos, chains = repositories(tmp_path / "repos"), []

    def go(name: str) -> Chain:
        with fake_hub.FakeHub(records, repos) as hub:
            hub.frozen = True
            chain = Chain(tmp_path / name, hub, kills=name == "killed")
            chain.run()
            return chain

    with ThreadPoolExecutor(2) as pool:
        chains = whole, killed = list(pool.map(go, ["whole", "killed"]))
    assert len(set(killed.killed)) == STAGES and not whole.killed
    files = [{p.relative_to(c.work).as_posix(): p for p in c.work.rglob("*") if p.is_file()} for c in chains]
    for name in [name for name in files[1] if name.endswith(".tmp")]:
        del files[1][name]  # SIGKILL may leave a temporary file, which nobody reads
    assert files[0].keys() == files[1].keys()
    assert not [name for name in files[1] if name.endswith(".journal")]
    for name, path in files[0].items():
        assert content(path, whole.work, began) == content(files[1][name], killed.work, began), name
    for chain in chains:  # the second time, by explain.py, the weights come from the cache
        requests = [line for line in chain.hub.requests if "scored/emotion" in line]
        assert "GET api/models/scored/emotion" in requests
        assert not [line for line in requests if line.startswith("GET") and line.endswith(".safetensors")]
    headline(killed)
    assert outputs() == before


def headline(chain: Chain) -> None:
    """What the chain has found out is right, on the revisions that the Hub served."""
    rows = json.loads((chain.work / "tables" / "results.json").read_text())["rows"]
    assert sorted((row["model"], row["revision"], row["examples"]["evaluated"]) for row in rows) == sorted(
        2 * [(name, chain.hub.sha("models", name), limit) for name, _, limit in RUNNERS.values()]
    )
    result = json.loads((chain.work / "headline/assets/data/err.json").read_text())["series"]
    datasets = {series["protocol"]: series["datasets"] for series in result}
    emotion = {name: protocol["emotion"] for name, protocol in datasets.items()}
    assert {name: (item["k"], item["n"]) for name, item in emotion.items()} == {
        "standard": (0, 1),  # 0.9025 as claimed, on the validation split
        "scored-2022": (1, 1),  # 0.8885 on test
    }
    for name in ("imagenet-1k", "coco"):
        assert datasets["standard"][name]["left_out"] == {PARTIAL: 1}


def outputs() -> dict[Path, int]:
    """The checkout's files that scripts write where no flag says otherwise, and when they were changed."""
    paths = [*ROOT.glob("*.*"), *(ROOT / "assets").rglob("*.*"), *(ROOT / "reproducibility").rglob("*.*")]
    paths = [path for path in paths if path.is_file() and path.suffix not in (".py", ".pyc", ".md")]
    return {path: path.stat().st_mtime_ns for path in paths}
