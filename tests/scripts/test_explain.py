"""Points per cause: they add up, the injected fault is named, what no choice explains is the model's own."""

import json
import random
import shutil
import subprocess
import sys
from math import fsum

import numpy
import pytest

import explain
from harness import attribution, choices
from project import ROOT
from scored.files import UserError


def test_shapley_of_a_game_worked_by_hand():
    """Glove game: one left glove (a), two right (b, c); a pair is worth 1. Known: 2/3, 1/6, 1/6."""
    worth = lambda some: float("a" in some and len(some) > 1)  # noqa: E731
    assert attribution.shapley(worth, "abc") == pytest.approx({"a": 2 / 3, "b": 1 / 6, "c": 1 / 6})


@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_points_add_up_and_an_idle_factor_gets_none(k):
    noise = random.Random(0)
    names = [f"f{i}" for i in range(k)]
    table = {some: noise.random() for some in attribution.subsets(names)}
    worth = lambda some: table[frozenset(some) - {"idle"}]  # noqa: E731
    points = attribution.shapley(worth, [*names, "idle"])
    assert fsum(points.values()) == pytest.approx(table[frozenset(names)] - table[frozenset()], abs=1e-12)
    assert points["idle"] == pytest.approx(0, abs=1e-12)


def test_a_permutation_is_found_and_chance_is_not():
    rng = numpy.random.default_rng(0)
    true = rng.integers(0, 6, 2000)
    right = numpy.where(rng.random(2000) < 0.9, true, rng.integers(0, 6, 2000))
    permutation = [2, 0, 1, 3, 5, 4]
    said = numpy.argsort(permutation)[right]  # head i answers for class permutation[i]
    found, gain = attribution.best_label_order(said, true, list(range(6)))
    assert (found, gain > 50) == (permutation, True)
    assert attribution.best_label_order(right, true, list(range(6))) == (list(range(6)), 0.0)
    few = rng.integers(0, 500, 400)  # a random model on fewer examples than classes: nothing is gained
    assert (
        attribution.best_label_order(rng.integers(0, 500, 400), few, list(range(500)))[1]
        < explain.MIN_PERMUTATION_GAIN
    )


# ── Injected faults ───────────────────────────────────────────────────────────────────────────────────────


def faulty(original, folder, *faults):
    """A copy of a model with faults injected: each changes one of its JSON files, or its weights."""
    shutil.copytree(original, folder, copy_function=shutil.copyfile)
    for fault in faults:
        fault(folder)
    return folder


def edit(name, change):
    def fault(folder):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return fault


def permute(*order):
    """The labels of the heads, moved to other heads."""

    def change(config):
        names = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        moved = dict(enumerate(names))
        moved |= {i: names[j] for i, j in zip(order, [*order[1:], order[0]], strict=True)}
        config["id2label"] = {str(i): name for i, name in moved.items()}
        config["label2id"] = {name: i for i, name in moved.items()}

    return edit("config.json", change)


def noise(scale):
    def fault(folder):
        import torch
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        generator = torch.Generator().manual_seed(0)
        for name, value in sorted(weights.items()):
            if value.ndim > 1:
                value += scale * value.std() * torch.randn(value.shape, generator=generator)
            weights[name] = value
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return fault


