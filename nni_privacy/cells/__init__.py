"""Genotypes of both spaces, DARTS and NAS-Bench-201, as plain immutable values. No torch, no NNI."""

from __future__ import annotations

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import Cell, Edge, Genotype
from nni_privacy.cells.genotypes import AnyGenotype, parse_genotype, read_genotypes
from nni_privacy.cells.nasbench201 import NasBench201Genotype

__all__ = ["AnyGenotype", "Cell", "Edge", "Genotype", "GenotypeCodes", "NasBench201Genotype", "parse_genotype"]
__all__ += ["read_genotypes"]
