"""Compute batches in threads, so that small models use every core."""

import contextlib
import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

MAX_THREADS = 8  # results are the same for any number of cores up to this


def map_in_threads(function: Callable, items: Iterable, device, max_workers: int = MAX_THREADS) -> Iterator:
    """Yield `function(item)` for each item, in order; on a CPU, threads share the cores.

    One batch per core is faster than all cores on one batch, above all for small models and on a busy
    machine.
    """
    import torch

    if device.type != "cpu":
        yield from map(function, items)
        return
    _keep_freed_memory()
    threads = torch.get_num_threads()
    workers = min(threads, max_workers)
    torch.set_num_threads(threads // workers)
    try:
        with ThreadPoolExecutor(workers) as pool:
            waiting = deque()
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(threads)


def _keep_freed_memory() -> None:
    """Tell glibc to keep the memory that a batch frees: the next batch needs it, and page faults are slow."""
    m_trim_threshold, m_mmap_threshold = -1, -3
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(m_mmap_threshold, 1 << 25)
        mallopt(m_trim_threshold, 1 << 29)
