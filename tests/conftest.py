"""Fixtures and markers of all tests."""

from pathlib import Path

import pytest

import profiles
from bench import bench
from calling import run_script
from emotion_models import emotion_models
from hub_refresh import hub_environment, refresh
from measuring import explain_all, explain_here, measure, mobilenet, one_thread, quiet_transformers, yolos
from project import SHARED
from verifiable import verifiable, verify_here
from zoo import altered, zoo

__all__ = [  # fixtures of support/
    "altered",
    "bench",
    "emotion_models",
    "explain_all",
    "explain_here",
    "hub_environment",
    "measure",
    "mobilenet",
    "one_thread",
    "quiet_transformers",
    "refresh",
    "run_script",
    "verifiable",
    "verify_here",
    "yolos",
    "zoo",
]
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
