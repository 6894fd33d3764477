"""Fixtures and markers of all tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))
from bench import bench
from project import SHARED
from zoo import altered, zoo

__all__ = ["altered", "bench", "zoo"]  # fixtures of support/


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).parent.name == "long":
            item.add_marker(pytest.mark.long)
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs ../shared, which is not there"))


@pytest.fixture
def shared():
    """The folder of real data; tests that use it are marked `shared`."""
    return SHARED
