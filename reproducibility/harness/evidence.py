"""Evidence that a repair changes a metric: tests of two results on the same examples.

Used by the task scripts' `p_value`, for explain.py.
"""

from scored.paired import mcnemar

RESAMPLES = 200  # paired draws of the examples for a metric that is not k of n


def p_value_of_proportions(before, after) -> float:
    """Compute McNemar's exact test of which examples (n booleans) are right before and after."""
    return mcnemar(int((before & ~after).sum()), int((after & ~before).sum()))


def p_value_of_draws(difference: float, draws) -> float:
    """Compute the two-sided p-value of a metric's difference by its z, from paired resamples (m) of it.

    Draws without a value (NaN) do not count; where all are equal, nothing is shown.
    """
    import numpy as np
    from scipy.stats import norm

    draws = np.asarray(draws, float)
    draws = draws[np.isfinite(draws)]
    if len(draws) < 2 or np.ptp(draws) == 0:
        return 1.0
    return float(2 * norm.sf(abs(difference) / draws.std(ddof=1)))
