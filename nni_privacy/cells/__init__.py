"""Genotypes of the DARTS space, of NAS-Bench-201 and of further spaces as plain immutable values. No torch, no NNI."""

from __future__ import annotations

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import Cell, Edge, Genotype
from nni_privacy.cells.genotypes import AnyGenotype, parse_genotype, read_genotypes
from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.cells.spaces import SpaceRecord, register_space

__all__ = ["AnyGenotype", "Cell", "Edge", "Genotype", "GenotypeCodes", "NasBench201Genotype", "parse_genotype"]
__all__ += ["SpaceRecord", "read_genotypes", "register_space"]
