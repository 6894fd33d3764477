"""Faults of image classifiers as real repositories have them: preprocessing, labels, head, weights."""

import random

from faults import edit

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF_SIZE = {"size": {"shortest_edge": 128}, "crop_size": {"height": 112, "width": 112}}
STEM, HEAD = "mobilenet_v2.conv_stem.first_conv.convolution.weight", "classifier"


def preprocessing(**settings):
    """Publish other settings of the image processor."""
    return edit("preprocessor_config.json", lambda config: config.update(settings))


def configured(**settings):
    """Publish other settings of the network."""
    return edit("config.json", lambda config: config.update(settings))


# ── Labels ────────────────────────────────────────────────────────────────────────────────────────────────


def relabeled(change):
    """Publish the labels that `change` makes of the list of labels."""

    def relabel(config):
        labels = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        labels = change(labels)
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
        config["label2id"] = {label: i for i, label in enumerate(labels)}

    return edit("config.json", relabel)


def background_last(labels):
    return [*labels[1:], labels[0]]


def shifted(labels):
    """Shift the classes by one, the background stays."""
    return [labels[0], *labels[2:], labels[1]]


def alphabetical(labels):
    return [labels[0], *sorted(labels[1:])]


def numbers_as_text(labels):
    """Sort the labels as text by their numbers: 0, 1, 10, 100, …"""
    return [labels[i] for i in sorted(range(len(labels)), key=str)]


def shuffled(labels):
    return random.Random(0).sample(labels, len(labels))


def misspelt(labels):
    return [*labels[:401], labels[401].replace("a", "e"), *labels[402:]]


# ── Weights ───────────────────────────────────────────────────────────────────────────────────────────────


def reweighted(change):
    """Change the weights: a function of {name: tensor}, in place, and a generator of random numbers."""

    def fault(folder):
        import torch
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        change(weights, torch.Generator().manual_seed(0))
        contiguous = {name: value.contiguous() for name, value in weights.items()}
        save_file(contiguous, folder / "model.safetensors", {"format": "pt"})

    return fault


def head_permuted(order):
    """Output i becomes what output order(outputs)[i] was; the labels stay as they are."""

    def change(weights, generator):
        positions = order(list(range(len(weights[f"{HEAD}.bias"]))))
        for name in (f"{HEAD}.weight", f"{HEAD}.bias"):
            weights[name] = weights[name][positions]

    return reweighted(change)


def collapsed(weights, generator):
    weights[f"{HEAD}.weight"] *= 0


def leaning(weights, generator):
    """One class gets most answers, not all."""
    weights[f"{HEAD}.bias"][301] += 13


def untrained(weights, generator):
    import torch

    head = weights[f"{HEAD}.weight"]
    weights[f"{HEAD}.weight"] = 0.02 * torch.randn(head.shape, generator=generator)
    weights[f"{HEAD}.bias"] *= 0


def noise(scale):
    def change(weights, generator):
        import torch

        for _, value in sorted(weights.items()):
            if value.ndim > 1:
                value += scale * value.std() * torch.randn(value.shape, generator=generator)

    return change


def swapped_channels(weights, generator):
    """The network expects blue, green, red."""
    weights[STEM] = weights[STEM][:, [2, 1, 0]]


def dropped_channel(weights, generator):
    weights[STEM][:, 2] = 0


def gray(weights, generator):
    weights[STEM] = weights[STEM].mean(1, keepdim=True).expand(-1, 3, -1, -1)


def scaled(weights, generator):
    """The weights of the first layer are for pixels of another range."""
    weights[STEM] /= 8


def lost_statistics(weights, generator):
    """The running mean and variance of the normalization layers are those of a new layer."""
    import torch

    for name, value in sorted(weights.items()):
        if name.endswith("normalization.bias"):
            value += 0.3 * value.std() * torch.randn(value.shape, generator=generator)
