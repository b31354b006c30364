"""Numbers with four digits, the whole of them as a title; and what trials report as text, not as HTML."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Patch
from nni_privacy.nni_runtime.patches.web.files import DETAIL, MAIN, OVERVIEW

__all__ = ["NUMBER_PATCHES"]

_CELL = "const{value:t}=e,a=String(t).length;return n.createElement(n.Fragment,null,a>=15?"
_SHORT_CELL = (
    'const{value:t,title:whole}=e;if("number"==typeof t||"object"==typeof t&&null!==t)'
    'return self.nniPrivacy.number(n.createElement,t,"name");if(void 0!==whole)'
    'return n.createElement("div",{className:"name",title:whole},t);'
    "const a=String(t).length;return n.createElement(n.Fragment,null,a>=15?"
)
_LATEST = "n.createElement(Oe.Z,{value:e._formattedLatestAccuracy})"

_PARAMETERS = "${JSON.stringify((0,m.cJ)(e.data[3]),null,4)}"
_POINT = {
    "${e.data[2]}": "${self.nniPrivacy.html(e.data[2])}",
    _PARAMETERS: "${self.nniPrivacy.html(JSON.stringify((0,m.cJ)(e.data[3]),null,4))}",
    "${t}: ": "${self.nniPrivacy.html(t)}: ",
    "${e.data[1]}": "${self.nniPrivacy.numberHtml(e.data[1])}",
}

NUMBER_PATCHES = (
    Patch.of(
        name="four_digits",
        why="metrics have six digits here and sixteen there",
        edits={
            MAIN: {
                r'return e.toFixed(6).replace(/0+$/,"").replace(/\.$/,"")': "return self.nniPrivacy.digits(e)",
            },
            OVERVIEW: {
                _CELL: _SHORT_CELL,
                'return n.createElement("div",{className:"succeed-padding metric"},void 0!==t?(0,g.qh)(t):"--")': (
                    'return self.nniPrivacy.number(n.createElement,t,"succeed-padding metric")'
                ),
            },
            DETAIL: {
                _CELL: _SHORT_CELL,
                _LATEST: (
                    "n.createElement(Oe.Z,{value:e._formattedLatestAccuracy,"
                    "title:self.nniPrivacy.full(e.latestAccuracy)})"
                ),
            },
        },
    ),
    Patch.of(
        name="tooltips_of_charts",
        why="tooltips are HTML made of what trials report, and numbers in them have sixteen digits",
        edits={
            OVERVIEW: _POINT,
            DETAIL: {
                **_POINT,
                "span>${a}": "span>${self.nniPrivacy.html(a)}",
                "${t.data}": "${self.nniPrivacy.numberHtml(t.data)}",
                "${JSON.stringify((0,d.cJ)(n),null,4)}": (
                    "${self.nniPrivacy.html(JSON.stringify((0,d.cJ)(n),null,4))}"
                ),
                '"Intermediate metric: ",r)': (
                    '"Intermediate metric: ",n.createElement("span",{title:self.nniPrivacy.full(r)},'
                    "self.nniPrivacy.digits(r)))"
                ),
                # The place among the bars is not the number of the trial where some wait.
                "Trial No.: ${e[0].dataIndex}": "Trial No.: ${self.nniPrivacy.html(e[0].name)}",
            },
        },
    ),
)
