"""The errors that nni-privacy raises on purpose.

Every error that a user can cause derives from :class:`PrivacyError`; its message is one line that names what is
wrong, the value that was found and what is allowed. The command line prints that line on standard error and exits
with code 2.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["DISK_FAULTS", "AuditError", "ConfigError", "DataError", "GenotypeError", "PatternError", "PrivacyError"]
__all__ += ["RunStoppedError", "RuntimeRepairError", "check_keys", "nearest"]


DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors of the system that mean that nothing can be written any more."""


class PrivacyError(Exception):
    """Base class of all errors that nni-privacy raises on purpose."""


class ConfigError(PrivacyError, ValueError):
    """A configuration (YAML file, command line or keyword) is not valid."""


class GenotypeError(PrivacyError, ValueError):
    """A text, sample or set of edges does not describe a legal cell or genotype."""


class PatternError(PrivacyError, ValueError):
    """A cell pattern is not legal, unknown, or does not fit where it is to be applied."""


class DataError(PrivacyError, ValueError):
    """A data set is missing, unreadable, or has the wrong shapes or labels."""


class AuditError(PrivacyError, ValueError):
    """The inputs of an attack or of its metrics cannot be audited."""


class RuntimeRepairError(PrivacyError, RuntimeError):
    """NNI cannot be repaired or started safely on this machine."""


class RunStoppedError(PrivacyError, RuntimeError):
    """A fault of the machine (a full disk, a killed manager) stopped a run; what is finished is kept, it can go on."""


_MOST_NAMES, _LONGEST_NAME = 40, 60


def nearest(name: str, known: Iterable[str]) -> str:
    """Says what is allowed instead of ``name``, the nearest known name first.

    >>> nearest("epoch", ["epochs", "batch_size"])
    "did you mean 'epochs'? (known: batch_size, epochs)"
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1) or [one for one in names if one.lower() == name.lower()]
    shown = [one[:_LONGEST_NAME] for one in names[:_MOST_NAMES]]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    listing = f"known: {', '.join(shown)}{more}" if names else "nothing is allowed here"
    return f"did you mean {close[0]!r}? ({listing})" if close else listing


def check_keys(where: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigError for the first of ``options`` that is not among ``known``."""
    names = list(known)
    for key in options:
        if key not in names:
            raise ConfigError(f"{where}: unknown key {key!r}: {nearest(str(key), names)}")
