"""How many inputs hypothesis draws: few by default, many where CI is set, and the same in each run."""

import os

from hypothesis import HealthCheck, settings

FEW = 25
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def count(in_ci: int) -> int:
    """Give the number of inputs to draw: `in_ci` where the variable CI is set, otherwise at most 25."""
    return in_ci if os.environ.get("CI") else min(in_ci, FEW)


def draw(in_ci: int) -> settings:
    """Decorate a test for which hypothesis draws `in_ci` inputs in CI and at most 25 otherwise."""
    return settings(max_examples=count(in_ci))


def load() -> None:
    """Make the project's profile the default of all tests."""
    settings.register_profile("scored", max_examples=FEW, derandomize=True, database=None, deadline=None,
                              suppress_health_check=CHECKS)  # fmt: skip
    settings.load_profile("scored")
