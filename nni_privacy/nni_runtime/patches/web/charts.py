"""The graphs of the default metric and of hyper-parameters: what they start with, and what they say they show."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Edit, Patch
from nni_privacy.nni_runtime.patches.web.files import DETAIL, DETAIL_STYLE, OVERVIEW

__all__ = ["CHART_PATCHES"]

_GRID = '({grid:{left:"8%"},tooltip:{trigger:"item",enterable:e,'
_GRID_WITH_LABELS = '({grid:{left:"4%",right:60,containLabel:!0},tooltip:{trigger:"item",enterable:e,'
_Y_AXIS = 'yAxis:{name:"Default metric",type:"value",scale:!0}'
_NAMED_Y_AXIS = 'yAxis:{name:"default"===t?"Default metric":t,nameTextStyle:{align:"left"},type:"value",scale:!0}'

Hooks = tuple[str, str, str, str, str]


def _metric_graph(file: str, *, trials: str, kept: str, draw: str, hooks: Hooks, change: str) -> tuple[Edit, ...]:
    """The edits of one of the two copies of the graph, whose variables have names of their own.

    Args:
        file: the bundle's.
        trials: the module with all trials and the experiment.
        kept: the trials that are drawn.
        draw: the function that makes the graph.
        hooks: states: the graph's setter, the metric, its setter, whether there is a curve, the mode.
        change: sets the mode.
    """
    graph, metric, choose, curve, mode = hooks
    kept_trials = f"const {kept}={trials}.F.getTrials(e).filter((e=>e.sortable));if("
    measured = "e.sortable&&void 0!==self.nniPrivacy.metric(e,a)"
    state = f'[{metric},{choose}]=(0,n.useState)("default");(0,n.useEffect)((()=>{{{graph}({draw}(a,t,{metric},'
    own_state = (
        f'[chosen,{choose}]=(0,n.useState)("default"),{metric}=e.metric??chosen;self.nniPrivacy.useOwnMode('
        f"n,chosen,{change},{trials}.O.optimizeMode);(0,n.useEffect)((()=>{{{graph}({draw}(a,t,{metric},"
    )
    chosen = f"onChange:(e,t)=>{{void 0!==t&&{choose}(t.key.toString())}}"
    chosen_with_mode = (
        f"onChange:(e,t)=>{{void 0!==t&&({choose}(t.key.toString()),"
        f"{change}(self.nniPrivacy.mode(t.key.toString(),{trials}.O.optimizeMode)))}}"
    )
    return (
        Edit(file, kept_trials, kept_trials.replace("e.sortable", measured)),
        Edit(file, _GRID, _GRID_WITH_LABELS),
        Edit(file, _Y_AXIS, _NAMED_Y_AXIS),
        Edit(file, state, own_state),
        Edit(file, f"[a.length,{curve},{metric},{mode}]", f"[a.join(),{curve},{metric},{mode}]"),
        Edit(file, chosen, chosen_with_mode),
        Edit(
            file,
            'styles:{dropdown:{width:100}},className:"para-filter-percent"})),',
            'styles:{dropdown:{width:220}},className:"para-filter-percent metric-key"})),',
        ),
        Edit(
            file, 'theme:"nni_theme",lazyUpdate:!0,onEvents:', 'theme:"nni_theme",notMerge:!0,lazyUpdate:!0,onEvents:'
        ),
    )


_AXES = (
    "[M,D]=(0,n.useState)((K=(()=>{const e=s.F.inferredSearchSpace(r),t=s.F.inferredMetricSpace(),a=[];"
    "for(const[n]of e.axes)a.push(n);for(const[n]of t.axes)a.push(n);return a})(),"
    "null!==localStorage.getItem(`${s.O.profile.id}_paraColumns`)&&null!==v(`${s.O.profile.id}_paraColumns`)?"
    "JSON.parse(v(`${s.O.profile.id}_paraColumns`)):K));var K;"
)
_STARTING_AXES = (
    "[stored,D]=(0,n.useState)(null!==localStorage.getItem(`${s.O.profile.id}_paraColumns`)&&"
    "null!==v(`${s.O.profile.id}_paraColumns`)?JSON.parse(v(`${s.O.profile.id}_paraColumns`)):null),"
    "M=stored??self.nniPrivacy.startingAxes(s.F.inferredSearchSpace(r),s.F.inferredMetricSpace(),l,d);"
    "self.nniPrivacy.useOwnMode(n,d,a,s.O.optimizeMode);"
)
_KEYS = "if(1===s.F.finalKeys().length)return null;{const e=[];return s.F.finalKeys().forEach("
_NUMERIC_KEYS = (
    "const keys=self.nniPrivacy.numericKeys(l);if(1===keys.length)return null;{const e=[];return keys.forEach("
)
_SHOWN = "T.data(i).dimensions(o.filter((([e,t])=>0===M.length||M.includes(e))).reduce("
_RENDERED = "T.render(),i.length>=0&&y(!1)"

CHART_PATCHES = (
    Patch(
        name="named_metric_axes",
        why="the graph of a metric says 'Default metric' whatever it shows, draws 0 where there is none, and prefers "
        "the highest AUC",
        edits=(
            *_metric_graph(DETAIL, trials="c", kept="r", draw="h", hooks=("S", "N", "x", "v", "g"), change="f"),
            *_metric_graph(OVERVIEW, trials="o", kept="l", draw="E", hooks=("x", "y", "b", "h", "v"), change="g"),
            Edit(
                DETAIL,
                'data:a},yAxis:{type:"value",name:"Metric",scale:!0},series:l}',
                'data:a},yAxis:{type:"value",name:"default"===o?"Default metric":o,nameTextStyle:{align:"left"},'
                "scale:!0},series:l}",
            ),
            Edit(
                DETAIL,
                'data:t},yAxis:{type:"value",name:"Metric",scale:!0}',
                'data:t},yAxis:{type:"value",name:"Default metric",nameTextStyle:{align:"left"},scale:!0}',
            ),
        ),
    ),
    Patch.of(
        name="legend_of_compared_trials",
        why="in a narrow window the legend lies over the axis' name",
        edits={
            DETAIL: {
                'grid:{left:"5%",top:40,containLabel:!0},legend:': 'grid:{left:"5%",top:64,containLabel:!0},legend:',
            },
        },
    ),
    Patch(
        name="optimization_curve",
        why="the curve of the best trials names the one before in its tooltip",
        edits=(
            Edit(DETAIL, "p(i.acc[t]),n.id,i.parameter]),n=i)", "p(i.acc[t]),i.id,i.parameter]),n=i)"),
            Edit(OVERVIEW, "p(i.acc[t]),n.id,i.parameter]),n=i)", "p(i.acc[t]),i.id,i.parameter]),n=i)"),
        ),
    ),
    Patch.of(
        name="chart_numeric_metrics",
        why="a metric that is a text (the architecture) becomes an unreadable axis of the hyper-parameter chart",
        edits={
            DETAIL: {
                "for(const[l,r]of n.axes){const a=A(r);if(l===d": (
                    "for(const[l,r]of n.axes){if(!self.nniPrivacy.isAxis(l,n.axes))continue;const a=A(r);if(l===d"
                ),
                _KEYS: _NUMERIC_KEYS,
            },
        },
    ),
    Patch(
        name="chart_axes",
        why="the hyper-parameter chart starts with every choice of an architecture, and their labels overlap",
        edits=(
            Edit(DETAIL, _AXES, _STARTING_AXES),
            Edit(DETAIL, "I={top:32,right:20,bottom:20,left:28}", "I=self.nniPrivacy.MARGIN"),
            Edit(
                DETAIL,
                _SHOWN,
                _SHOWN.replace(".reduce(", ".sort((([e],[t])=>M.indexOf(e)-M.indexOf(t))).reduce("),
            ),
            Edit(
                DETAIL,
                _RENDERED,
                "T.render(),self.nniPrivacy.tidyChart(O.current),"
                'T.on("axesreorder.labels",(()=>setTimeout((()=>O.current&&self.nniPrivacy.tidyChart(O.current)),1500))),'
                "i.length>=0&&y(!1)",
            ),
            Edit(DETAIL, "[M,c,t,d,l,r])", "[M.join(),c,t,d,l,r])"),
            Edit(
                DETAIL,
                'n.createElement("div",{className:"parcoords",style:w,ref:O})',
                'n.createElement("div",{className:"parcoords",'
                "style:{...w,minWidth:self.nniPrivacy.chartWidth(M.length)},ref:O})",
            ),
            Edit(DETAIL, '"No data"))),[E,M])', '"No data"))),[E,M.join()])'),
            Edit(
                DETAIL,
                "P=(e,t)=>{void 0!==t&&u(t.key)}",
                "P=(e,t)=>{void 0!==t&&(u(t.key),a(self.nniPrivacy.mode(t.key,s.O.optimizeMode)))}",
            ),
            Edit(
                DETAIL,
                "options:e,onChange:P,styles:{root:{width:150}}",
                'options:e,onChange:P,className:"metric-key",styles:{root:{width:220}}',
            ),
            Edit(
                DETAIL_STYLE,
                ".parameter{height:100%}",
                ".parameter{overflow:auto hidden;position:relative}",
            ),
        ),
    ),
)
