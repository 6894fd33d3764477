"""image_classification.py: the same in any batch; wrong heads and unreadable images are refused."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import image_classification as ic
from fake_hub import FakeHub
from harness.checkpoint import CannotMeasure
from harness.task import Data
from measuring import gathered
from pictures import write_parquet
from project import ROOT

HUB = ic.IMAGENET.hub_id


def test_only_the_validation_split_is_downloaded(tmp_path):
    (tmp_path / "repo" / "data").mkdir(parents=True)
    write_parquet(tmp_path / "repo" / "data")
    (tmp_path / "repo" / "data" / "train-00000-of-00001.parquet").write_text("140 GB")
    code = (
        "import image_classification as i; d = i.load_data(None, 'validation'); print(d.revision, d.targets)"
    )

    def load(**repos) -> subprocess.CompletedProcess:
        with FakeHub(**repos) as hub:
            env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
            env["PYTHONPATH"] = str(ROOT / "reproducibility")
            done = subprocess.run(
                [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
            )
            done.requests = hub.requests
            done.sha = hub.sha("datasets", HUB) if "datasets" in repos else None
            return done

    done = load(gated={HUB})
    assert f"UserError: cannot download {HUB} from the Hub" in done.stderr.splitlines()[-1]
    done = load(datasets={HUB: tmp_path / "repo"})
    assert done.stdout.strip() == f"{done.sha} [65, 970, 230]", done.stderr
    assert not any("train" in path for path in done.requests)


@pytest.mark.shared
def test_other_images_of_a_batch_do_not_matter(shared, mobilenet):
    data = ic.load_data(shared / "imagenet" / "val", "validation").take(range(24))
    runs = [gathered(list(ic.predict(mobilenet, data, ic.PROTOCOLS["standard"], n)), data) for n in (1, 7)]
    for column, tolerance in (("classes", 0), ("logits", 1e-4)):
        first, second = (np.array(t[column].to_pylist()) for t in runs)
        assert np.abs(first[:, :5] - second[:, :5]).max() <= tolerance
    assert runs[0]["hash"] == runs[1]["hash"] and len(set(runs[0]["hash"].to_pylist())) == 24


@pytest.mark.shared
def test_head_of_other_classes_is_refused_before_any_image_is_read(shared, mobilenet, monkeypatch):
    monkeypatch.setattr(mobilenet.net.config, "id2label", {0: "cat", 1: "dog"})
    data = Data("validation", "", "", ["no such file"], [0], 1)
    with pytest.raises(CannotMeasure, match="2 outputs, not 1000 or 1001"):
        next(ic.predict(mobilenet, data, ic.PROTOCOLS["standard"], 4))


@pytest.mark.shared
def test_preprocessing_can_be_replaced(shared, mobilenet):
    data = ic.load_data(shared / "imagenet" / "val", "validation").take(range(4))
    changed = ic.Protocol(exif=False, preprocessing={"image_mean": [0.0] * 3, "image_std": [1.0] * 3})
    runs = [
        gathered(list(ic.predict(mobilenet, data, p, 4)), data) for p in (ic.PROTOCOLS["standard"], changed)
    ]
    assert runs[0]["logits"] != runs[1]["logits"]


@pytest.mark.shared
def test_set_with_an_unreadable_image_is_refused(shared, measure, tmp_path):
    for folder in sorted((shared / "imagenet" / "val").iterdir())[:6]:
        shutil.copytree(folder, tmp_path / "val" / folder.name)
    broken = sorted(tmp_path.glob("val/*/*"))[3]
    broken.write_bytes(broken.read_bytes()[:2000])
    call, rows = measure(ic.TASK, shared / "models" / "mobilenet-v2", "--data", tmp_path / "val")
    row = rows[0]
    assert call.code == 1 and row["stage"] == "predict" and "metrics" not in row
    assert row["error"].startswith("1 of 6 examples are unreadable; example 3: OSError: "), row["error"]
