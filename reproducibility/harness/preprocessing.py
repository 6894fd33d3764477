"""Usual preprocessing of image classifiers, to try where the published settings do not meet the claim.

Pure functions; used by image_classification.py.
"""

from harness.images import REVERSED, USUAL_NORMALIZATION

IMAGENET, INCEPTION = USUAL_NORMALIZATION
UNIT = {"do_rescale": True, "rescale_factor": 1 / 255}  # pixels of 0 to 1, before mean and std
CROP = 0.875  # share of the resized image that ImageNet's center crop keeps
DEFAULT_SIDE = 224  # pixels


def other_preprocessing(model_facts: dict) -> dict[str, list[dict]]:
    """Return settings to try in place of the published ones, by choice; none has the published effect.

    `model_facts` holds `preprocessing`, the published settings, and `image_size`, from the configuration.
    """
    published = model_facts.get("preprocessing") or {}
    normalizations, scalings = _pixel_settings(published)
    return {
        "mean/std": normalizations,
        "pixel scaling": scalings,
        "channel order": [{REVERSED: True}],
        "resize and crop": _resize_settings(published, input_side(model_facts)),
        "interpolation": [{"resample": n} for n in (2, 3) if n != published.get("resample")],
    }


def input_side(model_facts: dict) -> int:
    """Return the side of the network's square input in pixels, by the configuration or the settings."""
    published = model_facts.get("preprocessing") or {}
    for size in (model_facts.get("image_size"), published.get("crop_size"), published.get("size")):
        if isinstance(size, dict):
            size = size.get("height") or size.get("shortest_edge")
        if isinstance(size, list | tuple) and size:
            size = size[0]
        if isinstance(size, int) and size > 0:
            return size
    return DEFAULT_SIDE


def pixel_map(settings: dict) -> list[tuple[float, float]]:
    """Return what a pixel of 0 and one of 255 become in each of the three channels."""
    factor, offset = 1.0, 0.0
    if settings.get("do_rescale"):
        factor = settings.get("rescale_factor") or 1.0
        offset = -1.0 if settings.get("rescale_offset") else 0.0
    means, deviations = [0.0] * 3, [1.0] * 3
    if settings.get("do_normalize"):
        means = _per_channel(settings.get("image_mean", 0.0))
        deviations = _per_channel(settings.get("image_std", 1.0))
    ends = []
    for mean, deviation in zip(means, deviations, strict=True):
        low, high = ((factor * pixel + offset - mean) / (deviation or 1.0) for pixel in (0, 255))
        ends.append((round(low, 2), round(high, 2)))
    return ends


def _per_channel(value: float | list[float]) -> list[float]:
    if isinstance(value, int | float):
        return [value] * 3
    return list(value) if len(value) == 3 else [value[0]] * 3


def _pixel_settings(published: dict) -> tuple[list[dict], list[dict]]:
    """Return other normalizations of the same pixels, and other scalings of the pixels.

    Pixels of -1 to 1 are another normalization where the published settings normalize, else another scaling.
    """
    unit = dict(UNIT)
    if "rescale_offset" in published:
        unit["rescale_offset"] = False
    normalizations = [IMAGENET]
    scalings = [unit, {**unit, "do_normalize": False}, {"do_rescale": False, "do_normalize": False}]
    if published.get("do_normalize"):
        normalizations.append(INCEPTION)
    scalings.append({**unit, **INCEPTION})
    seen = [pixel_map(published)]
    return _with_new_effect(published, normalizations, seen), _with_new_effect(published, scalings, seen)


def _with_new_effect(published: dict, settings: list[dict], seen: list) -> list[dict]:
    """Return the settings that map pixels as none before; add their maps to `seen`."""
    distinct = []
    for changes in settings:
        effect = pixel_map(published | changes)
        if effect not in seen:
            seen.append(effect)
            distinct.append(changes)
    return distinct


def _resize_settings(published: dict, side: int) -> list[dict]:
    """Return the usual ways to a square of `side` pixels: a crop of 0.875, no crop, a crop of 1."""
    square, edge = {"height": side, "width": side}, {"shortest_edge": side}
    if "crop_pct" in published:  # such processors crop by themselves and take only the shortest edge
        ways = [{"do_resize": True, "size": edge, "crop_pct": share} for share in (CROP, 1.0)]
    else:
        crop = {"do_center_crop": True, "crop_size": square}
        ways = [
            {"do_resize": True, "size": {"shortest_edge": round(side / CROP)}, **crop},
            {"do_resize": True, "size": square, "do_center_crop": False},
            {"do_resize": True, "size": edge, **crop},
        ]
    return [changes for changes in ways if _geometry(published | changes) != _geometry(published)]


def _geometry(settings: dict) -> tuple:
    """Return what settings do to an image's shape."""
    crop = settings.get("crop_size") if settings.get("do_center_crop") else None
    size = settings.get("size") if settings.get("do_resize") else None
    return size, crop, settings.get("crop_pct")
