"""The twelve COCO numbers by pycocotools."""

import contextlib
import io

import numpy as np


def reference(ids, categories, truth, rows, printed=None) -> np.ndarray:
    """The twelve numbers by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    columns = zip(*(v.tolist() for v in truth.values()), strict=True)
    with contextlib.redirect_stdout(printed or io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": int(i)} for i in ids],
            "annotations": [
                dict(zip(truth, values, strict=True)) | {"id": n} for n, values in enumerate(columns, 1)
            ],
            "categories": [{"id": c, "name": name} for c, name in categories.items()],
            "info": {},
        }
        coco.createIndex()
        scored = COCOeval(coco, coco.loadRes(rows), "bbox")
        scored.evaluate()
        scored.accumulate()
        if printed:
            printed.truncate(0)
        scored.summarize()
    return scored.stats
