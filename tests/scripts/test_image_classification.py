"""Does image_classification.py map labels right, read every layout, and answer as transformers does?"""

import io
import json
import os
import random
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

import image_classification as ic
from fake_hub import FakeHub
from harness import images
from harness.checkpoint import CannotMeasure
from harness.imagenet import map_labels, synsets
from harness.task import Data
from project import ROOT
from scored.files import UserError

HUB = ic.IMAGENET.hub_id
NAMES = list(synsets().values())
FIRST = [names.split(", ")[0] for names in NAMES]


# ── Labels ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "labels",
    [NAMES, FIRST, [n.replace(" ", "_") for n in FIRST], [n.upper() for n in FIRST], list(synsets())],
    ids=["full lists", "first names", "underscores", "capitals", "wnids"],
)
def test_labels_in_canonical_order_are_found(labels):
    assert map_labels(labels) == (list(range(1000)), "by name")
    assert map_labels(["background", *labels])[0] == [-1, *range(1000)]


def test_labels_in_any_order_are_found_by_name():
    order = random.Random(0).sample(range(1000), 1000)
    for names in (NAMES, FIRST):
        found, _ = map_labels([names[i] for i in order])
        # what two synsets are both called goes to them in index order; every other label is exact
        doubtful = {134, 517} if names is NAMES else {134, 517, 264, 474, 638, 639}
        assert [f for f, i in zip(found, order, strict=True) if i not in doubtful] == [
            i for i in order if i not in doubtful
        ]
        assert sorted(found) == list(range(1000))
    assert found.index(134) < found.index(517)


def test_the_duplicate_names():
    assert [i for i, name in enumerate(FIRST) if name.casefold() in ("crane", "maillot", "cardigan")] == [
        134,
        264,
        474,
        517,
        638,
        639,
    ]
    assert NAMES[638:640] == ["maillot", "maillot, tank suit"]
    swapped = [*NAMES[:638], NAMES[639], NAMES[638], *NAMES[640:]]
    assert map_labels(swapped)[0][638:640] == [639, 638]  # the full lists tell them apart


def test_labels_without_names_go_by_index_and_say_so():
    found, words = map_labels([f"LABEL_{i}" for i in range(1000)])
    assert found == list(range(1000)) and "no names" in words
    found, words = map_labels([f"LABEL_{i}" for i in range(1001)])
    assert found == list(range(-1, 1000)) and "background" in words
    assert map_labels(NAMES[::-1], "index")[0] == list(range(1000))


def test_a_few_other_words_are_placed_by_their_neighbours():
    labels = [*NAMES[:7], "a fowl of no name", *NAMES[8:]]
    assert map_labels(labels) == (list(range(1000)), "by name, 1 of them by position among the others")
    with pytest.raises(CannotMeasure, match="output 7, 'a fowl of no name'"):
        map_labels([*labels[500:], *labels[:500]][500:] + labels[501:] + labels[500:501])


@pytest.mark.parametrize(
    "labels",
    [
        NAMES[:999],
        [*NAMES[:500], *(f"thing {i}" for i in range(500))],
        [*NAMES[:999], NAMES[0]],
        ["cat", "dog"],
    ],
)
def test_labels_that_cannot_be_mapped_are_refused(labels):
    with pytest.raises(CannotMeasure, match="labels do not match"):
        map_labels(labels)


# ── Metric, by hand ───────────────────────────────────────────────────────────────────────────────────────


def test_score_by_hand():
    head = ["background", *NAMES]
    rows = [[5, 1, 2, 3, 4, 9], [1, 5, 2, 3, 4, 9], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 5, 4]]
    kind = pa.list_(pa.int32())
    table = pa.table(
        {"classes": pa.array(rows, kind), "turned_classes": pa.array([None, rows[0], None, None], kind)}
    )
    data = Data("validation", "", "", range(4), [4, 4, 4, 4], 4)
    plain = ic.score(table, data, ic.PROTOCOLS["standard"], {"labels": head})
    assert plain["metrics"] == {"accuracy": 0.25, "accuracy-top5": 0.75} and plain["turned_by_exif"] == 1
    assert plain["intervals"]["accuracy"] == pytest.approx([0.0456, 0.6994], abs=1e-4)
    turned = ic.score(table, data, ic.PROTOCOLS["scored-2022"], {"labels": head})
    assert turned["metrics"] == {"accuracy": 0.5, "accuracy-top5": 0.75}


