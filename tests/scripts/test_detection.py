"""detection.py: boxes as transformers gives them, one image at a time."""

import numpy as np
import pyarrow as pa
import pytest

import detection
from harness import coco, images, reference
from harness.checkpoint import CannotMeasure
from measuring import gathered


def predict(model, data, batch_size) -> pa.Table:
    """Predict the images in batches, some of them of several images."""
    batches = list(detection.predict(model, data, detection.PROTOCOLS["standard"], batch_size))
    assert max(len(batch.indices) for batch in batches) > 1 or batch_size == 1
    return gathered(batches, data)


def predict_single(model, path) -> dict:
    """One image through transformers, by itself."""
    import torch
    from PIL import Image

    with Image.open(path) as image, torch.inference_mode():
        image = image.convert("RGB")
        outputs = model.net(**model.processor(images=image, return_tensors="pt"))
    size = torch.tensor([[image.height, image.width]])
    return model.processor.post_process_object_detection(outputs, threshold=-1, target_sizes=size)[0]


def compare(table: pa.Table, model, data) -> None:
    for i, (_, path, height, width) in enumerate(data.examples):
        wanted = predict_single(model, path)
        row = {name: np.array(table[name][i].as_py()) for name in ("labels", "scores", "boxes")}
        assert row["labels"].tolist() == wanted["labels"].tolist()
        assert np.abs(row["scores"] - wanted["scores"].numpy()).max() < 1e-4
        scale = np.array([width, height, width, height])
        assert (np.abs(row["boxes"].reshape(-1, 4) - wanted["boxes"].numpy()) / scale).max() < 1e-4


@pytest.mark.shared
def test_yolos_gives_the_boxes_of_transformers_and_the_numbers_of_pycocotools(shared, one_thread):
    import torch
    from transformers import pipeline

    model = detection.load_model(shared / "models" / "yolos-tiny-overfit", "cpu", torch.float32)
    data, facts = detection.load_data(shared / "coco", "validation"), images.describe(model)
    table = predict(model, data, 4)
    compare(table, model, data)

    category, _ = detection.map_labels(facts["labels"], data.split_facts["categories"])
    pipe = pipeline("object-detection", model=model.net, image_processor=model.processor, device="cpu")
    by_pipe = []
    for image, path, *_ in data.examples:
        for d in pipe(path):
            x0, y0, x1, y1 = d["box"].values()
            by_pipe.append(
                [image, x0, y0, x1 - x0, y1 - y0, d["score"], category[facts["labels"].index(d["label"])]]
            )
    ours = detection.detections(table, data, detection.PROTOCOLS["scored-2022"], category)
    by_pipe = np.array(by_pipe)
    assert ours.shape == by_pipe.shape and (ours[:, [0, 6]] == by_pipe[:, [0, 6]]).all()
    assert np.abs(ours[:, 5] - by_pipe[:, 5]).max() < 1e-4
    assert (ours[:, 1:5] == by_pipe[:, 1:5]).all(
        1
    ).mean() > 0.99  # noise may carry a corner over a whole pixel

    values = {}
    for name, protocol in detection.PROTOCOLS.items():
        rows = detection.detections(table, data, protocol, category)
        ids = detection.image_ids(data.examples)
        truth = coco.annotation_columns(ids, data.targets)
        wanted = reference.coco_stats(ids, data.split_facts["categories"], truth, rows)
        values[name] = detection.score(table, data, protocol, facts)
        assert list(values[name]["metrics"].values()) == wanted.tolist()
        assert not values[name]["intervals"] and values[name]["interval_method"]["AP"].startswith("none: ")
    assert values["standard"]["metrics"]["AP"] > values["scored-2022"]["metrics"]["AP"] + 0.01