def explained(tmp_path, model, data, *words):
    out = tmp_path / "explanations.json"
    script = [sys.executable, str(ROOT / "reproducibility" / "explain.py"), str(model), "--data", str(data)]
    flags = ["--output", str(out), "--predictions", str(tmp_path / "predictions"), "--device", "cpu", *words]
    done = subprocess.run([*script, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(out.read_text())["explanations"]
    total = fsum(cause["points"] for cause in found["causes"])
    assert total == pytest.approx(found["gap_points"], abs=1e-9)
    if found["claim"]:
        off = 100 * (found["seen"]["value"] - found["claim"]["fraction"])
        assert total + found["unexplained_points"] == pytest.approx(off, abs=1e-9)
    return found


short = edit("tokenizer_config.json", lambda config: config.update(model_max_length=8))


@pytest.mark.shared
def test_emotion_tiny_is_off_by_its_split_alone(shared, tmp_path):
    found = explained(
        tmp_path, shared / "models" / "emotion-tiny", shared / "emotion", "--figures", str(tmp_path)
    )
    assert {cause["factor"]: round(cause["points"], 9) for cause in found["causes"]} == {
        "split": -1.4,
        "label order": 0,
    }
    assert (found["named"], round(found["unexplained_points"], 9), found["forward_passes"]) == (
        ["split"],
        0,
        2,
    )
    assert len(list(tmp_path.glob("*.png"))) == 1


@pytest.mark.shared
@pytest.mark.parametrize(
    ("faults", "causes"),
    [
        ([permute(0, 1, 3)], ["label order"]),
        ([short], ["truncation"]),
        ([noise(1.0)], [explain.UNEXPLAINED]),
        ([permute(0, 1, 3), short], ["label order", "truncation"]),
    ],
    ids=["labels", "truncation", "weights", "labels and truncation"],
)
def test_the_fault_injected_into_a_text_model_is_named(shared, tmp_path, faults, causes):
    model = faulty(shared / "models" / "emotion-tiny", tmp_path / "copy", *faults)
    found = explained(tmp_path, model, shared / "emotion", "--seen", "standard")
    assert (found["named"][0], set(found["named"])) == (causes[0], set(causes))
    assert found["labels"]["permuted"] == ("label order" in causes)


def claiming(metric, value, dataset):
    """A model card that claims what the sound model was measured to do."""

    def fault(folder):
        lines = [
            "---",
            "model-index:",
            "- name: m",
            "  results:",
            f"  - dataset: {{type: {dataset}, name: d}}",
        ]
        lines += [f"    metrics: [{{type: {metric}, value: {value!r}}}]", "---", ""]
        (folder / "README.md").write_text("\n".join(lines))

    return fault


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """What the two vision models are measured to do under `standard`, without any fault."""
    values = {}

    def value(shared, name, data):
        if name not in values:
            found = explained(tmp_path_factory.mktemp(name), shared / "models" / name, shared / data, *FEW)
            assert found["claim"] is None
            values[name] = found["faithful"]["value"]
        return values[name]

    return value


FEW = ("--limit", "60")  # images: enough to tell the faults apart, and quick
rescaled = edit(
    "preprocessor_config.json",
    lambda c: c.update(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]),
)
uncropped = edit("preprocessor_config.json", lambda c: c.update(do_center_crop=False))
shifted = permute(*range(1, 1001))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("faults", "causes"),
    [
        ([rescaled], {"mean/std"}),
        ([uncropped], {"resize and crop"}),
        ([shifted], {"label mapping"}),
        ([noise(0.3)], {explain.UNEXPLAINED}),
        ([rescaled, shifted], {"mean/std", "label mapping"}),
    ],
    ids=["mean and std", "crop", "labels", "weights", "mean and labels"],
)
def test_the_fault_injected_into_an_image_classifier_is_named(shared, tmp_path, sound, faults, causes):
    value = sound(shared, "mobilenet-v2", "imagenet")
    claim = claiming("accuracy", value, "imagenet-1k")
    model = faulty(shared / "models" / "mobilenet-v2", tmp_path / "copy", claim, *faults)
    found = explained(tmp_path, model, shared / "imagenet", "--seen", "standard", *FEW)
    assert found["named"][0] in causes
    assert set(found["named"]) == causes


@pytest.mark.shared
@pytest.mark.parametrize(
    ("faults", "seen", "causes"),
    [
        ([], "standard,threshold=0.5", {"score threshold"}),
        ([], "standard,boxes=int", {"box rounding"}),
        ([], "standard,threshold=0.5,boxes=int", {"score threshold", "box rounding"}),
        ([permute(1, 2, 3, 44, 62, 17)], "standard", {"label mapping"}),
        ([noise(0.5)], "standard", {explain.UNEXPLAINED}),
    ],
    ids=["threshold", "rounding", "threshold and rounding", "labels", "weights"],
)
def test_the_fault_injected_into_a_detector_is_named(shared, tmp_path, sound, faults, seen, causes):
    claim = claiming("mAP", sound(shared, "yolos-tiny-overfit", "coco"), "coco")
    model = faulty(shared / "models" / "yolos-tiny-overfit", tmp_path / "copy", claim, *faults)
    found = explained(tmp_path, model, shared / "coco", "--seen", seen, *FEW)
    assert found["named"][0] in causes
    assert set(found["named"]) == causes
    if not faults:  # threshold and rounding touch saved predictions only
        assert found["forward_passes"] == 1
        assert len(list((tmp_path / "predictions").rglob("*.parquet"))) == 1


