"""Random numbers: seeds derived from a run's one seed, and work that leaves the caller's generators as they were."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["derived_seed", "isolated"]


def derived_seed(seed: int, *purpose: object) -> int:
    """A seed below 2**63 that depends on ``seed`` and on what the numbers are for, and on nothing else.

    Streams of different purposes are independent of each other and of the one that ``seed`` itself starts.
    """
    text = "\n".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def isolated(*, threads: int = 1) -> Iterator[None]:
    """So many torch threads, and generators of python, numpy and torch that are put back at the end.

    One thread, because the last bits of a training depend on their number: so a shadow comes out the same in this
    process as in a worker.
    """
    import numpy as np
    import torch

    threads_before = torch.get_num_threads()
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is meant
    try:
        torch.set_num_threads(threads)
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(threads_before)
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
