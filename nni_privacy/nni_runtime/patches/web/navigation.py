"""The bar at the left: the Privacy page beside NNI's own, and addresses that are right behind a prefix."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Patch
from nni_privacy.nni_runtime.patches.web.files import MAIN, MAIN_STYLE, OVERVIEW

__all__ = ["NAVIGATION_PATCHES"]

_LAST_PAGE = 'n.createElement("img",{src:o,alt:"Details icon"}))))'
# A shield, of the size, the grey and the blue of the icons beside it, which are pictures of 36 pixels.
_SHIELD = (
    'n.createElement("svg",{width:36,height:36,viewBox:"-8 -8 36 36",fill:"none",strokeWidth:1.6,"aria-hidden":!0},'
    'n.createElement("path",{d:"M10 2 17 4.5V9.5C17 14 14 16.8 10 18.2 6 16.8 3 14 3 9.5V4.5Z",'
    'strokeLinejoin:"round"}),'
    'n.createElement("path",{d:"M7 10 9.2 12.2 13.2 7.8",strokeLinecap:"round",strokeLinejoin:"round"}))'
)
_LINK = (
    'n.createElement(g.G,{content:"Privacy",directionalHint:E.b.rightCenter,tooltipProps:p.$8,'
    'className:"tooltip-main-icon"},n.createElement("a",{href:`${a}/privacy/`,"aria-label":"Privacy",'
    f'className:"privacy-link"}},n.createElement("div",{{className:"icon"}},{_SHIELD})))'
)
_STYLE = (
    ".nav-slider .privacy-link svg{display:block;stroke:#9ca3af}"
    ".nav-slider .privacy-link:focus svg,.nav-slider .privacy-link:hover svg{stroke:#3d6cc0}"
)
_ANCHOR = ".loading{height:100%;margin:0 auto;width:80%}"

NAVIGATION_PATCHES = (
    Patch.of(
        name="privacy_link",
        why="the bar at the left knows no page but NNI's own",
        edits={
            MAIN: {_LAST_PAGE: f"{_LAST_PAGE},{_LINK}"},
            MAIN_STYLE: {_ANCHOR: f"{_ANCHOR}{_STYLE}"},
        },
    ),
    Patch.of(
        name="page_addresses",
        why="an icon's name is misspelt, and the overview's link to the trials forgets the prefix of the address",
        edits={
            MAIN: {"/icons/overivew.png": "/icons/overview.png"},
            OVERVIEW: {'n.createElement("a",{href:"/detail",': 'n.createElement("a",{href:((0,l.Gn)()||"")+"/detail",'},
        },
    ),
)
