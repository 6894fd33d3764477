"""How the four numbers that a detector gives per box may be meant. Used by detection.py.

In transformers they are the center, width and height of a box, as shares of the image. Converted repositories
mean other things by them; then each box is right, but read wrongly.
"""

from harness.checkpoint import CannotMeasure

FORMATS = ("cxcywh", "xywh", "xyxy", "yxyx", "cycxhw")  # c: center; xy, wh: left and top, width and height
SCALES = ("image", "square", "centered square", "input pixels")  # see `_to_pixels`


def read_boxes(boxes, sizes, box_format: str, scale: str):
    """Read boxes (n, 4; corners x0, y0, x1, y1 in pixels, as transformers reads them) in another way.

    `sizes` (n, 4) has the height and width of each box's image, and of the network's input. Raises
    CannotMeasure for pixels of the input where the numbers are shares.
    """
    import numpy as np

    image, network = sizes[:, [1, 0, 1, 0]].astype(float), sizes[:, [3, 2, 3, 2]].astype(float)
    start, end = (boxes / image)[:, :2], (boxes / image)[:, 2:]
    numbers = np.column_stack([(start + end) / 2, end - start])  # as the network gave them
    corners = _to_corners(numbers, box_format)
    if scale == "input pixels":
        if not len(numbers) or np.median(numbers) <= 1:
            raise CannotMeasure("its boxes are shares of the image, not pixels")
        corners = corners / network
    return _to_pixels(corners, image, scale)


def _to_corners(numbers, box_format: str):
    """Turn the four numbers into x0, y0, x1, y1; no box ends before it starts."""
    import numpy as np

    if box_format in ("yxyx", "cycxhw"):
        numbers = numbers[:, [1, 0, 3, 2]]
    first, second = numbers[:, :2], numbers[:, 2:]
    if box_format in ("xyxy", "yxyx"):
        start, end = first, second
    elif box_format == "xywh":
        start, end = first, first + second
    else:
        start, end = first - second / 2, first + second / 2
    return np.column_stack([start, np.maximum(start, end)])


def _to_pixels(corners, image, scale: str):
    """Scale shares to pixels of the image.

    They may be shares of a square around the image, which lies at its top left or in its middle.
    """
    if scale not in ("square", "centered square"):
        return corners * image
    side = image.max(1, keepdims=True)
    margin = (side - image) / 2 if scale == "centered square" else 0
    return corners * side - margin
