"""Claims in a card's text: each rule, each trap, and the labelled corpus."""

import pytest
from claims_report import measure, precision_and_recall
from hypothesis import given
from hypothesis import strategies as st

from profiles import draw
from scored.card_blocks import read_card
from scored.card_text import read_claims

EMOTION = "---\ndatasets:\n- dair-ai/emotion\n---\n"
IMAGENET = "---\ndatasets: [ILSVRC/imagenet-1k]\n---\n# A classifier for ImageNet-1k\n\n"
COCO = "---\ndatasets: [coco]\n---\n# A detector for COCO\n\n"


def claims(text: str, model_id: str = "user/model") -> list[tuple]:
    """Read a card's claims as (metric, value as written, split)."""
    return [(claim.metric, claim.value, claim.split) for claim in read_claims(text, model_id)[0]]


def reasons(text: str, model_id: str = "user/model") -> list[str]:
    """Read why what looks like a claim is not taken."""
    return [item.reason for item in read_claims(text, model_id)[1]]


def table(*rows: str) -> str:
    """Make a Markdown table of its header and rows."""
    columns = rows[0].count("|") + 1
    return "\n".join(f"| {row} |" for row in (rows[0], " | ".join(["-"] * columns), *rows[1:])) + "\n"


# ── What a claim holds ────────────────────────────────────────────────────────────────────────────────────


def test_claim_states_value_unit_and_place():
    text = "\n" + COCO + "It reaches an AP of **42.0** on COCO 2017 validation.\n"
    (claim,), rejected = read_claims(text, "facebook/detr-resnet-50")
    assert (claim.task, claim.dataset, claim.split, claim.metric) == (
        "object-detection", "coco", "validation", "AP"
    )  # fmt: skip
    assert (claim.value, claim.number, claim.fraction, claim.unit) == ("42.0", 42.0, 0.42, "percent")
    assert (claim.source, claim.line, claim.where, claim.verified) == ("card text", 7, "sentence", False)
    assert rejected == []


def test_rejected_value_states_reason_and_line():
    (item,) = read_claims(EMOTION + "\nAccuracy: ~93%\n", "user/model")[1]
    assert item.kind == "bound or approximation"
    assert item.stated == {"line": 6, "text": "Accuracy: ~93%"}


def test_value_that_stands_twice_is_a_single_claim():
    text = IMAGENET + "Top-1 accuracy: 81.84%\n\nOn the validation set it has a top-1 accuracy of 81.8%.\n"
    assert claims(text) == [("accuracy", "81.84%", "validation")]


def test_two_values_of_a_metric_are_two_claims():
    text = IMAGENET + table("model | img_size | top1", "model | 224 | 81.8", "model | 288 | 82.5")
    assert claims(text) == [("accuracy", "81.8", None), ("accuracy", "82.5", None)]


# ── Lists and sentences ───────────────────────────────────────────────────────────────────────────────────

TRAINER = (
    "This model is a fine-tuned version of [x](https://huggingface.co/y/x) on {} dataset.\n"
    "It achieves the following results on the evaluation set:\n- Loss: 0.2\n"
    "- Accuracy: 0.9265\n- F1: 0.9268\n"
)


def test_list_of_the_trainer_names_no_split():
    expected = [("accuracy", "0.9265", None), ("f1", "0.9268", None)]
    assert claims(TRAINER.format("the emotion")) == expected
    assert reasons(TRAINER.format("the emotion")) == ["not measured here: loss"]


@pytest.mark.parametrize(
    "dataset", ["an unknown", "the None", "the tweet_eval", "the go emotions", "the emo"]
)
def test_list_of_the_trainer_on_another_dataset(dataset):
    assert claims(EMOTION + TRAINER.format(dataset)) == []


