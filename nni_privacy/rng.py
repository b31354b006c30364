"""Random numbers: seeds derived from a run's one seed, and work that leaves the caller's generators as they were."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["derived_seed", "isolated", "stream_seed"]


def derived_seed(seed: int, *purpose: object) -> int:
    """A seed below 2**63 that depends on ``seed`` and on what the numbers are for, and on nothing else.

    Streams of different purposes are independent of each other and of the one that ``seed`` itself starts.
    """
    text = "\n".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream_seed(seed: int, *stream: int) -> int:
    """A seed below 2**32 for a numbered stream, such as a shadow, or what and which epoch of a search.

    It depends on these numbers only, so what is drawn in an epoch depends on nothing drawn before, and more shadows
    leave the first ones as they are. Unlike :func:`derived_seed`, whose streams have names, it is numpy's
    ``SeedSequence``: the shadows in users' caches, and what a seed gives, depend on its numbers.
    """
    import numpy as np

    return int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0])


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
