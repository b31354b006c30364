"""Repairs that make NNI 3.0 correct and safe today, without touching the installed package.

>>> from nni_privacy import nni_runtime
>>> nni_runtime.install()                      # doctest: +SKIP
>>> experiment = NasExperiment(...)            # doctest: +SKIP

Two halves: a repaired copy of NNI's manager and web UI (:mod:`~nni_privacy.nni_runtime.overlay`,
:mod:`~nni_privacy.nni_runtime.patches.registry`) and repairs of its Python side in memory
(:mod:`~nni_privacy.nni_runtime.repairs`). Importing this package imports neither torch nor NNI.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_names
from nni_privacy.nni_runtime.access import set_default_access
from nni_privacy.nni_runtime.overlay import MARKER, PACKAGE, make_overlay
from nni_privacy.nni_runtime.patches.access import HOST_VARIABLE
from nni_privacy.nni_runtime.patches.registry import PATCHES, check_names
from nni_privacy.nni_runtime.repairs import REPAIRS, apply_repairs

if TYPE_CHECKING:
    from nni_privacy.nni_runtime.experiment import PrivacyExperiment

__all__ = ["HOST_VARIABLE", "PrivacyExperiment", "RepairStatus", "install", "make_overlay", "repairs_report"]


@dataclass(frozen=True)
class RepairStatus:
    """One line of ``nni-privacy doctor``: a fault of NNI and whether it is repaired in this process."""

    name: str
    why: str
    active: bool


def install(
    *,
    token: bool | None = None,
    allow_pickle: bool | None = None,
    warm_trials: bool | None = None,
    without: Collection[str] = (),
) -> Path:
    """Repairs NNI for this process: its manager from the next start on, its Python side at once.

    May be called before or after ``import nni``, and any number of times. A manager that already runs is not changed.

    Args:
        token: whether the web UI wants the token in the address that is printed (by default it does). Without it every
            user of this machine can watch and stop an experiment; code can nobody have run either way.
        allow_pickle: whether trials load any pickle. By default a ``NasExperiment`` sends what can be sent as a pickle
            only (what is defined in the script itself, or whose class is not decorated with ``nni.trace``), and its
            trials load these very pickles and no others; a ``PrivacyExperiment`` refuses it.
        warm_trials: whether the trials of a ``NasExperiment`` on this machine are forked from one process that has
            imported everything (by default they are started one by one): each then costs seconds less.
        without: names of patches and repairs to leave out (for tests).

    Returns:
        The folder of the repaired node package, which now comes first on ``sys.path``.

    Raises:
        RuntimeRepairError: when NNI is not installed or is not the one that the repairs were written for.
    """
    check_names(without, known=(*PATCHES, *REPAIRS))
    set_default_access(wants_token=token, allow_pickle=allow_pickle, warm_trials=warm_trials)
    overlay = make_overlay(without=[name for name in without if name in PATCHES])
    # Another overlay (an earlier call with other patches) must not stay behind this one.
    sys.path[:] = [entry for entry in sys.path if not _is_overlay(entry)]
    sys.path.insert(0, str(overlay))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    apply_repairs(without=without)
    return overlay


def repairs_report() -> list[RepairStatus]:
    """All patches and repairs, and which of them are in place in this process."""
    patched = _active_patches()
    report = [RepairStatus(patch.name, patch.why, patch.name in patched) for patch in PATCHES.values()]
    report += [RepairStatus(repair.name, repair.why, repair.active) for repair in REPAIRS.values()]
    return report


def _is_overlay(entry: str) -> bool:
    return bool(entry) and (Path(entry) / MARKER).is_file()


def _active_patches() -> list[str]:
    """The patches of the node package that an import would find now."""
    import json

    for entry in sys.path:
        if _is_overlay(entry):
            return list(json.loads((Path(entry) / MARKER).read_text(encoding="utf-8"))["patches"])
        if (Path(entry or ".") / PACKAGE / "main.js").is_file():
            return []
    return []


__getattr__, __dir__ = lazy_names(__name__, {"nni_runtime.experiment": ["PrivacyExperiment"]})