@pytest.mark.shared
def test_from_a_local_model_to_its_verdicts_and_its_eval_results(shared, tmp_path):
    """Measured, gathered, compared: off by 1.4 points as the study did it, reproduced as claimed."""
    from huggingface_hub import parse_eval_result_entries
    from yaml import safe_load

    def script(name, *words):
        done = subprocess.run(
            [sys.executable, str(ROOT / name), *map(str, words)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    rows = tmp_path / "results" / "EMOTION" / "rows.json"
    model, data = shared / "models" / "emotion-tiny", shared / "emotion"
    flags = ("--data", data, "--results", rows, "--predictions", tmp_path)
    script("reproducibility/sentiment_analysis.py", model, *flags)
    flags = ("--eval-results", tmp_path / "yaml", "--source-url", "https://example.org/results")
    script("reproducibility/results.py", "--results", tmp_path / "results", "--output", tmp_path, *flags)
    script("err.py", "--results", tmp_path / "results.json", "--output", tmp_path)
    series = json.loads((tmp_path / "assets" / "data" / "err.json").read_text())["series"]
    found = {one["protocol"]: one["datasets"]["emotion"] for one in series}
    assert {name: (one["k"], one["n"]) for name, one in found.items()} == {
        "scored-2022": (1, 1),
        "standard": (0, 1),
    }
    study, standard = (found[name]["models"][0] for name in ("scored-2022", "standard"))
    assert (study["discrepancy"], study["verdict"]) == (-1.4, "inconclusive")
    assert (standard["discrepancy"], standard["verdict"], standard["rule"]) == (
        0,
        "reproduced",
        "same examples",
    )
    assert study["verdict_under_standard"] == "reproduced"
    (file,) = (tmp_path / "yaml").glob("*.yaml")
    entries = parse_eval_result_entries(safe_load(file.read_text()))
    assert {entry.dataset_id for entry in entries} == {"dair-ai/emotion"}
    assert 0.9025 in [entry.value for entry in entries]
    assert all(entry.source_url and "protocol standard" in entry.notes for entry in entries)


@pytest.mark.shared
def test_label_factors_and_a_change_of_type_are_told_apart_by_what_they_cost(shared, tmp_path):
    """Two orders of the labels are scored from one forward pass; another dtype needs a second one."""
    model = faulty(shared / "models" / "emotion-tiny", tmp_path / "copy", permute(0, 1, 3))
    (tmp_path / "copy" / "README.md").unlink()
    found = explained(
        tmp_path, model, shared / "emotion", "--seen", "standard", "--faithful", "standard,labels=by index"
    )
    assert (found["named"], found["forward_passes"]) == (["label order"], 1)
    found = explained(
        tmp_path, model, shared / "emotion", "--seen", "standard,dtype=bfloat16", "--faithful", "standard"
    )
    assert ([cause["factor"] for cause in found["causes"]], found["forward_passes"]) == (["dtype"], 2)


def test_a_failed_or_limited_explanation_does_not_take_a_whole_ones_place():
    whole, part = ({"seen": {"examples": {"expected": 9, "evaluated": n}}} for n in (9, 5))
    ordered = [{}, {"error": "x"}, part, whole]
    places = [0, 0, 1, 2]
    for old, i in zip(ordered, places, strict=True):
        assert [explain.is_fuller(old, new) for new in ordered] == [i > j for j in places]


@pytest.mark.parametrize("value", ["False", "no", "0", "null"])
def test_a_switch_is_true_or_false(value):
    import detection

    with pytest.raises(UserError, match=r"exif must be true or false, not "):
        choices.parse_choices(f"scored-2022,exif={value}", detection.TASK, "float32", "validation")
    chosen = choices.parse_choices("scored-2022,exif=false", detection.TASK, "float32", "validation")
    assert chosen["exif"] is False


@pytest.mark.parametrize("words", ["labels=by_index", "labels=index", "dtype=half"])
def test_a_word_that_is_no_choice_is_not_taken_for_another(words):
    import sentiment_analysis

    name = words.partition("=")[0]
    with pytest.raises(UserError, match=f"{name} must be one of: .*; not "):
        choices.parse_choices(f"standard,{words}", sentiment_analysis.TASK, "float32", "test")
    assert choices.parse_choices("standard,labels=by index", sentiment_analysis.TASK, "float32", "test")[
        "labels"
    ]
