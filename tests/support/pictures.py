"""Small random photos, as JPEG files and as the Hub's Parquet files of ImageNet."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from harness.imagenet import synsets
from harness.images import ORIENTATION


def jpeg(turn: int = 1, seed: int = 0) -> bytes:
    """A photo of 180 x 120 pixels, with the EXIF orientation `turn`."""
    exif, out = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = turn
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
    Image.fromarray(pixels).resize((180, 120)).save(out, "JPEG", exif=exif)
    return out.getvalue()


def write_parquet(folder) -> None:
    """Write three examples in the layout of the Hub's data set."""
    column = pa.array([{"bytes": jpeg(seed=n), "path": None} for n in range(3)])
    table = pa.table({"image": column, "label": [65, 970, 230]})
    names = {"info": {"features": {"label": {"names": list(synsets().values())}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    pa.parquet.write_table(table, folder / "validation-00000-of-00001.parquet", row_group_size=2)
