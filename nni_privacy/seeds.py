"""Seeds of independent streams of random numbers, all derived from a run's one seed."""

from __future__ import annotations

import hashlib

__all__ = ["derived_seed"]


def derived_seed(seed: int, *purpose: object) -> int:
    """A seed below 2**63 that depends on ``seed`` and on what the numbers are for, and on nothing else.

    Streams of different purposes are independent of each other and of the one that ``seed`` itself starts.
    """
    text = "\n".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
