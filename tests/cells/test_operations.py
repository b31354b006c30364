"""Kinds of operations: a table over both spaces, and masks for arrays of codes."""

from __future__ import annotations

import numpy as np
import pytest

from nni_privacy.cells.codes import operation_mask
from nni_privacy.cells.darts import DARTS_OPERATIONS
from nni_privacy.cells.nasbench201 import NASBENCH201_OPERATIONS
from nni_privacy.cells.operations import OPERATION_KINDS, is_skip


def test_every_operation_of_both_spaces_has_a_kind() -> None:
    assert set(OPERATION_KINDS) == {*DARTS_OPERATIONS, *NASBENCH201_OPERATIONS}


@pytest.mark.parametrize(
    ("op", "kind"),
    [("max_pool_3x3", "pooling"), ("nor_conv_1x1", "convolution"), ("skip_connect", "skip"), ("none", "none")],
)
def test_kinds(op: str, kind: str) -> None:
    assert OPERATION_KINDS[op] == kind
    assert is_skip(op) == (kind == "skip")


def test_an_unknown_operation_has_no_kind_and_is_no_skip_connection() -> None:
    assert not is_skip("skip_this")
    assert "skip_this" not in OPERATION_KINDS


def test_masks_cover_every_operation_once() -> None:
    masks = [operation_mask(kind) for kind in ("convolution", "pooling", "skip")]
    np.testing.assert_array_equal(np.sum(masks, axis=0), np.ones(len(DARTS_OPERATIONS)))
    np.testing.assert_array_equal(operation_mask("pooling"), [op.endswith("pool_3x3") for op in DARTS_OPERATIONS])
