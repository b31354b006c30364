"""The overview: cards for accuracy and AUC, and Top trials by either."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Edit, Patch
from nni_privacy.nni_runtime.patches.web.files import MAIN, OVERVIEW, OVERVIEW_STYLE

__all__ = ["OVERVIEW_PATCHES"]

_CARD = (
    'n.createElement("div",{style:{backgroundImage:`url(${((0,g.Gn)()||"")+"/icons/best-metric-bg.png"})`,'
    'backgroundRepeat:"no-repeat"}},n.createElement("div",{className:"bestMetric"},n.createElement("div",'
    '{className:`${s.O.status} focus-text`},isNaN(E)?"N/A":E.toFixed(6)),n.createElement("div",'
    '{className:"description"},"Best metric")))'
)
_CARDS = (
    "...self.nniPrivacy.cards(n.createElement,s.F.filter((e=>e.sortable)),{ofExperiment:s.O.optimizeMode,"
    'status:s.O.status,style:{backgroundImage:`url(${((0,g.Gn)()||"")+"/icons/best-metric-bg.png"})`,'
    'backgroundRepeat:"no-repeat"}})'
)
_CARD_STYLE = ".focus-status-metric>div .focus-text{font-size:24px;font-weight:700}"
_CARDS_STYLE = (
    _CARD_STYLE + ".overview .focus-status-metric>div{flex:1;height:92px;margin-bottom:24px;margin-top:24px;"
    "min-width:0;width:auto}.overview .focus-status-metric>div+div{margin-left:6px}"
    ".overview .focus-status-metric>div .focus-text{font-size:20px;overflow-wrap:anywhere}"
    ".overview .focus-status-metric>div .description{font-size:12px}"
    ".overview .focus-status-metric>div .card-trial{margin-top:3px}"
)

# One column less is empty: a search for architectures has no tuner.
_NO_TUNER = (
    'n.createElement("div",{className:"bottomval"},n.createElement(r.K,{horizontal:!0,className:"experimentHead"},'
    'n.createElement("div",{className:"small-icon"},n.createElement("img",{src:((0,g.Gn)()||"")+"/icons/experiment-tuner.png"'
)

_TOP = (
    '(()=>{const e=s.F.sort(),{bestTrialEntries:t,metricGraphMode:a}=(0,n.useContext)(c.Il);return"Maximize"===a?'
    "e.reverse().splice(JSON.parse(t)):e.splice(JSON.parse(t)),e})()"
)
_ORDERED = (
    "(()=>{const{bestTrialEntries:t,metricGraphMode:a}=(0,n.useContext)(c.Il);"
    "return self.nniPrivacy.top(s.F.filter((e=>e.sortable)),order,a,JSON.parse(t))})()"
)
_HOOKS = "const{changeMetricGraphMode:e,changeEntries:t}=(0,n.useContext)(c.Il),a="
_ORDER_HOOKS = (
    "const{changeMetricGraphMode:e,changeEntries:t}=(0,n.useContext)(c.Il),"
    '[order,setOrder]=(0,n.useState)("default");self.nniPrivacy.useOwnMode(n,order,e,s.O.optimizeMode);const a='
)
_FIRST_BUTTON = 'n.createElement(l.a,{text:"Maximize",'
_ORDER = (
    'self.nniPrivacy.has(s.F.filter((e=>e.sortable)),"mia_auc")&&n.createElement(i.L,{ariaLabel:"Order by",'
    'className:"top-order",selectedKey:order,options:[{key:"default",text:"Default metric"},{key:"mia_auc",'
    'text:"mia_auc"}],onChange:(t,a)=>{void 0!==a&&(setOrder(a.key),e(self.nniPrivacy.mode(a.key,s.O.optimizeMode)))},'
    "styles:{root:{width:130}}}),"
)
_COLUMN = "onRender:e=>n.createElement(h,{trialId:e.id})}]"
_COLUMNS = (
    'onRender:e=>n.createElement(h,{trialId:e.id})},{name:"mia_auc",key:"mia_auc",fieldName:"mia_auc",minWidth:100,'
    'maxWidth:200,isResizable:!0,data:"number",onColumnClick:w,onRender:e=>self.nniPrivacy.number(n.createElement,'
    'e.mia_auc,"succeed-padding metric")}]'
)

OVERVIEW_PATCHES = (
    Patch.of(
        name="overview_cards",
        why="the overview's card knows the default metric only, and not whose it is",
        edits={OVERVIEW: {_CARD: _CARDS}, OVERVIEW_STYLE: {_CARD_STYLE: _CARDS_STYLE}},
    ),
    Patch(
        name="top_trials",
        why="Top trials are those of the default metric only, without the AUC; sorting them by it does nothing",
        edits=(
            Edit(OVERVIEW, _HOOKS, _ORDER_HOOKS),
            Edit(OVERVIEW, _TOP, _ORDERED),
            Edit(OVERVIEW, _FIRST_BUTTON, _ORDER + _FIRST_BUTTON),
            Edit(OVERVIEW, _COLUMN, _COLUMNS),
            Edit(OVERVIEW, "(0,n.useState)(s.F.table(t)),", "(0,n.useState)(self.nniPrivacy.rows(s.F,t)),"),
            Edit(OVERVIEW, "{x(s.F.table(t))}", "{x(self.nniPrivacy.rows(s.F,t))}"),
            Edit(
                OVERVIEW,
                "n.createElement(v.W,{columns:T,items:D,",
                'n.createElement(v.W,{columns:T.filter((e=>"mia_auc"!==e.key||D.some((e=>void 0!==e.mia_auc)))),'
                "items:D,",
            ),
            # Room for one more column beside them.
            Edit(OVERVIEW, 'fieldName:"sequenceId",minWidth:133', 'fieldName:"sequenceId",minWidth:80'),
            Edit(OVERVIEW, 'fieldName:"id",minWidth:160', 'fieldName:"id",minWidth:120'),
            Edit(OVERVIEW, 'key:"duration",minWidth:124', 'key:"duration",minWidth:80'),
            Edit(OVERVIEW, 'key:"status",minWidth:152', 'key:"status",minWidth:120'),
            Edit(OVERVIEW, "chartHeight:530,", "chartHeight:530,metric:order,"),
        ),
    ),
    Patch.of(
        name="empty_details",
        why="a search has no tuner, but an icon for it; and a trial of less than a second has no duration",
        edits={
            OVERVIEW: {_NO_TUNER: f"l.length>0&&{_NO_TUNER}"},
            MAIN: {"span>`),t}": "span>`),t||self.nniPrivacy.NO_TIME}"},
        },
    ),
    Patch.of(
        name="wrapped_command",
        why="a long trial command is one line, and makes the overview as wide as it is",
        edits={
            OVERVIEW_STYLE: {
                ".bottomval{margin-bottom:20px}": (
                    ".bottomval{margin-bottom:20px}.bottomval .experimentHead>div:last-child{min-width:0}"
                    ".bottomval .experimentHead>div:last-child *{white-space:normal;overflow-wrap:anywhere}"
                    ".bottomval .experimentHead{max-height:47px;overflow:hidden}"
                ),
            },
        },
    ),
)