@pytest.mark.parametrize(
    "text, expected",
    [
        ("- **Test Accuracy**: 92.7%", ("accuracy", "92.7%", "test")),
        ("- Macro F1-score = 0.88", ("f1-macro", "0.88", None)),
        ("- eval_f1: 0.931", ("f1", "0.931", None)),
        ("- Weighted avg precision: 0.91", ("precision-weighted", "0.91", None)),
        ("It has an accuracy\nof 93.2% on the\nemotion dataset test set.", ("accuracy", "93.2%", "test")),
        ("This model obtained 92% accuracy on the validation set.", ("accuracy", "92%", "validation")),
        ("Accuracy: 0.93 ± 0.01", ("accuracy", "0.93 ± 0.01", None)),
    ],
)  # fmt: skip
def test_plain_form_is_read(text, expected):
    assert claims(f"{EMOTION}# Model\n\n{text}\n") == [expected]


def test_lines_of_a_paragraph_are_read_on_their_own():
    assert claims(EMOTION + "Accuracy: 93.2%\nF1: 0.93\n") == [
        ("accuracy", "93.2%", None),
        ("f1", "0.93", None),
    ]


def test_sentence_names_top_1_and_top_5():
    text = "On ImageNet-1k validation, our model reaches 81.3% top-1 accuracy and 95.1% top-5 accuracy.\n"
    assert claims(text) == [("accuracy", "81.3%", "validation"), ("accuracy-top5", "95.1%", "validation")]


@pytest.mark.parametrize(
    "text",
    [
        "It has a top-1 and top-5 accuracy of 81.3% and 95.1%.",
        "ResNet-50 reaches a top-1 accuracy of 76.1%, while this model reaches a top-1 accuracy of 80.2%.",
        "The teacher has a top-1 accuracy of 82.9%.",
        "It improves accuracy by 2.1%.",
        "Its accuracy is 1.5% lower.",
        "RT-A / B achieves 53.1% / 54.3% top-1 accuracy.",
        "It reaches a top-1 accuracy of 81% after 3 epochs.",
        "Expect a loss of accuracy below 1%.",
        "Train accuracy: 99.1%",
        "Accuracy of joy: 0.94",
        "Precision: 16",
        "Accuracy: 0.93 0.94",
    ],
)
def test_sentence_that_is_not_understood_is_no_claim(text):
    assert claims(IMAGENET + text + "\n") == []


@pytest.mark.parametrize(
    "heading", ["Baseline", "Training hyperparameters", "Usage examples", "Linear probing"]
)
def test_section_on_something_else(heading):
    assert claims(f"{EMOTION}## Results\n\n- Accuracy: 0.93\n") != []
    assert claims(f"{EMOTION}## {heading}\n\n- Accuracy: 0.93\n") == []


def test_split_of_the_caption():
    text = EMOTION + "# Model\n\n{}\n\n- Accuracy: 0.99\n"
    assert claims(text.format("On the test set:")) == [("accuracy", "0.99", "test")]
    assert claims(text.format("On the training set:")) == []
    assert claims(EMOTION + "- Train accuracy: 0.99, test accuracy: 0.93\n") == [("accuracy", "0.93", "test")]


def test_results_in_code():
    text = EMOTION + "## Eval results\n```json\n{\n'test_accuracy': 0.936,\n 'test_loss': 0.15\n}\n```\n"
    assert claims(text) == [("accuracy", "0.936", "test")]
    assert claims(text.replace("Eval results", "Training")) == []


# ── Tables ────────────────────────────────────────────────────────────────────────────────────────────────

DEIT = IMAGENET + table(
    "Model | ImageNet top-1 accuracy | # params | URL",
    "DeiT-tiny | 72.2 | 5M | https://huggingface.co/facebook/deit-tiny-patch16-224",
    "DeiT-base | 81.8 | 86M | https://huggingface.co/facebook/deit-base-patch16-224",
    "DeiT-base distilled | 83.4 | 87M | https://huggingface.co/facebook/deit-base-distilled-patch16-224",
    "DeiT-base 384 | 82.9 | 87M | https://huggingface.co/facebook/deit-base-patch16-384",
    "**DeiT-base distilled 384 (1000 epochs)** | **85.2** | 88M | none",
)


