"""A one-shot search whose disk is full: it says so, keeps its last good checkpoint, and goes on from it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from one_shot_spaces import LayerSpace, images_and_labels, prepared

from nni_privacy import files
from nni_privacy.errors import RunStoppedError
from nni_privacy.strategies.darts import DARTSFirstOrder


def strategy_for(folder: Path) -> DARTSFirstOrder:
    return DARTSFirstOrder(data=images_and_labels(), folder=folder, batch_size=8, epochs=4, seed=3)


def test_a_full_disk_stops_it_and_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = prepared(strategy_for(tmp_path / "whole"), LayerSpace()).search()
    strategy = prepared(strategy_for(tmp_path / "search"), LayerSpace())
    fsync, written = os.fsync, []

    def full_at_the_second(descriptor: int) -> None:
        if "checkpoint" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            written.append(descriptor)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full_at_the_second)
        with pytest.raises(RunStoppedError, match=r"checkpoint\.pt: No space left on device; all that is finished"):
            strategy.search()
    assert not list((tmp_path / "search").glob("*.partial"))
    resumed = prepared(strategy_for(tmp_path / "search"), LayerSpace())
    assert resumed.epoch == 1
    assert resumed.search() == expected
