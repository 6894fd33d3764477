"""Where the project and its real data lie; puts the scripts' folders on the path."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
for folder in (ROOT / "reproducibility", ROOT):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.py"), *(ROOT / "reproducibility").glob("*.py")]
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")  # the others are parts of scripts
)
