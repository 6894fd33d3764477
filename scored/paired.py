"""Compare two measurements of the same examples: exact tests, and corrections for several tests."""


def mcnemar(only_first: int, only_second: int) -> float:
    """Compute the two-sided p-value of the exact McNemar test (1947).

    The arguments count the examples that only the first, and only the second, got right.
    """
    from scipy.stats import binomtest

    n = only_first + only_second
    return float(binomtest(only_first, n).pvalue) if n else 1.0
