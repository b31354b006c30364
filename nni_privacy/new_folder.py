"""A folder of results that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nni_privacy.errors import DataError

__all__ = ["new_folder"]


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A draft beside ``output`` to write files into; it takes the name of ``output`` at the end, if all went well.

    Args:
        output: does not exist yet, or is an empty folder.

    Raises:
        DataError: if the folder or a file in it cannot be written.
    """
    target = output.absolute()
    draft = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        draft.mkdir(parents=True)
        yield draft
        draft.replace(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror or type(error).__name__})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
