"""Panels of the navigation: logs that are there."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Patch
from nni_privacy.nni_runtime.patches.web.files import MAIN

__all__ = ["PANEL_PATCHES"]

_TAB = 'n.createElement(m.M,{headerText:"Dispatcher log",key:"dispatcher"},'

PANEL_PATCHES = (
    Patch.of(
        name="dispatcher_log",
        why="a search without a tuner has no dispatcher: its log is the page's own HTML",
        edits={
            MAIN: {
                "200===e.status&&o(e.data)": "200===e.status&&o(self.nniPrivacy.log(e))",
                _TAB: f"null!==s&&{_TAB}",
                # Learn more asks for the tab that may not be there.
                "n.createElement(u.o,{selectedKey:N,": "n.createElement(u.o,{selectedKey:null===s?void 0:N,",
            },
        },
    ),
)