# ── Data ──────────────────────────────────────────────────────────────────────────────────────────────────


def picture(turn: int = 1, seed: int = 0) -> bytes:
    exif, out = Image.Exif(), io.BytesIO()
    exif[images.ORIENTATION] = turn
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
    Image.fromarray(pixels).resize((180, 120)).save(out, "JPEG", exif=exif)
    return out.getvalue()


def write_parquet(folder) -> None:
    """Three examples in the layout of the Hub's data set."""
    column = pa.array([{"bytes": picture(seed=n), "path": None} for n in range(3)])
    table = pa.table({"image": column, "label": [65, 970, 230]})
    names = {"info": {"features": {"label": {"names": NAMES}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    pa.parquet.write_table(table, folder / "validation-00000-of-00001.parquet", row_group_size=2)


def test_the_validation_split_from_a_hub_and_only_that(tmp_path):
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
            done.asked, done.sha = (
                hub.requests,
                hub.sha("datasets", HUB) if "datasets" in repos else None,
            )
            return done

    done = load(gated={HUB})
    assert f"UserError: cannot download {HUB} from the Hub" in done.stderr.splitlines()[-1]
    done = load(datasets={HUB: tmp_path / "repo"})
    assert done.stdout.strip() == f"{done.sha} [65, 970, 230]", done.stderr
    assert not any("train" in path for path in done.asked)


def test_every_layout_gives_the_same_examples(tmp_path):
    wnids = [list(synsets())[i] for i in (65, 970, 230)]
    flat, folders, hub = tmp_path / "a" / "flat", tmp_path / "b", tmp_path / "c" / "data"
    for place in (flat, hub, *(folders / wnid for wnid in wnids)):
        place.mkdir(parents=True)
    stems = [f"ILSVRC2012_val_{n:08}" for n in (1, 2, 3)]
    for n, (stem, wnid) in enumerate(zip(stems, wnids, strict=True)):
        for file in (flat / f"{stem}.JPEG", folders / wnid / f"{stem}.JPEG"):
            file.write_bytes(picture(seed=n))
    answers = {
        "val.txt": "".join(f"{s}.JPEG {i}\n" for s, i in zip(stems, (65, 970, 230), strict=True)),
        "LOC_val_solution.csv": "ImageId,PredictionString\n"
        + "".join(f"{s},{w} 1 2 3 4 {w} 5 6 7 8 \n" for s, w in zip(stems, wnids, strict=True)),
        "ILSVRC2012_validation_ground_truth.txt": "490\n361\n171\n",
    }
    with pytest.raises(UserError, match=r"neither <wnid>/ folders nor a file with answers.*val.txt"):
        ic.load_data(flat, "validation")
    for name, text in answers.items():
        (flat.parent / name).write_text(text)
        if name.startswith("ILSVRC"):
            with pytest.raises(UserError, match=r"map_clsloc.txt"):
                ic.load_data(flat, "validation")
            (flat.parent / "map_clsloc.txt").write_text(
                f"{wnids[0]} 490 sea_snake\n{wnids[1]} 361 alp\n{wnids[2]} 171 Shetland_sheepdog\n"
            )
        data = ic.load_data(flat, "validation")
        assert data.targets == [65, 970, 230]
        (flat.parent / name).unlink()
    nested = ic.load_data(folders, "validation")
    assert sorted(nested.targets) == [65, 230, 970] and nested.source == "local folder, 3 images"

    write_parquet(hub)
    parquet = ic.load_data(tmp_path / "c", "validation")
    assert parquet.targets == [65, 970, 230]
    assert [ic.read(e) for e in parquet.examples] == [ic.read(e) for e in data.examples]

    before = nested.revision
    (folders / wnids[0] / f"{stems[0]}.JPEG").write_bytes(picture(seed=9))
    assert ic.load_data(folders, "validation").revision != before
    (folders / "n99999999").mkdir()
    with pytest.raises(UserError, match="n99999999 is not one of the 1,000 synsets"):
        ic.load_data(folders, "validation")


# ── Against transformers ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def mobilenet(request):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ic.load_model(ROOT.parent / "shared" / "models" / "mobilenet-v2", "cpu", torch.float32)
    torch.set_num_threads(threads)


def gathered(batches, data) -> pa.Table:
    parts = [pa.table({"example": list(b.indices), **b.columns}) for b in batches]
    assert not any(b.unreadable for b in batches)
    table = pa.concat_tables(parts).sort_by("example")
    assert table["example"].to_pylist() == list(range(len(data.examples)))
    return table


@pytest.mark.shared
def test_the_same_labels_as_transformers_image_by_image(shared, mobilenet, tmp_path):
    """scored-2022 as the plain pipeline, standard as processor and model called directly; EXIF turns some."""
    import torch
    from transformers import pipeline

    shutil.copytree(shared / "imagenet" / "val", tmp_path / "val")
    files = sorted(tmp_path.glob("val/*/*"))
    for turn, file in enumerate(files[:8], 1):
        with Image.open(file) as image:
            exif = Image.Exif()
            exif[images.ORIENTATION] = turn
            image.convert("RGB").save(file, exif=exif, quality=95)
    data = ic.load_data(tmp_path, "validation")
    assert [str(f) for f in files] == data.examples and len(files) == 200
    table = gathered(list(ic.predict(mobilenet, data, ic.PROTOCOLS["standard"], 8)), data)
    assert images.count_rotated(table, "classes") == 7
    names, mapped = (
        ic.images.describe(mobilenet)["labels"],
        map_labels(images.describe(mobilenet)["labels"])[0],
    )
    assert mapped == [-1, *range(1000)]

    plain = images.column_for_view(table, "classes", False)[0].reshape(200, -1)
    turned = images.column_for_view(table, "classes", True)[0].reshape(200, -1)
    pipe = pipeline(
        "image-classification", model=mobilenet.net, image_processor=mobilenet.processor, device="cpu"
    )
    right = np.zeros(4, int)
    for i, file in enumerate(files):
        by_pipe = [found["label"] for found in pipe(str(file), top_k=5)]
        with Image.open(file) as image, torch.inference_mode():
            logits = mobilenet.net(**mobilenet.processor(image.convert("RGB"), return_tensors="pt")).logits[0]
        direct = logits.argsort(descending=True)[:5].tolist()
        assert names[turned[i, 0]] == by_pipe[0] and plain[i, 0] == direct[0], file
        assert np.allclose(table["logits"][i].as_py(), logits[plain[i].tolist()], atol=1e-3)
        wanted = list(synsets()).index(file.parent.name) + 1
        right += [
            direct[0] == wanted,
            wanted in direct,
            by_pipe[0] == names[wanted],
            names[wanted] in by_pipe,
        ]
    assert (plain[:8, 0] != turned[:8, 0]).any()  # the protocols do differ where EXIF turns

    about = images.describe(mobilenet)
    got = [ic.score(table, data, p, about)["metrics"] for p in ic.PROTOCOLS.values()]
    assert [v * 200 for m in got for v in m.values()] == pytest.approx(right.tolist())


@pytest.mark.shared
def test_batch_mates_do_not_matter(shared, mobilenet):
    data = ic.load_data(shared / "imagenet" / "val", "validation").take(range(24))
    runs = [gathered(list(ic.predict(mobilenet, data, ic.PROTOCOLS["standard"], n)), data) for n in (1, 7)]
    for column, tolerance in (("classes", 0), ("logits", 1e-4)):
        first, second = (np.array(t[column].to_pylist()) for t in runs)
        assert np.abs(first[:, :5] - second[:, :5]).max() <= tolerance
    assert runs[0]["hash"] == runs[1]["hash"] and len(set(runs[0]["hash"].to_pylist())) == 24


@pytest.mark.shared
def test_a_head_of_other_classes_is_refused_before_any_image_is_read(shared, mobilenet, monkeypatch):
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
def test_command_refuses_a_set_with_one_unreadable_image(shared, tmp_path):
    for folder in sorted((shared / "imagenet" / "val").iterdir())[:6]:
        shutil.copytree(folder, tmp_path / "val" / folder.name)
    broken = sorted(tmp_path.glob("val/*/*"))[3]
    broken.write_bytes(broken.read_bytes()[:2000])
    rows = tmp_path / "rows.json"
    command = [
        sys.executable,
        ROOT / "reproducibility" / "image_classification.py",
        "--data",
        tmp_path / "val",
    ]
    command += [shared / "models" / "mobilenet-v2", "--results", rows, "--predictions", tmp_path / "p"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    row = json.loads(rows.read_text())["rows"][0]
    assert row["stage"] == "predict" and "metrics" not in row
    assert row["error"].startswith("1 of 6 examples are unreadable; example 3: OSError: "), row["error"]
