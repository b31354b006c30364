"""Files of this package that pages are made of, and how a page gets on disk."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from importlib.resources import files
from pathlib import Path

from nni_privacy.errors import DataError

__all__ = ["has_resource", "read_resource", "replace_text", "script_policy"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def read_resource(name: str) -> str:
    """A template, style or script of this package, as text."""
    return files("nni_privacy.report").joinpath(name).read_text(encoding="utf-8")


def has_resource(name: str) -> bool:
    """Whether this package has such a file."""
    return files("nni_privacy.report").joinpath(name).is_file()


def script_policy(script: str) -> str:
    """A content security policy: the page's own script runs and nothing else does, whatever a file contains.

    Args:
        script: the page's one ``<script>`` element, or nothing.
    """
    if not script:
        return POLICY
    found = re.search(r"<script>(.*?)</script>", script, flags=re.DOTALL)
    digest = hashlib.sha256(found.group(1).encode() if found else b"").digest()
    source = base64.b64encode(digest).decode()
    return f"{POLICY}; script-src 'sha256-{source}'"


def replace_text(path: Path, text: str) -> None:
    """Writes a file in one step: it is the old one or the new one, whenever somebody looks. Its folder is made.

    Raises:
        DataError: if it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({error.strerror or type(error).__name__})") from None
