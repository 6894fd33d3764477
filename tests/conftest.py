"""Fixtures and markers of all tests."""

from pathlib import Path

import pytest

import profiles
from bench import bench
from calling import run_script
from project import SHARED
from zoo import altered, zoo

__all__ = ["altered", "bench", "run_script", "zoo"]  # fixtures of support/
profiles.load()


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