@pytest.mark.parametrize(
    "model_id, values",
    [
        ("facebook/deit-base-patch16-224", ["81.8"]),
        ("copy/deit-base-patch16-224", ["81.8"]),
        ("facebook/deit-base-patch16-384", ["82.9"]),
        ("facebook/deit-base-distilled-patch16-384", ["85.2"]),
        ("facebook/deit-small-patch16-224", []),
        ("user/deit-base-patch16-224-finetuned-pets", []),
        ("user/deit", []),
    ],
)
def test_row_of_this_model(model_id, values):
    assert [value for _, value, _ in claims(DEIT, model_id)] == values


@pytest.mark.parametrize(
    "label, model_id, is_own",
    [
        ("resnet50.a1_in1k", "timm/resnet50.a1_in1k", True),
        ("resnet50.a1_in1k", "timm/resnet50.a1_in12k_ft_in1k", False),
        ("convnext_nano.in12k_ft_in1k", "timm/convnext_nano.in12k", False),
        ("MobileNet-XXS", "apple/mobilenet-xx-small", True),
        ("MobileNet-S", "apple/mobilenet-xx-small", False),
        ("RT-NET-R50", "org/rtnet_r50vd", True),
        ("ResNet50", "org/resnet50d", False),
        ("Swin-T", "org/swin-tiny-patch4-window7-224", True),
        ("Swin-T", "org/swin-small-patch4-window7-224", False),
        ("ViT-B/16", "org/vit-base-patch16-224", True),
        ("ViT-B/16", "org/vit-base-patch16-384", False),
        ("ViT-B/32", "org/vit-base-patch16-224", False),
        ("ViT-B/16", "org/vit-base-patch16-224-in21k", False),
        ("Net-T", "nvidia/Net-T-1K", True),
        ("Net-T", "org/net_tiny.nv_in1k", True),
        ("Net-T", "org/net_tiny.nv_in22k_ft_in1k", False),
        ("Net-T", "org/net_tiny.nv", False),
        ("Best model", "org/net", False),
        ("[Net-T](https://huggingface.co/other/old-net)", "nvidia/Net-T-1K", False),
        ("Net (ours)", "user/anything", True),
    ],
)
def test_label_names_the_model(label, model_id, is_own):
    text = IMAGENET + table("Model | Top-1 | Params", f"{label} | 80.1 | 5", "Alexnet | 60.1 | 5")
    assert bool(claims(text, model_id)) is is_own
    assert ("no row of this model" in reasons(text, model_id)) is not is_own


def test_row_that_links_to_this_model():
    url = "https://huggingface.co/org/net-"
    text = IMAGENET + table("Model | Top-1 | URL", f"Old | 80.1 | {url}c", f"New | 81.1 | {url}d")
    assert claims(text, "org/net-d") == [("accuracy", "81.1", None)]
    text = IMAGENET + table("Model | Top-1 | File", f"Old | 80.1 | {url}d/c.pt", f"New | 81.1 | {url}d/d.pt")
    assert claims(text, "org/net-d") == []


@pytest.mark.parametrize("labels, values", [("small base", ["81.1"]), ("384 base", []), ("old base", [])])
def test_rows_of_sizes(labels, values):
    first, second = labels.split()
    text = IMAGENET + table("Variant | Top-1", f"{first} | 80.1", f"{second} | 81.1")
    assert [value for _, value, _ in claims(text, "org/net-base-v2")] == values


def test_rows_of_a_name_are_told_apart():
    header = "Model | Backbone | Pretraining | Top-1"
    text = IMAGENET + table(header, "Net | R50 | none | 80.1", "Net | R101 | none | 81.1")
    assert claims(text, "org/net") == []
    text = COCO + table("Model | Dataset | AP", "Net | COCO | 48.5", "Net | Objects365+COCO | 50.7")
    assert claims(text, "org/net") == [("AP", "48.5", None)]