@pytest.mark.shared
@pytest.mark.parametrize(
    ("place", "name", "note"),
    [
        (1, "persn", "by name; 'persn' stands for 'person': 86 of the 86 objects that it fits best are"),
        (24, "N/A", "by name; 'N/A' stands for 'zebra': 2 of the 2 objects that it fits best are"),
        (5, "plane", "by name; 'airplane' has no label, and no box overlaps an object of it"),
        (90, None, "shifted by one, since 'toothbrush' is lost and the boxes fit so: 266 of 270 objects"),
    ],
    ids=["misspelt", "forgotten", "of no object here", "all shifted by one"],
)
def test_lost_name_costs_nothing_where_the_boxes_say_which_output_it_is(yolos, place, name, note):
    table, data, facts = yolos
    names = list(facts["labels"])
    if name is None:
        names = ["N/A", *names[:-1]]
    else:
        names[place] = name
    for protocol in detection.PROTOCOLS.values():
        sound = detection.score(table, data, protocol, facts)
        scores = detection.score(table, data, protocol, facts | {"labels": names})
        assert scores["metrics"] == sound["metrics"] and scores["labels"].startswith(note)
        assert detection.reference_scores(table, data, protocol, facts | {"labels": names})["AP"] > 0


@pytest.mark.shared
def test_head_without_a_class_is_refused(yolos):
    """The boxes of zebras are won by other outputs."""
    table, data, facts = yolos
    labels = [name if name != "zebra" else "N/A" for name in facts["labels"]]
    outputs = [[18 if output == 24 else output for output in image] for image in table["labels"].to_pylist()]
    table = table.set_column(
        table.column_names.index("labels"), "labels", pa.array(outputs, table["labels"].type)
    )
    with pytest.raises(
        CannotMeasure, match=r"none of the 91 is called 'zebra'.*the boxes do not say plainly"
    ):
        detection.score(table, data, detection.PROTOCOLS["standard"], facts | {"labels": labels})


@pytest.mark.shared
def test_detr_gives_the_same_boxes_in_batches_of_unlike_images(shared, one_thread):
    """A DETR has a pixel mask, but the convolutions in front of it see the padding all the same."""
    import torch
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessorPil, ResNetConfig

    torch.manual_seed(0)
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    config = DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone,
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, num_queries=8, num_labels=5,
    )  # fmt: skip
    processor = DetrImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 160})
    model = images.Model(DetrForObjectDetection(config).eval(), processor)
    data = detection.load_data(shared / "coco", "validation")
    compare(predict(model, data, 8), model, data)


@pytest.mark.shared
def test_post_processing_that_keeps_the_best_100_is_followed_and_up_to_300_are_saved(shared, one_thread):
    import torch
    from transformers import ConditionalDetrConfig, ConditionalDetrForObjectDetection, ResNetConfig
    from transformers import ConditionalDetrImageProcessorPil as Processor

    torch.manual_seed(0)
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    config = ConditionalDetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone,
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, num_queries=8, num_labels=91,
    )  # fmt: skip
    processor = Processor(size={"shortest_edge": 96, "longest_edge": 160})
    model = images.Model(ConditionalDetrForObjectDetection(config).eval(), processor)
    data = detection.load_data(shared / "coco", "validation")
    data = data.take(range(6))
    assert detection.describe(model)["max_detections"] == 100
    table = predict(model, data, 1)
    assert table["scores"].combine_chunks().value_lengths().to_pylist() == [300] * 6
    compare(cut(table, 100), model, data)
    inputs, _ = detection.scoring_inputs(
        table, data, detection.PROTOCOLS["standard"], {"labels": ["LABEL_0"] * 91, "max_detections": 100}
    )
    everything = detection.detections(
        table,
        data,
        detection.PROTOCOLS["standard"],
        detection.map_labels(["0"] * 91, data.split_facts["categories"])[0],
    )
    assert 0 < len(inputs[3]) <= 600 < len(everything)


def cut(table: pa.Table, n: int) -> pa.Table:
    """The first n detections of each image."""
    columns = {}
    for name, size in (("labels", 1), ("scores", 1), ("boxes", 4)):
        columns[name] = [values[: n * size] for values in table[name].to_pylist()]
    return pa.table(columns)
