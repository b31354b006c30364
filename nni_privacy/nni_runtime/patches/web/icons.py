"""Icons of NNI's web UI: symbols of the system's fonts in place of fonts that are fetched from a public host."""

from __future__ import annotations

import json

from nni_privacy.nni_runtime.patches.apply import Patch

__all__ = ["ICON_PATCHES"]

_LIBRARY = "static/static/js/964.*.js"

# Unicode symbols for the icons that the page and its widgets use, by the widget library's names.
_GLYPHS = {
    "Add": "+", "Blocked": "⊘", "Blocked2": "⊘", "BarChartHorizontal": "☷", "BulletedList": "☰", "Calendar": "▦",
    "Cancel": "✕",
    "CheckMark": "✓", "ChevronDown": "▾", "ChevronDownSmall": "▾", "ChevronLeft": "‹", "ChevronRight": "›",
    "ChevronRightMed": "›", "ChevronUp": "▴", "ChevronUpSmall": "▴", "CircleRing": "○", "Clear": "✕",
    "Completed": "✔", "Copy": "❐", "CustomList": "≣", "Delete": "✕", "DisableUpdates": "⊘", "DoubleChevronLeft": "«",
    "DoubleChevronRight": "»", "Down": "↓", "Download": "↓", "Edit": "✎", "Equalizer": "≋", "Error": "⊗",
    "ErrorBadge": "⊗", "Filter": "▽", "FlowChart": "⇢", "GlobalNavButton": "☰", "HomeGroup": "⌂", "Important": "!",
    "Info": "ⓘ", "LineChart": "∿", "List": "≡", "M365InvoicingLogo": "▤", "Market": "↗", "MarketDown": "↘",
    "More": "⋯", "MoreVertical": "⋮", "Refresh": "↻", "ReminderTime": "◷", "Remove": "−", "ReplyAll": "↩",
    "RevToggleKey": "⇥", "Search": "⌕", "Settings": "⚙", "SortDown": "↓", "SortUp": "↑", "StackedLineChart": "∿",
    "StatusCircleBlock": "⊘", "StatusCircleCheckmark": "✓", "TestParameter": "≔", "Timer": "◴", "Up": "↑",
    "Warning": "⚠",
}  # fmt: skip

# local(): fonts of the system only. Where none is there, the browser finds the symbols in another font by itself.
_SOURCES = "local('DejaVu Sans'),local('Segoe UI Symbol'),local('Apple Symbols')"
_FONT = f"""{{fontFamily:'"NNI Privacy Symbols"',src:"{_SOURCES}"}}"""
_STYLE = '{fontStyle:"normal",fontWeight:"normal",speak:"none"}'
_GLYPHS_SUBSET = f"{{style:{_STYLE},fontFace:{_FONT},icons:{json.dumps(_GLYPHS)}}}"

_OFFLINE_ICONS = Patch.of(
    name="offline_icons",
    why="each visit of the page fetches fonts from a public host; without a network, icons are empty squares",
    edits={
        _LIBRARY: {
            # A function of its own beside the library's: inside that one, `n` is another variable.
            'var x=n.SV+"/assets/icons/",k=(0,D.J)();function L(e,t){': (
                'var x=n.SV+"/assets/icons/",k=(0,D.J)();'
                f"function registerGlyphs(){{(0,n.fm)({_GLYPHS_SUBSET})}}function L(e,t){{"
            ),
            "[o,r,s,a,l,u,c,d,h,g,f,p,m,v,_,b,y,C,w].forEach((function(i){return i(e,t)})),S()": "registerGlyphs(),S()",
            '"https://res-1.cdn.office.net/files/fabric-cdn-prod_20221209.001/assets"': '""',
        },
    },
)

ICON_PATCHES = (_OFFLINE_ICONS,)