def test_row_of_several_models_in_a_repository_is_unclear():
    text = COCO + table("Model | mAP[.5:.95]%", "yolox-nano | 24.8", "yolox-x | 51.2")
    assert claims(text, "ti/YOLOX") == []
    assert claims(text, "ti/yolox_x") == [("AP", "51.2", None)]


def test_image_size_of_the_row_must_fit():
    text = IMAGENET + table(
        "Model | Resolution | Acc@1(%)", "Net-B | 224x224 | 81.8", "Net-B | 384x384 | 83.1"
    )
    assert claims(text, "org/net-base-384") == [("accuracy", "83.1", None)]
    assert claims(text, "org/net-base-512") == []


@pytest.mark.parametrize(
    "header, metric",
    [
        ("mAP<sup>val<br>50-95", ("AP", "validation")),
        ("AP@[.5:.95]", ("AP", None)),
        ("box AP (val)", ("AP", "validation")),
        ("mAP@0.5", ("AP50", None)),
        ("AP75", ("AP75", None)),
        ("mask AP", None),
        ("mAP<sup>pose<br>50-95", None),
        ("AP-s", None),
        ("Person AP", None),
        ("Accuracy", None),
    ],
)
def test_header_of_detection(header, metric):
    read = claims(COCO + table(f"Model | {header} | FPS", "model | 42.1 | 30.5"))
    assert read == ([(metric[0], "42.1", metric[1])] if metric else [])


@pytest.mark.parametrize(
    "header, metric",
    [
        ("Top-1 Acc. (%)", "accuracy"),
        ("Acc@5", "accuracy-top5"),
        ("ImageNet-1k (val) top-1", "accuracy"),
        ("ImageNet-V2 top-1", None),
        ("ImageNet-ReaL top-1", None),
        ("ImageNet-21k top-1", None),
        ("CIFAR-10 top-1", None),
        ("Top-1 error", None),
        ("Zero-shot top-1", None),
        ("Original top-1", None),
        ("Mean per-class accuracy", None),
        ("Top-1/Top-5", None),
    ],
)
def test_header_of_classification(header, metric):
    read = claims(IMAGENET + table(f"Model | {header}", "model | 81.3"))
    assert [name for name, _, _ in read] == ([metric] if metric else [])


def test_rows_of_metrics():
    rows = table("Metric | Validation | Test", "Accuracy | 0.94 | 0.927", "F1 (macro) | 0.91 | 0.88")
    assert set(claims(EMOTION + rows)) == {
        ("accuracy", "0.94", "validation"),
        ("accuracy", "0.927", "test"),
        ("f1-macro", "0.91", "validation"),
        ("f1-macro", "0.88", "test"),
    }


def test_column_of_this_model():
    rows = table(" | INT8 | FP32", "**Accuracy (eval-acc)** | 80.576 | 81.326", "Model size (MB) | 94 | 331")
    assert claims(IMAGENET + rows, "intel/vit-int8-static") == [("accuracy", "80.576", None)]
    rows = table("Metric | Baseline | This model", "Accuracy | 0.84 | 0.927")
    assert claims(EMOTION + rows) == [("accuracy", "0.927", None)]


def test_rows_of_datasets():
    rows = table("Dataset | Accuracy", "Pets | 0.91", "Overall | 0.81", "ImageNet-1k | 0.71")
    assert claims(IMAGENET + rows) == [("accuracy", "0.71", None)]


def test_metric_in_the_heading():
    text = (
        COCO + "## mAP50 on COCO 2017\n\n" + table("Detection | 512x512 | 416x416", "model | 61.96 | 57.33")
    )
    assert claims(text) == [("AP50", "61.96", None), ("AP50", "57.33", None)]


