"""verify.py on the models of ../shared: true claims, raised ones, faults; and interrupted as a user does."""

import gzip
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from faults import faulty, permute
from project import ROOT
from scored.claims import TRAINER
from verifiable import copy_model, write_card

SCRIPT = ROOT / "reproducibility" / "verify.py"


def set_claim(folder: Path, value: float, split: str | None, tag: str | None = None) -> None:
    """Change the value and the split in emotion-tiny's card, in its metadata and in its text."""
    path = folder / "README.md"
    card = path.read_text().replace("0.9025", f"{value}")
    if split is None:
        card = card.replace("      split: validation\n", "").replace(" on the validation split", "")
    else:
        card = card.replace("split: validation\n", f"split: {split}\n")
    if tag:
        card = card.replace("metrics:\n", f"tags:\n- {tag}\nmetrics:\n", 1).replace(
            " on the validation split", ""
        )
    path.write_text(card)


CARDS = {
    "no split": (None, None),
    "train, by the Trainer": ("train", TRAINER),
    "validation": ("validation", None),
}


@pytest.mark.shared
@pytest.mark.parametrize("raised", [0, 1.5, 8])
@pytest.mark.parametrize("name", CARDS)
def test_claims_of_emotion_tiny(shared, verify_here, tmp_path, name, raised):
    folder = copy_model(shared / "models" / "emotion-tiny", tmp_path / "copy")
    set_claim(folder, round(0.9025 + raised / 100, 4), *CARDS[name])
    call = verify_here(folder, "--data", shared / "emotion")
    code = {0: 0, 1.5: 3 if name == "validation" else 4, 8: 3}[raised]
    verdict = {0: "reproduced", 3: "overstated", 4: "inconclusive"}[code]
    assert (call.code, f"  verdict   {verdict}: " in call.out) == (code, True), call.out + call.err
    assert ("  causes    " in call.out) == (code == 3)


@pytest.mark.shared
def test_permuted_labels_are_the_cause(shared, verify_here, tmp_path):
    folder = faulty(shared / "models" / "emotion-tiny", tmp_path / "copy", permute(0, 1, 3))
    call = verify_here(folder, "--data", shared / "emotion")
    assert call.code == 3 and re.search(r"  verdict   overstated: .*\n  causes    label order -", call.out), (
        call.out
    )


@pytest.mark.shared
def test_models_of_three_tasks_at_once(shared, verify_here):
    names = ("mobilenet-v2", "yolos-tiny-overfit")
    models = [shared / "models" / name for name in names]
    data = [f"--data=imagenet-1k={shared / 'imagenet'}", f"--data=coco={shared / 'coco'}"]
    for model, claim in zip(models, ("accuracy=0.71", "AP=0.6"), strict=True):
        call = verify_here(model, *data, "--claim", claim, "--limit", "20")
        assert call.code == 4 and "examples were measured, and a verdict needs all" in call.out, call.out
    data.append(f"--data=emotion={shared / 'emotion'}")
    call = verify_here(shared / "models" / "emotion-tiny", *models, *data)
    assert call.code == 4 and call.out.count("nothing to judge: the card states no value on ") == 2, call.out


@pytest.mark.tried(
    "Ctrl-C and SIGTERM to verify.py while a model is measured",
    2,
    "one line, exit code 130 or 143; the same command continues",
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_says_so_and_continues(verifiable, tmp_path, number, code):
    folder = copy_model(
        verifiable / "model", tmp_path / "copy", write_card({"value": 0.95, "split": "train"})
    )
    paths = [
        "--data",
        verifiable / "data",
        "--results",
        tmp_path / "rows",
        "--predictions",
        tmp_path / "outputs",
    ]
    command = list(map(str, [sys.executable, SCRIPT, folder, *paths]))
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job would ignore it
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "outputs" / "EMOTION").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "") and "Traceback" not in err
    assert err.splitlines()[-1] == "verify.py: interrupted; run the same command again to go on"
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "reproduced" in done.stdout, done.stdout + done.stderr


@pytest.mark.shared
@pytest.mark.tried(
    "real model cards given to verify.py with a model of emotion",
    116,
    "at most five printable lines for each",
)
def test_real_cards_take_at_most_five_lines(shared, verify_here, verifiable, tmp_path):
    models = []
    with gzip.open(shared / "cards" / "cards.jsonl.gz", "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            models.append(copy_model(verifiable / "model", tmp_path / str(number), json.loads(line)["text"]))
    call = verify_here(*models, "--data", verifiable / "data", "--junit", tmp_path / "junit.xml")
    assert call.code in (3, 4), call.err
    lines = call.out.splitlines()
    starts = [place for place, line in enumerate(lines) if not line.startswith("  ")]
    assert len(starts) == len(models) >= 100
    assert all(end - start <= 5 for start, end in itertools.pairwise([*starts, len(lines)]))
    assert all(line.isprintable() and len(line) < 3000 for line in lines)
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert len(suites) == len(models) and not suites.findall(".//error")
