"""Each text and image of ../shared: the predictions are those of the plain pipelines of transformers."""

import shutil

import numpy as np
import pytest
from PIL import Image

import image_classification as ic
import sentiment_analysis as sentiment
from harness import images
from harness.imagenet import map_labels, synsets
from harness.reference import accuracy_and_f1
from harness.shards import read_predictions
from measuring import gathered


@pytest.mark.shared
def test_each_text_has_the_label_that_the_pipeline_gives(shared, measure):
    from transformers import pipeline

    model = shared / "models" / "emotion-tiny"
    call, rows = measure(sentiment.TASK, model, "--data", shared / "emotion")
    assert call.code == 0, call.err
    assert [row["metrics"]["accuracy"] for row in rows] == [0.8885, 0.9025]
    plain = pipeline("text-classification", str(model), device="cpu")
    for row in rows:
        data = sentiment.load_data(shared / "emotion", row["split"])
        table, _ = read_predictions(row["predictions"]["file"])
        logits = np.array(table["logits"].to_pylist())
        labels = [sentiment.LABELS.index(plain(text)[0]["label"]) for text in data.examples]  # one at a time
        assert len(labels) == 2000 and logits.argmax(1).tolist() == labels
        assert row["metrics"] == accuracy_and_f1(data.targets, labels)  # the same doubles
        assert row["examples"] == {"expected": 2000, "evaluated": 2000} and row["notes"]["truncated"] == 0


@pytest.mark.shared
def test_each_image_has_the_labels_that_transformers_gives(shared, mobilenet, one_thread, tmp_path):
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
    names = images.describe(mobilenet)["labels"]
    mapped, _ = map_labels(names)
    assert mapped == [-1, *range(1000)]

    plain = images.column_for_view(table, "classes", False)[0].reshape(200, -1)
    turned = images.column_for_view(table, "classes", True)[0].reshape(200, -1)
    pipe = pipeline(
        "image-classification", model=mobilenet.net, image_processor=mobilenet.processor, device="cpu"
    )
    right = np.zeros(4, int)
    for i, file in enumerate(files):
        by_pipe = [answer["label"] for answer in pipe(str(file), top_k=5)]
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

    facts = images.describe(mobilenet)
    got = [ic.score(table, data, p, facts)["metrics"] for p in ic.PROTOCOLS.values()]
    assert [v * 200 for m in got for v in m.values()] == pytest.approx(right.tolist())