def test_epochs_and_classes_are_no_claims():
    epochs = table("Training Loss | Epoch | Accuracy", "0.5 | 1.0 | 0.91")
    classes = table("class | precision | recall | f1-score", "joy | 0.93 | 0.94 | 0.95")
    assert claims(EMOTION + epochs + "\n" + classes) == []
    assert reasons(EMOTION + epochs) == ["rows are epochs"]
    assert (
        claims(EMOTION + table("Dataset | Class | F1", "emotion | joy | 0.94", "emotion | fear | 0.9")) == []
    )
    assert claims(EMOTION + table("Class | Split | F1", "joy | test | 0.94", "fear | test | 0.9")) == []


def test_averages_of_a_classification_report():
    expected = [
        ("accuracy", "0.93", None),
        ("precision-macro", "0.89", None),
        ("recall-macro", "0.88", None),
        ("f1-macro", "0.87", None),
    ]
    rows = table(
        " | precision | recall | f1-score | support",
        "joy | 0.95 | 0.94 | 0.96 | 695",
        "accuracy |  |  | 0.93 | 2000",
        "macro avg | 0.89 | 0.88 | 0.87 | 2000",
    )
    lines = """
              precision    recall  f1-score   support

         joy       0.95      0.94      0.96       695

    accuracy                           0.93      2000
   macro avg       0.89      0.88      0.87      2000
"""
    assert claims(EMOTION + rows) == expected
    assert claims(f"{EMOTION}```{lines}```\n") == expected


def test_html_table_that_does_not_end():
    assert claims(f"{EMOTION}<table>\n\nAccuracy: 0.93\n") == [("accuracy", "0.93", None)]


def test_html_table_with_blank_lines():
    rows = "<tr><th>Name</th><th>Acc@1(%)</th></tr>\n\n    <tr>\n    <td>Net-T</td>\n    <td>82.3</td>\n</tr>"
    (claim,), _ = read_claims(f"{IMAGENET}<table>\n{rows}\n</table>\n", "nvidia/Net-T-1K")
    assert (claim.metric, claim.value, claim.line) == ("accuracy", "82.3", 9)


# ── Which data set ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text, is_ours",
    [
        ("Accuracy on the ImageNet validation set: 81%", True),
        ("Accuracy on ILSVRC 2012: 81%", True),
        ("Accuracy on ImageNet-A: 81%", False),
        ("Accuracy on ImageNet Sketch: 81%", False),
        ("Accuracy on imagenette: 81%", False),
        ("Accuracy on the food dataset: 81%", False),
        ("Pre-trained on ImageNet-21k.\n\nAccuracy: 81%", True),
        ("Pre-trained on ImageNet-21k and fine-tuned on ImageNet-1k.\n\nAccuracy: 81%", True),
        ("Fine-tuned on the food dataset.\n\nAccuracy: 81%", False),
        ("Fine-tuned on the food dataset. Its accuracy is 81%.", False),
        ("Zero-shot accuracy on ImageNet: 81%", False),
        ("We report k-NN results.\n\nAccuracy on ImageNet: 81%", False),
    ],
)
def test_nearest_text_names_the_dataset(text, is_ours):
    assert bool(claims(IMAGENET + text + "\n")) is is_ours


@pytest.mark.parametrize(
    "front, body, is_ours",
    [
        ("datasets: emotion", "", True),
        ("datasets: [go_emotions]", "", False),
        ("datasets: [emotion, imdb]", "", False),
        ("datasets: imagenet-1k", "ImageNet-1k is large.", True),
        ("datasets: [imagenet-1k, imagenet-22k]", "ImageNet-1k is large.", True),
        ("datasets: imagenet-1k", "", False),
        ("license: mit", "- **Dataset:** ImageNet-1k", True),
        ("license: mit", "", False),
        ("license: mit", "Fine-tuned on the emotion dataset.", True),
        ("license: mit", "Fine-tuned on an emotion dataset.", False),
        ("license: mit", "Fine-tuned on an Arabic emotion dataset.", False),
        ("datasets: emotion", "Fine-tuned on an emotion dataset.", True),
        ("datasets: emotion\npipeline_tag: audio-classification", "", False),
        ("datasets: imagenet-1k\ntags: [zero-shot-image-classification]", "ImageNet-1k is large.", False),
    ],
)
def test_front_matter_names_the_dataset(front, body, is_ours):
    assert bool(claims(f"---\n{front}\n---\n# Model\n\n{body}\n\n## Results\n\n- Accuracy: 81%\n")) is is_ours


