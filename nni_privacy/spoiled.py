"""What reading a file of arrays or weights raises where bits were flipped or a header lies about what follows."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib

__all__ = ["SPOILED", "UNREADABLE"]

SPOILED: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Of numpy, zipfile, zlib and torch; the system's own OSError is not among them."""

UNREADABLE: tuple[type[Exception], ...] = (OSError, *SPOILED)
"""With it: whatever a file cannot be read for."""
