"""Work that leaves the caller's random generators and number of threads as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["isolated"]


@contextmanager
def isolated() -> Iterator[None]:
    """One torch thread, and generators of python, numpy and torch that are put back at the end.

    One thread, because the last bits of a training depend on their number: so a shadow comes out the same in this
    process as in a worker.
    """
    threads = torch.get_num_threads()
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is meant
    try:
        torch.set_num_threads(1)
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
