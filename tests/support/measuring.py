"""Running a task script or explain.py in this process, its models too."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import in_this_process
from harness.runner import run_task
from project import SHARED

NO_HUB = "http://127.0.0.1:9"  # nobody answers there


@pytest.fixture
def quiet_transformers():
    """Keep transformers from logging to the stderr of the test that imported it, which is closed by now."""
    from transformers import logging

    logging.set_verbosity_error()
    logging.disable_default_handler()
    yield
    logging.enable_default_handler()


@pytest.fixture
def measure(run_script, quiet_transformers, tmp_path):
    """Return a function (task, *arguments, folder=…) -> (Call, rows) that runs a task script."""

    def call(task, *arguments: object, folder=tmp_path):
        rows = folder / "rows.json"
        paths = ["--results", rows, "--predictions", folder / "predictions", "--device", "cpu"]
        with in_this_process(SimpleNamespace(folder=folder, env={}), NO_HUB):
            ending = run_script(lambda: run_task(task), *arguments, *paths)
        return ending, json.loads(rows.read_text())["rows"] if rows.exists() else []

    return call


@pytest.fixture
def explain_all(run_script, quiet_transformers, tmp_path):
    """Return a function (model, data, *arguments, folder=…) -> explanations, one per claim."""
    import explain

    def call(model, data, *arguments: object, folder=tmp_path) -> list[dict]:
        output = folder / "explanations.json"
        paths = ["--output", output, "--predictions", folder / "predictions", "--device", "cpu"]
        with in_this_process(SimpleNamespace(folder=folder, env={}), NO_HUB):
            ending = run_script(explain.main, model, "--data", data, *paths, *arguments)
        assert ending.code == 0, ending.err
        explanations = json.loads(output.read_text())["explanations"]
        chosen = [
            explanation for explanation in explanations if Path(explanation["model"]).name == model.name
        ]
        for explanation in chosen:
            check_points(explanation)
        return chosen

    return call


@pytest.fixture
def explain_here(explain_all):
    """Return a function (model, data, *arguments, folder=…) -> the explanation of the model's only claim."""

    def call(*arguments: object, **options) -> dict:
        (explanation,) = explain_all(*arguments, **options)
        return explanation

    return call


def check_points(explanation: dict) -> None:
    """Assert that the points of the causes, and what is left unexplained, add up to the gaps."""
    from math import fsum

    total = fsum(cause["points"] for cause in explanation["causes"])
    if explanation["unexplained_points"] is None:  # nothing was to be explained
        assert explanation["causes"] == [] and explanation["verdict"] not in ("overstated", "understated")
    else:
        assert total == pytest.approx(explanation["gap_points"], abs=1e-9)
        off = 100 * (explanation["seen"]["value"] - explanation["claim"]["fraction"])
        assert total + explanation["unexplained_points"] == pytest.approx(off, abs=1e-9)


@pytest.fixture
def one_thread():
    """Run torch on one thread, so that batches and single examples are computed alike."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def mobilenet():
    """The real classifier of ../shared, loaded once."""
    import torch

    import image_classification

    return image_classification.load_model(SHARED / "models" / "mobilenet-v2", "cpu", torch.float32)


@pytest.fixture(scope="session")
def yolos():
    """Saved predictions of the detector of ../shared on its 40 images, the data, facts about the model."""
    import torch

    import detection

    model = detection.load_model(SHARED / "models" / "yolos-tiny-overfit", "cpu", torch.float32)
    data = detection.load_data(SHARED / "coco", "validation")
    batches = list(detection.predict(model, data, detection.PROTOCOLS["standard"], 4))
    return gathered(batches, data), data, detection.describe(model)


def gathered(batches, data):
    """Join batches into one Arrow table in the order of the examples; all must be readable."""
    import pyarrow as pa

    parts = [pa.table({"example": list(batch.indices), **batch.columns}) for batch in batches]
    assert not any(batch.unreadable for batch in batches)
    table = pa.concat_tables(parts).sort_by("example")
    assert table["example"].to_pylist() == list(range(len(data.examples)))
    return table
