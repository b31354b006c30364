"""Cell patterns: their definition, the ones that ship with the package, and how they modify a cell."""

from __future__ import annotations

from nni_privacy.patterns.apply import edges_that_fit, input_edges, modify_cell, modify_nasbench201
from nni_privacy.patterns.library import Cells, list_patterns, load_pattern, read_pattern, write_pattern
from nni_privacy.patterns.pattern import OBJECTIVES, CellPattern, DualPattern, EdgeEvidence, Objective, Pattern

__all__ = ["OBJECTIVES", "CellPattern", "Cells", "DualPattern", "EdgeEvidence", "Objective", "Pattern"]
__all__ += ["list_patterns", "load_pattern", "read_pattern", "write_pattern"]
__all__ += ["edges_that_fit", "input_edges", "modify_cell", "modify_nasbench201"]
