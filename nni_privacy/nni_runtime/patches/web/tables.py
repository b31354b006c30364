"""Tables of trials: their columns, what sorts them, and trials of which the page knows little yet."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Edit, Patch
from nni_privacy.nni_runtime.patches.web.files import DETAIL, MAIN, OVERVIEW

__all__ = ["TABLE_PATCHES"]

_SORTED = (
    "function x(e,t,r){const n=t;return e.slice(0).sort((function(e,t){return void 0===e[n]||Object.is(e[n],NaN)||"
    'Object.is(e[n],1/0)||Object.is(e[n],-1/0)||"object"===typeof e[n]?1:void 0===t[n]||Object.is(t[n],NaN)||'
    'Object.is(t[n],1/0)||Object.is(t[n],-1/0)||"object"===typeof t[n]?-1:(r?e[n]<t[n]:e[n]>t[n])?1:-1}))}'
)
_CLICKED = "const a=!p.slice().filter((e=>t.key===e.key))[0].isSortedDescending;M({field:t.key,isDescend:a})"
_SEARCH = "changeSearchFilterList:a}=e,{updateDetailPage:l}=(0,n.useContext)(o.Il)"
_PARAMETER = "JSON.parse(this.info.hyperParameters[0]).parameters}"

TABLE_PATCHES = (
    Patch.of(
        name="mia_auc_column",
        why="the attack's AUC, how far a trial is off, and why it may be no result hide behind 'Add/Remove columns'",
        edits={
            DETAIL: {
                'const Me=["sequenceId","id","duration","status","latestAccuracy"]': (
                    'const Me=["sequenceId","id","duration","status","latestAccuracy","metric/mia_auc",'
                    '"metric/predicted_mia_auc","metric/violation","metric/notices"]'
                ),
            },
        },
    ),
    Patch.of(
        name="sorting",
        why="a click on a column's title is a TypeError, or sorts by a field that no row has, or rows of long ago",
        edits={
            MAIN: {_SORTED: "function x(e,t,r){return self.nniPrivacy.sorted(e,t,r)}"},
            # The columns belong to a moment when there were none; what was clicked is one of those that are shown.
            DETAIL: {_CLICKED: "M({field:t.key,isDescend:!t.isSortedDescending})"},
            OVERVIEW: {"O(a),x(r),C({field:": "O(a),C({field:"},
        },
    ),
    Patch.of(
        name="linked_trial",
        why="no address leads to the row of a trial: the Privacy page can only name it",
        edits={
            DETAIL: {
                "[D,K]=(0,n.useState)([])": "[D,K]=(0,n.useState)(self.nniPrivacy.linkedTrial())",
                f'{_SEARCH},[r,c]=(0,n.useState)("")': f"{_SEARCH},[r,c]=(0,n.useState)(U(t))",
            },
        },
    ),
    Patch(
        name="unknown_parameters",
        why="a trial of which only a metric, or no parameter, has arrived yet leaves an empty page",
        edits=(
            Edit(MAIN, "void 0===this.info.hyperParameters)throw t;", "void 0===this.info.hyperParameters)return t;"),
            Edit(MAIN, f"return {_PARAMETER}", f"return void 0===this.info.hyperParameters?{{}}:{_PARAMETER}"),
            Edit(
                MAIN,
                "for(const t of this.trials.values()){const r=[];for(const e of t.intermediates)",
                "for(const t of this.trials.values()){if(!t.initialized())continue;const r=[];"
                "for(const e of t.intermediates.filter(Boolean))",
            ),
            Edit(DETAIL, "of e.parameters(t))l[`space/", "of self.nniPrivacy.parametersOf(e,t))l[`space/"),
            Edit(
                DETAIL,
                "Array.from(a.parameters(e).entries())",
                "Array.from(self.nniPrivacy.parametersOf(a,e).entries())",
            ),
            Edit(DETAIL, "parameters:a(t.parameters(e))", "parameters:a(self.nniPrivacy.parametersOf(t,e))"),
        ),
    ),
)