def test_ap_of_a_model_for_masks_is_only_read_with_the_word_box():
    text = COCO + "# Model for instance segmentation\n\nIt has a {} of 40.1 on COCO.\n"
    assert claims(text.format("box AP")) == [("AP", "40.1", None)]
    assert claims(text.format("AP")) == []


def test_front_matter_is_no_text():
    assert claims("\n" + EMOTION.replace("---\n# ", "") + "Nothing.\n") == []
    card = read_card("A line of text\n---\ndatasets: [coco]\naccuracy: 0.93\n---\n# Title\n")
    assert card.metadata == {"datasets": ["coco"]}
    assert card.passages == ()
    assert read_card("A line\nand another\n---\ndatasets: [coco]\n---\n").metadata == {}


# ── Any card ──────────────────────────────────────────────────────────────────────────────────────────────

MARKUP = [
    "---\n",
    "\n",
    "# ",
    "- ",
    "| ",
    "|-|-|\n",
    "```\n",
    "<table>",
    "<tr><td>",
    "</table>",
    "[x](",
    "\0",
]
TEXTS = [
    "datasets: ",
    "coco",
    "emotion",
    "model",
    " on ",
    " of ",
    ": ",
    "0.93",
    "81%",
    "1x2",
    "~",
    "±1",
]
PIECES = st.sampled_from(MARKUP + TEXTS)
METRICS = st.sampled_from(["accuracy", "AP", "f1 ", "top-1", "mAP@0.5", "macro ", "recall"])


@draw(400)
@given(st.lists(PIECES | METRICS | st.text(max_size=5), max_size=60).map("".join))
def test_any_text_is_read(text):
    read, rejected = read_claims(text, "user/model")
    assert all(0 <= claim.fraction <= 1 for claim in read)
    assert all(item.stated["line"] >= 1 for item in rejected)


@draw(200)
@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_bytes_are_read(data, model_id):
    read_claims(data.decode("utf-8", "replace"), model_id)
    read_claims(data.decode("latin-1"), model_id)


@draw(400)
@given(st.lists(PIECES, max_size=60).map("".join))
def test_number_without_a_metric_is_no_claim(text):
    assert read_claims(EMOTION + text, "user/model") == ([], [])


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "![",
        "<",
        "<table",
        "<td>",
        "*a ",
        "`",
        "50-",
        "1,",
        "on x ",
        "pretrain ",
        "a_",
        "((",
        "imagenet ",
    ],
)
def test_hostile_text_takes_linear_time(unit):
    assert claims(unit * (20_000 // len(unit))) == []


@pytest.mark.parametrize(
    "front", ["datasets: " + "[" * 9_000, "tags: " + "{a: " * 2_000, "datasets: *a", "datasets: 1"]
)
def test_hostile_front_matter_is_left_out(front):
    assert claims(f"---\n{front}\n---\n- Accuracy: 0.93\n") == []


# ── The labelled corpus ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.shared
def test_precision_and_recall_on_the_corpus(shared):
    counts, faults, _ = measure(shared / "cards")
    total = sum(counts.values(), start=type(counts["coco"])())
    precision, recall = precision_and_recall(total)
    assert total["right"] + total["missed"] == 87
    assert (precision >= 0.98, recall >= 0.95) == (True, True), faults
    assert total["split right"] >= 0.98 * total["right"], faults
