"""What all tests share: the project's folders on the path, and `shared`, the folder of real data."""

import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
sys.path[:0] = [str(ROOT), str(ROOT / "reproducibility")]
# For `protections.py`, which asks whether a test fails and not for the smallest input that makes it fail.
found = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
hypothesis.settings.register_profile("found", phases=found)


def pytest_collection_modifyitems(items):
    if not SHARED.is_dir():
        for item in items:
            if item.get_closest_marker("shared"):
                item.add_marker(pytest.mark.skip(reason="needs ../shared, which is not there"))


@pytest.fixture
def shared():
    """The folder of real data; tests that use it are marked `shared`."""
    return SHARED
