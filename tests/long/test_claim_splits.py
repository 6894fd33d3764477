"""emotion-tiny's claim, with and without its split, true and raised: measured and judged end to end."""

import shutil

import pytest

from sentiment_analysis import TASK

pytestmark = [pytest.mark.long, pytest.mark.shared]
OPEN = "\n# emotion-tiny\n\nA two-layer BERT of 1.4 million parameters.\n"  # its text names no split
FRONT = {
    "none": ("      split: validation\n", ""),
    "train": ("library_name:", "tags:\n- generated_from_trainer\nlibrary_name:"),
    "right": ("", ""),
}


def write_copies(shared, folder) -> dict[tuple[str, float], str]:
    """Copy emotion-tiny with each way to state the split, and each claim."""
    copies = {}
    card = (shared / "models" / "emotion-tiny" / "README.md").read_text()
    front = card.rpartition("---\n")[0] + "---\n"
    for kind, change in FRONT.items():
        for raised in (0, 0.015, 0.08):
            path = folder / f"{kind}-{1000 * raised:.0f}"
            shutil.copytree(shared / "models" / "emotion-tiny", path)
            text = front.replace(*change).replace("0.9025", f"{0.9025 + raised:.4f}")
            if kind == "train":
                text = text.replace("split: validation", "split: train")
            (path / "README.md").write_text(text + OPEN)
            copies[kind, raised] = str(path)
    return copies


def test_verdicts_on_emotion_tiny_with_and_without_its_split(shared, measure, tmp_path):
    copies = write_copies(shared, tmp_path / "models")
    words = ["--data", shared / "emotion", "--protocol", "standard"]
    call, rows = measure(TASK, *copies.values(), *words)
    assert call.code == 0, call.err
    verdicts, splits = {}, {}
    for key, path in copies.items():
        (line,) = [line for line in call.out.splitlines() if f"{path.rpartition('/')[2]}  claimed" in line]
        verdicts[key] = line.partition(": ")[2].partition(";")[0]
        splits[key] = sorted(row["split"] for row in rows if row["model"] == rows_name(rows, path))
    for kind in FRONT:
        assert verdicts[kind, 0] == "reproduced" and verdicts[kind, 0.08] == "overstated"
        assert verdicts[kind, 0.015] == ("overstated" if kind == "right" else "inconclusive")
    assert splits["right", 0] == ["validation"] and splits["train", 0] == ["test", "validation"]
    assert splits["none", 0.08] == ["test", "validation"]
    assert splits["train", 0.08] == splits["train", 0.015] == ["test", "train", "validation"]


def rows_name(rows: list[dict], path: str) -> str:
    """Return the name under which a folder's rows stand."""
    name = path.rpartition("/")[2]
    return next(row["model"] for row in rows if row["model"].rpartition("/")[2] == name)
