"""Inputs of records: one tensor or several, indexed, joined and told apart as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import Tensor

from nni_privacy.data import Inputs
from nni_privacy.errors import DataError

TABLE = torch.arange(12.0).reshape(4, 3)
IDS = torch.tensor([3, 1, 2, 0])
FORMS: dict[str, Any] = {"tensor": TABLE, "tuple": (TABLE, IDS), "mapping": {"ids": IDS, "table": TABLE}}


def parts(value: Any) -> list[Tensor]:
    return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([2, 0]), np.array([3, 3, 1]), np.arange(4) % 2 == 0])
def test_rows_of_all_parts_are_taken_together(form: str, rows: Any) -> None:
    value = FORMS[form]
    taken = Inputs.of(value)[rows].value
    assert type(taken) is type(value) and (form != "mapping" or list(taken) == list(value))
    for found, whole in zip(parts(taken), parts(value), strict=True):
        np.testing.assert_array_equal(found.numpy(), whole.numpy()[np.asarray(rows) if torch.is_tensor(rows) else rows])


@pytest.mark.parametrize("form", FORMS)
def test_batches_joined_again_are_the_records(form: str) -> None:
    inputs = Inputs.of(FORMS[form])
    batches = inputs.split(3)
    assert [len(batch) for batch in batches] == [3, 1]
    again = Inputs.cat(batches)
    assert again.kind == inputs.kind and again.digests == inputs.digests


def test_equal_records_have_equal_digests_and_others_do_not() -> None:
    table = torch.tensor([[1.0, 2], [1, 2], [2, 1]])
    one, two, three = Inputs.of(table).digests
    assert one == two != three
    assert len(set(Inputs.of((table, torch.tensor([0, 1, 0]))).digests)) == 3
    assert len(set(Inputs.of((table, torch.tensor([0, 0, 0]))).digests)) == 2


@pytest.mark.parametrize(
    ("tensor", "images", "numbers"),
    [
        (torch.zeros(2, 3, 4, 4), True, True),
        (torch.zeros(2, 3, 4, 4, dtype=torch.int64), True, True),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), True, True),
        (torch.zeros(2, 4, 4), False, True),
        (torch.zeros(2, 4), False, True),
        (torch.zeros(2, 4, dtype=torch.int64), False, False),
    ],
)
def test_images_and_numbers_are_told_from_ids(tensor: Tensor, images: bool, numbers: bool) -> None:
    inputs = Inputs.of(tensor)
    assert (inputs.images is not None, inputs.numbers is not None) == (images, numbers)
    assert inputs.noun == ("images" if images else "records")
    named = Inputs.of({"x": tensor})
    assert named.images is None and named.numbers is None and list(named.value) == ["x"]


def test_frames_arrays_and_lists_are_read() -> None:
    frame = pandas.DataFrame({"a": [1.5, 2], "b": [3.0, 4]})
    expected = torch.tensor([[1.5, 3], [2, 4]])
    for value in (frame, frame.to_numpy(), frame.to_numpy().astype(">f8"), frame.to_numpy().tolist()):
        assert torch.equal(Inputs.of(value).tensors[0].float(), expected)
    assert Inputs.of([TABLE, IDS]).kind == Inputs.of((TABLE, IDS)).kind
    assert str(Inputs.of({"a": IDS})) == "records (a: torch.int64 (4,))"
    assert str(Inputs.of(TABLE)) == "torch.float32 records (4, 3)"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((TABLE, IDS[:2]), r"inputs \(\(4, 3\), \(2,\)\): expected one tensor or more, with the same first dimension"),
        ({}, "expected one tensor or more"),
        (torch.tensor(1.0), "same first dimension"),
        ([[1, 2], [3]], "tensors or arrays of numbers"),
        (np.array(["a", "b"]), "tensors or arrays of numbers"),
        (TABLE.to_sparse(), "dense tensors"),
        (torch.nested.nested_tensor([TABLE[0], TABLE[1, :2]]), "dense tensors"),
    ],
)
def test_what_is_no_input_is_refused(value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Inputs.of(value)
    with pytest.raises(DataError, match="records differ in shape or type: torch"):
        Inputs.cat([Inputs.of(TABLE), Inputs.of(IDS)])
