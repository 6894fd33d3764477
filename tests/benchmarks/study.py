"""Estimate how long it takes to measure all models of the study again, on this machine.

Networks of the same architectures with random weights stand in for the models: speed does not depend on the
values. Each architecture predicts a few of the shared examples through the task's own `predict`; core seconds
per example, times the examples of the full data sets, times the models whose names say that architecture. An
emotion model whose name does not say is taken for a BERT-base. The two DETRs with a dilated last stage (dc5)
are taken for those without, whose features are a quarter of the size: their share is too low.

    python tests/benchmarks/study.py [--readme]
"""

import argparse
import importlib
import json
import os
import re
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
sys.path[:0] = [str(ROOT), str(ROOT / "reproducibility"), str(Path(__file__).parent)]
from harness import images  # noqa: E402
from harness.plan import subset  # noqa: E402

BERT = {"vocab_size": 30522, "pad_token_id": 0}
SIZES = {
    "tiny": (192, 3),
    "small": (384, 6),
    "base": (768, 12),
    "large": (1024, 16),
}  # width and heads of a ViT


def vit(size: str, layers: int = 12, **more) -> dict:
    width, heads = SIZES[size]
    parts = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": 4 * width}
    return parts | {"num_hidden_layers": layers} | more


def swin(dim: int, depth: int, heads: int) -> dict:
    return {"embed_dim": dim, "depths": [2, 2, depth, 2], "num_heads": [heads * 2**i for i in range(4)]}


def mit(dims: list[int], depths: list[int]) -> dict:
    return {"hidden_sizes": dims, "depths": depths, "decoder_hidden_size": 256 if dims[0] == 32 else 768}


WIDE = [64, 128, 320, 512]
LATENTS = {"num_latents": 512, "d_latents": 1024, "d_model": 512, "num_blocks": 8, "image_size": 224}
LATENTS |= {"num_self_attends_per_block": 6, "num_self_attention_heads": 8, "num_cross_attention_heads": 1}
ARCHITECTURES = {  # task -> what the names match, first match first -> (model type, its configuration)
    "sentiment-analysis": {
        r"distil(bert|roberta)|xtremedistil": ("distilbert", BERT),
        r"minilm": ("bert", BERT | vit("small")),
        r"deberta": ("deberta-v2", BERT | vit("base")),
        r"": ("bert", BERT),
    },
    "image-classification": {
        r"perceiver": ("perceiver", LATENTS),
        r"vit-large": ("vit", vit("large", 24)),
        r"base-patch16-384": ("vit", vit("base", image_size=384)),
        r"base-patch32-384": ("vit", vit("base", image_size=384, patch_size=32)),
        r"beit-base|data2vec-vision-base": ("beit", vit("base")),
        r"deit-tiny": ("vit", vit("tiny")),
        r"deit-small": ("vit", vit("small")),
        r"(vit|deit)-base": ("vit", vit("base")),
        r"swin-tiny": ("swin", swin(96, 6, 3)),
        r"swin-small": ("swin", swin(96, 18, 3)),
        r"swin-base": ("swin", swin(128, 18, 4)),
        r"swin-large": ("swin", swin(192, 18, 6)),
        r"convnext-tiny": ("convnext", {}),
        r"resnet-50": ("resnet", {}),
        r"resnet-101": ("resnet", {"depths": [3, 4, 23, 3]}),
        r"regnet-y-040": ("regnet", {"layer_type": "y"}),
        r"mit-b0": ("segformer", mit([32, 64, 160, 256], [2, 2, 2, 2])),
        r"mit-b3": ("segformer", mit(WIDE, [3, 4, 18, 3])),
        r"mit-b4": ("segformer", mit(WIDE, [3, 8, 27, 3])),
        r"mit-b5": ("segformer", mit(WIDE, [3, 6, 40, 3])),
    },
    "object-detection": {
        r"detr-resnet-50": ("detr", {}),
        r"detr-resnet-101": ("detr", {"depths": [3, 4, 23, 3]}),
        r"yolos-tiny": ("yolos", vit("tiny")),
        r"yolos-small": ("yolos", vit("small")),
        r"yolos-base": ("yolos", vit("base")),
    },
}  # fmt: skip

