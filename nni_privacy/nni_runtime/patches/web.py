"""The repairs of NNI's web UI, a minified bundle: anchors are statements of the bundle that stand there once."""

from __future__ import annotations

import json

from nni_privacy.nni_runtime.patches.apply import Patch

__all__ = ["WEB_PATCHES"]

_PAGE = "static/static/js/616.*.chunk.js"
_LIBRARY = "static/static/js/964.*.js"

_MIA_AUC_COLUMN = Patch.of(
    name="mia_auc_column",
    why="the attack's AUC, how far a trial is off, and why it may be no result hide behind 'Add/Remove columns'",
    edits={
        _PAGE: {
            'const Me=["sequenceId","id","duration","status","latestAccuracy"]': (
                'const Me=["sequenceId","id","duration","status","latestAccuracy","metric/mia_auc",'
                '"metric/predicted_mia_auc","metric/violation","metric/notices"]'
            ),
        },
    },
)

# Of an audit, ends of intervals, further attacks and the like crowd the chart; they stay in the table and in the
# graphs' drop-downs. A predicted AUC is the only one that there is: it stays. Without an audit all are the user's own.
_SECONDARY = (
    "/(_low|_high|_fpr|_balanced_accuracy|.(?<!predicted)_mia_auc|_mia_auc_sd|^(balanced_)?accuracy|^seconds)$/"
)

_CHART_NUMERIC_METRICS = Patch.of(
    name="chart_numeric_metrics",
    why="a metric that is a text (the trained architecture) becomes an unreadable axis of the hyper-parameter chart",
    edits={
        _PAGE: {
            "for(const[l,r]of n.axes){const a=A(r);if(l===d": (
                'for(const[l,r]of n.axes){if("linear"!==r.scale||n.axes.has("mia_auc_low")&&'
                f"{_SECONDARY}.test(l))continue;const a=A(r);if(l===d"
            ),
        },
    },
)

# Unicode symbols for the icons that the page and its widgets use, by the widget library's names.
_GLYPHS = {
    "Add": "+", "Blocked": "⊘", "Blocked2": "⊘", "BarChartHorizontal": "☷", "BulletedList": "☰", "Cancel": "✕",
    "CheckMark": "✓", "ChevronDown": "▾", "ChevronDownSmall": "▾", "ChevronLeft": "‹", "ChevronRight": "›",
    "ChevronRightMed": "›", "ChevronUp": "▴", "ChevronUpSmall": "▴", "CircleRing": "○", "Clear": "✕",
    "Completed": "✔", "Copy": "❐", "Delete": "✕", "DisableUpdates": "⊘", "DoubleChevronLeft": "«",
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

_WRAPPED_COMMAND = Patch.of(
    name="wrapped_command",
    why="a long trial command is one line, and makes the overview as wide as it is",
    edits={
        "static/static/css/81.*.chunk.css": {
            ".bottomval{margin-bottom:20px}": (
                ".bottomval{margin-bottom:20px}.bottomval .experimentHead>div:last-child{min-width:0}"
                ".bottomval .experimentHead>div:last-child *{white-space:normal;overflow-wrap:anywhere}"
                ".bottomval .experimentHead{max-height:47px;overflow:hidden}"
            ),
        },
    },
)

WEB_PATCHES = (_MIA_AUC_COLUMN, _CHART_NUMERIC_METRICS, _OFFLINE_ICONS, _WRAPPED_COMMAND)
