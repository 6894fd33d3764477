"""Copies of models with faults: labels in another order, other preprocessing, noise, another claim."""

import json
import shutil


def faulty(original, folder, *faults):
    """Copy a model and inject faults: each changes one of its JSON files, or its weights."""
    shutil.copytree(original, folder, copy_function=shutil.copyfile)
    for fault in faults:
        fault(folder)
    return folder


def edit(name, change):
    """Change one of the JSON files."""

    def fault(folder):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return fault


def permute(*order):
    """Move the labels to other outputs."""

    def change(config):
        names = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        moved = dict(enumerate(names))
        moved |= {i: names[j] for i, j in zip(order, [*order[1:], order[0]], strict=True)}
        config["id2label"] = {str(i): name for i, name in moved.items()}
        config["label2id"] = {name: i for i, name in moved.items()}

    return edit("config.json", change)


def change_weights(change):
    """Change the weights, a dict of tensors, in place."""

    def fault(folder):
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return fault


def noise(scale):
    """Add noise to the weights."""

    def add(weights):
        import torch

        generator = torch.Generator().manual_seed(0)
        for _, value in sorted(weights.items()):
            if value.ndim > 1:
                value += scale * value.std() * torch.randn(value.shape, generator=generator)

    return change_weights(add)


def claiming(metric, value, dataset, split=None):
    """Write a model card that claims this value, on this split."""

    def fault(folder):
        lines = [
            "---",
            "model-index:",
            "- name: m",
            "  results:",
            f"  - dataset: {{type: {dataset}, name: {dataset}{f', split: {split}' if split else ''}}}",
        ]
        lines += [f"    metrics: [{{type: {metric}, value: {value!r}}}]", "---", ""]
        (folder / "README.md").write_text("\n".join(lines))

    return fault
