"""Genotypes of any of our spaces, told apart by how they are written."""

from __future__ import annotations

from nni_privacy.cells import Genotype
from nni_privacy.nasbench201_cells import NasBench201Genotype

__all__ = ["AnyGenotype", "parse_genotype"]

AnyGenotype = Genotype | NasBench201Genotype


def parse_genotype(text: str) -> AnyGenotype:
    """Reads ``Genotype(normal=[...], ...)`` (DARTS) or ``|op~0|+|op~0|op~1|+...`` (NAS-Bench-201).

    Raises:
        GenotypeError: if the text is neither, or describes no legal genotype.

    >>> str(parse_genotype("|conv_1x1~0|+|none~0|none~1|+|none~0|none~1|none~2|"))
    '|nor_conv_1x1~0|+|none~0|none~1|+|none~0|none~1|none~2|'
    """
    return NasBench201Genotype.parse(text) if text.lstrip().startswith("|") else Genotype.parse(text)
