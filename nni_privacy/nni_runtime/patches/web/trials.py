"""What unfolds of a trial, and the dialog that compares trials: fixed choices, room for labels, no dead button."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Edit, Patch
from nni_privacy.nni_runtime.patches.web.files import DETAIL, DETAIL_STYLE, OVERVIEW

__all__ = ["TRIAL_PATCHES"]

_VISUALIZATION = '.O.metadata.tag.includes("retiarii")?n.createElement(i.M,{headerText:"Visualization"'
_CUSTOMIZED = 'n.createElement(b.K,{className:"detail-button-operation",title:"Customized trial"'

TRIAL_PATCHES = (
    Patch(
        name="fixed_choices",
        why="Parameters lack what a pattern has fixed",
        edits=(
            Edit(DETAIL, "data:(0,f.cJ)(O)", "data:self.nniPrivacy.shownParameters(O)"),
            Edit(OVERVIEW, "data:(0,g.cJ)(D)", "data:self.nniPrivacy.shownParameters(D)"),
            Edit(DETAIL, "(0,f.cJ)(e.parameter)", "self.nniPrivacy.shownParameters(e.parameter)"),
            Edit(OVERVIEW, "(0,g.cJ)(e.parameter)", "self.nniPrivacy.shownParameters(e.parameter)"),
        ),
    ),
    Patch(
        name="no_dead_buttons",
        why="Netron needs a public web site and a file that no trial writes; a copied trial of an architecture is "
        "submitted as '[object Object]'",
        edits=(
            Edit(DETAIL, f"g{_VISUALIZATION}", f"!1?{_VISUALIZATION.partition('?')[2]}"),
            Edit(OVERVIEW, f"v{_VISUALIZATION}", f"!1?{_VISUALIZATION.partition('?')[2]}"),
            Edit(DETAIL, _CUSTOMIZED, f'!s.O.metadata.tag.includes("retiarii")&&{_CUSTOMIZED}'),
        ),
    ),
    Patch(
        name="compared_trials",
        why="in the dialog that compares trials names lie over values, a 0 is no value, and a text fills the page",
        edits=(
            Edit(
                DETAIL,
                'n.createElement("td",{className:a,key:e.id},r(e)||"--")',
                "self.nniPrivacy.compared(n.createElement,e.id,a,r(e))",
            ),
            Edit(
                DETAIL,
                '"Compare trials"===a&&n.createElement(i.K,null,',
                '"Compare trials"===a&&n.createElement(i.K,{className:"compare-scroll"},',
            ),
            Edit(
                DETAIL_STYLE,
                ".compare-modal-table .column{font-weight:600;max-width:124px;padding-left:18px}",
                ".compare-modal-table .column{background:inherit;font-weight:600;left:0;padding:0 18px;"
                "position:sticky;white-space:nowrap}.compare-modal-table tr{background:#fff}"
                ".compare-modal .compare-scroll{overflow-x:auto}",
            ),
            Edit(
                DETAIL_STYLE,
                ".compare-modal-table .value{max-width:152px;padding-right:18px;text-align:left}",
                ".compare-modal-table .value{max-width:152px;overflow:hidden;padding-right:18px;text-align:left;"
                "text-overflow:ellipsis;white-space:nowrap}",
            ),
            Edit(DETAIL_STYLE, ".compare-modal .flex{display:flex}", ".compare-modal .flex{display:table}"),
            Edit(
                DETAIL_STYLE,
                ".compare-modal .ms-Dialog-main{min-width:450px;width:50%}",
                ".compare-modal .ms-Dialog-main{max-width:900px;min-width:min(450px,92vw);width:60%}",
            ),
            Edit(DETAIL_STYLE, ".selectKeys .ms-Dropdown{width:120px}", ".selectKeys .ms-Dropdown{width:220px}"),
        ),
    ),
)
