"""sentiment_analysis.py as a user runs it, with data and a model from a Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import sentiment_analysis
from emotion_models import GOLD
from fake_hub import FakeHub
from harness.texts import read_jsonl

SCRIPT = Path(sentiment_analysis.__file__)


def run(folder: Path, *arguments: object, **kwargs) -> tuple[subprocess.CompletedProcess, list[dict]]:
    """Run the script; return what it printed and its rows."""
    paths = ["--results", folder / "rows.json", "--predictions", folder / "predictions"]
    command = [sys.executable, SCRIPT, *paths, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **kwargs)
    rows = json.loads((folder / "rows.json").read_text())["rows"] if (folder / "rows.json").exists() else []
    return done, rows


def test_data_and_model_from_a_hub_have_known_commits(emotion_models, tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    texts, _ = read_jsonl(emotion_models / "data" / "test.jsonl", 6, "")
    labels = ClassLabel(names=sentiment_analysis.LABELS)
    features = Features({"text": Value("string"), "label": labels})
    data = Dataset.from_dict({"text": texts, "label": GOLD}, features=features)
    card = "---\nconfigs:\n- config_name: split\n  data_files:\n  - {split: test, path: split/test-*}\n---\n"
    (tmp_path / "emotion" / "split").mkdir(parents=True)
    (tmp_path / "emotion" / "README.md").write_text(card)
    data.to_parquet(tmp_path / "emotion" / "split" / "test-00000-of-00001.parquet")
    model, local_data = emotion_models / "good", ["--data", emotion_models / "data"]
    with FakeHub(models={"ann/good": model}, datasets={"dair-ai/emotion": tmp_path / "emotion"}) as hub:
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        done, rows = run(tmp_path / "hub", "ann/good", "--protocol", "scored-2022", env=env)
        assert done.returncode == 0, done.stderr
        assert rows[0]["dataset_revision"] == hub.sha("datasets", "dair-ai/emotion")
        assert rows[0]["revision"] == hub.sha("models", "ann/good")
    _, local = run(tmp_path, model, *local_data, "--protocol", "scored-2022")
    assert rows[0]["metrics"] == local[0]["metrics"] and rows[0]["notes"]["data"] == "dair-ai/emotion"
    done, _ = run(tmp_path, model, env=env)  # the Hub is gone
    assert done.returncode == 2 and "cannot get dair-ai/emotion from the Hub" in done.stderr
