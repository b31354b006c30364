"""The functions of ``helpers.js``, which the other patches of the web UI call as ``self.nniPrivacy``."""

from __future__ import annotations

from pathlib import Path

from nni_privacy.nni_runtime.patches.apply import Patch
from nni_privacy.nni_runtime.patches.web.files import MAIN

__all__ = ["HELPER_PATCHES"]

_FUNCTIONS = Path(__file__).with_name("helpers.js").read_text(encoding="utf-8")
# The first words of the bundle that is loaded with the page; those of single pages come later.
_FIRST = "(self.webpackChunknni_webui=self.webpackChunknni_webui||[]).push([[179],{"

HELPER_PATCHES = (
    Patch.of(
        name="web_helpers",
        why="the web UI has no place for functions of ours: all repairs of its pages call these, and need this one",
        edits={MAIN: {_FIRST: f"\n{_FUNCTIONS}{_FIRST}"}},
    ),
)
