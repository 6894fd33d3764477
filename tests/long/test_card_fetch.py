"""Cards from a Hub that does not answer."""

import os
import subprocess
import sys

from project import ROOT


def test_card_of_a_hub_that_does_not_answer_is_one_line(tmp_path):
    """huggingface_hub retries for twenty seconds, silently."""
    env = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    command = [sys.executable, ROOT / "ptm.py", "--card", "ann/m"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "cannot be fetched" in done.stderr
