"""Boxes read in other formats and scales give the boxes that were meant."""

import numpy as np
import pytest

from harness.boxes import FORMATS, SCALES, read_boxes
from harness.checkpoint import CannotMeasure

CORNERS = np.array([[100.0, 50.0, 180.0, 250.0], [0.0, 0.0, 500.0, 400.0]])  # pixels of an image of 500 x 400
SIZES = np.array([[400, 500, 160, 224]] * 2)  # height and width of the image, and of the network's input


def numbers(box_format: str, shares: np.ndarray) -> np.ndarray:
    """The four numbers of a network for corners as shares, written down in a format."""
    x0, y0, x1, y1 = shares.T
    columns = {
        "cxcywh": [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0],
        "xywh": [x0, y0, x1 - x0, y1 - y0],
        "xyxy": [x0, y0, x1, y1],
        "yxyx": [y0, x0, y1, x1],
        "cycxhw": [(y0 + y1) / 2, (x0 + x1) / 2, y1 - y0, x1 - x0],
    }
    return np.column_stack(columns[box_format])


def as_transformers_reads(four: np.ndarray) -> np.ndarray:
    """Take four numbers for center, width and height as shares of the image."""
    from transformers.image_transforms import center_to_corners_format

    return center_to_corners_format(four) * np.array([500, 400, 500, 400])


@pytest.mark.parametrize("box_format", FORMATS)
def test_box_in_each_format_is_the_box_that_was_meant(box_format):
    four = numbers(box_format, CORNERS / [500, 400, 500, 400])
    got = read_boxes(as_transformers_reads(four), SIZES, box_format, "image")
    assert got == pytest.approx(CORNERS)


@pytest.mark.parametrize(
    ("scale", "shares"),
    [
        ("image", CORNERS / [500, 400, 500, 400]),
        ("square", CORNERS / 500),  # below the image there are 100 rows more
        ("centered square", (CORNERS + np.array([0, 50, 0, 50])) / 500),
        ("input pixels", CORNERS / [500, 400, 500, 400] * [224, 160, 224, 160]),
    ],
)
@pytest.mark.parametrize("box_format", FORMATS)
def test_box_in_each_scale_is_the_box_that_was_meant(scale, shares, box_format):
    assert scale in SCALES
    got = read_boxes(as_transformers_reads(numbers(box_format, shares)), SIZES, box_format, scale)
    assert got == pytest.approx(CORNERS)


def test_shares_are_not_read_as_pixels():
    with pytest.raises(CannotMeasure, match="shares of the image, not pixels"):
        read_boxes(CORNERS, SIZES, "cxcywh", "input pixels")


def test_no_box_ends_before_it_starts():
    got = read_boxes(CORNERS, SIZES, "xyxy", "image")  # a center of 0.28 and a width of 0.16
    assert (got[:, 2:] >= got[:, :2]).all() and got[0, 2] == got[0, 0]
