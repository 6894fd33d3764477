"""Choices: a protocol and a dtype as one flat dict, choice -> value, as explain.py compares them.

The settings that replace the published preprocessing are several choices: mean/std, resize and crop,
interpolation, … None means as published.
"""

import contextlib
import json
from dataclasses import asdict

from harness.runner import DTYPES
from harness.task import CLAIM, Task
from scored.files import UserError

PREPROCESSING = {  # in this order: mean and std replace what a scaling of the pixels says about them
    "pixel scaling": ("do_rescale", "rescale_factor", "rescale_offset"),
    "mean/std": ("do_normalize", "image_mean", "image_std"),
    "resize and crop": ("do_resize", "size", "do_center_crop", "crop_size", "crop_pct"),
    "interpolation": ("resample",),
    "channel order": ("reverse_channels",),
}


def as_choices(protocol, dtype: str) -> dict:
    """Flatten a protocol and a dtype into choices."""
    choices = {**asdict(protocol), "dtype": dtype}
    if "preprocessing" in choices:
        settings = choices.pop("preprocessing")
        for choice, keys in PREPROCESSING.items():
            choices[choice] = {key: settings[key] for key in keys if key in settings} or None
    return choices


def as_protocol(task: Task, choices: dict) -> object:
    """Make the task's protocol of choices, without the dtype."""
    fields, settings = {}, {}
    for choice, value in choices.items():
        if choice in PREPROCESSING:
            settings |= value or {}
        elif choice != "dtype":
            fields[choice] = value
    if settings:
        fields["preprocessing"] = settings
    return task.protocol_type(**fields)


def parse_choices(text: str, task: Task, dtype: str, split: str | None) -> dict:
    """Parse `standard` or `standard,threshold=0.5` into choices. Raises UserError for an unknown one.

    `split` is the one of a protocol that leaves it open.
    """
    name, *changes = text.split(",")
    if name not in task.protocols:
        raise UserError(f"no protocol {name!r}; there are {', '.join(task.protocols)}")
    choices = as_choices(task.protocols[name], dtype)
    if choices["split"] in (None, CLAIM):
        choices["split"] = split
    allowed = {"dtype": DTYPES, "split": task.splits, **task.choice_values}
    for change in changes:
        choice, _, value = change.partition("=")
        if choice not in choices:
            raise UserError(f"{task.name} has no choice {choice!r}; there are {', '.join(choices)}")
        if value not in allowed.get(choice, [value]):  # it would be taken for the first
            raise UserError(f"{choice} must be one of: {', '.join(allowed[choice])}; not {value!r}")
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value, parse_constant=str)
        if isinstance(choices[choice], bool) and not isinstance(value, bool):
            raise UserError(f"{choice} must be true or false, not {value!r}")
        choices[choice] = value
    return choices