FULL = {"sentiment-analysis": 4_000, "image-classification": 50_000, "object-detection": 5_000}  # examples
LABELS = {"sentiment-analysis": 6, "image-classification": 1000, "object-detection": 91}
SCRIPTS = {"sentiment-analysis": ("sentiment_analysis", "emotion-tiny", "emotion", "test"),
           "image-classification": ("image_classification", "mobilenet-v2", "imagenet/val", "validation"),
           "object-detection": ("detection", "yolos-tiny-overfit", "coco", "validation")}  # fmt: skip


def network(task: str, kind: str, settings: dict):
    """A network with random weights: a model type's configuration with some settings changed."""
    import transformers as hf

    if kind == "detr":
        backbone = hf.ResNetConfig(out_features=["stage4"], **settings)
        config = hf.DetrConfig(use_timm_backbone=False, backbone=None, backbone_config=backbone)
    else:
        config = hf.AutoConfig.for_model(kind, **settings)
    config.num_labels = LABELS[task]
    if kind == "perceiver":
        return hf.PerceiverForImageClassificationLearned(config).eval()
    autos = (hf.AutoModelForSequenceClassification, hf.AutoModelForImageClassification)
    auto = dict(zip(LABELS, (*autos, hf.AutoModelForObjectDetection), strict=True))[task]
    return auto.from_config(config).eval()


def core_seconds(task: str, net, settings: dict, count: int) -> float:
    """Core seconds an example that the task's `predict` takes for some of the shared examples."""
    import torch

    script, name, folder, split = SCRIPTS[task]
    script = importlib.import_module(script)
    model = script.load_model(SHARED / "models" / name, torch.device("cpu"), torch.float32)
    changes = {}
    if task == "sentiment-analysis":
        model.tokenizer.model_input_names = ["input_ids", "attention_mask"]
        model = replace(model, net=net)
    else:
        model, side = images.Model(net, model.processor), settings.get("image_size", 224)
        square = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
        detr = {"size": {"shortest_edge": 800, "longest_edge": 1333}}
        changes = {"preprocessing": square if task == "image-classification" else detr}
    protocol = replace(script.PROTOCOLS["standard"], **changes)
    data = subset(script.load_data(SHARED / folder, split), count)
    size = script.TASK.batch_size["cpu"]
    list(script.predict(model, data.take(range(min(size, count))), protocol, size))  # to warm up
    began = time.process_time()
    list(script.predict(model, data, protocol, size))
    return (time.process_time() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--readme", action="store_true", help="write the table into reproducibility/README.md"
    )
    args = parser.parse_args()
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    rows = json.loads((ROOT / "reproducibility" / "results.json").read_text())["rows"]
    listed = {task: sorted({row["model"] for row in rows if row["task"] == task}) for task in ARCHITECTURES}
    total = Counter()
    for task, kinds in ARCHITECTURES.items():
        patterns = [next(k for k in kinds if re.search(k, name.lower())) for name in listed[task]]
        for pattern, n in Counter(patterns).items():
            net = network(task, *kinds[pattern])
            weights = 4 * sum(p.numel() for p in net.parameters())
            each = core_seconds(task, net, kinds[pattern][1], 256 if task == "sentiment-analysis" else 8)
            hours = n * each * FULL[task] / 3600
            shard = importlib.import_module(SCRIPTS[task][0]).TASK.shard_size
            total.update({(task, "models"): n, (task, "shards"): n * -(-FULL[task] // shard)})
            total.update({(task, "bytes"): n * weights, (task, "hours"): hours})
            print(f"{task:21} {n:4} x {pattern or 'bert-base':30} {weights / 1e6:7.0f} MB "
                  f"{1000 * each:9.1f} core ms an example {hours:9.1f} core hours", flush=True)  # fmt: skip
    lines = ["| task | models | shards | to download | core hours |", "|---|---|---|---|---|"]
    for task in ARCHITECTURES:
        n, shards, size, hours = (total[task, word] for word in ("models", "shards", "bytes", "hours"))
        lines.append(f"| {task} | {n} | {shards:,} | {size / 1e9:.1f} GB | {hours:,.0f} |")
    name = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[0]
    lines.append(f"\nMeasured on {os.cpu_count()} cores of an {name}, float32, {time.strftime('%Y-%m-%d')}.")
    print(*lines, sep="\n")
    if args.readme:
        readme, marks = (
            ROOT / "reproducibility" / "README.md",
            ("<!-- study plan -->\n", "<!-- /study plan -->"),
        )
        before, _, rest = readme.read_text(encoding="utf-8").partition(marks[0])
        _, _, after = rest.partition(marks[1])
        text = before + marks[0] + "\n".join(lines) + "\n" + marks[1] + after
        readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
