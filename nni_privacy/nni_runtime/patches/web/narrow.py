"""Narrow windows: NNI's pages are 1,116 pixels wide whatever the window is."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Patch
from nni_privacy.nni_runtime.patches.web.files import MAIN_STYLE

__all__ = ["NARROW_PATCHES"]

_ANCHOR = ".loading img{left:40%;position:fixed;top:40%;width:20%}"
# Rules of single pages are loaded later: what overrules them is more specific, by the class of the whole page.
_STYLE = """
@media (max-width:1200px){
.nni .content,.nni .headerCon,.nni .nav,.nni .nav-main{min-width:0}
}
@media (max-width:1000px){
.nni .overviewWrapper{display:block;max-height:none}
.nni .overviewWrapper>div,.nni .overviewWrapper .duration,.nni .overviewWrapper .trialCount{height:auto;
margin:0 0 14px;max-height:none;position:static}
.nni .overviewWrapper .bestTable{overflow-x:auto}
.nni .overviewWrapper #succTable{min-width:640px}
.nni .allList{flex-wrap:wrap;row-gap:8px}
}
@media (max-width:600px){
.nni .nav-slider{width:40px}
.nni .nav-slider .ms-Stack{padding-left:2px;padding-right:2px}
.nni .nav-main{left:40px;width:calc(100vw - 40px)}
.nni .nav-main .title{flex-shrink:0;font-size:16px;margin-left:10px}
.nni .nav-main .options{left:118px;margin-top:12px;overflow-x:auto;right:4px;scrollbar-width:none}
.nni .nav-main .options .ms-Stack{justify-content:flex-start}
.nni .nav-main .options .ms-Stack>*{flex-shrink:0;margin-left:6px!important}
.nni .nav-main .options .bar{display:none}
.nni .contentBox{margin-left:40px;width:calc(100vw - 40px)}
.nni .content{margin-top:72px;width:calc(100% - 12px)}
.nni .overviewWrapper>div{padding:14px}
.nni .overviewBestMetric>.ms-Stack,.nni .overviewBestMetric>.ms-Stack>.ms-Stack{flex-wrap:wrap;row-gap:8px}
.nni #tabsty .ms-Pivot{overflow-x:auto;scrollbar-width:none;white-space:nowrap}
.nni #tabsty .ms-Pivot-text{font-size:13px;margin:0 6px}
.nni .default-metric,.nni .para-filter,.nni .meline{flex-wrap:wrap;justify-content:flex-end;row-gap:8px;width:98%}
.nni .trial{height:auto;min-height:500px}
.nni .trial .graph{height:auto;min-height:432px}
.nni #tableList .allList .ms-SearchBox{width:150px}
.nni #tableList .ms-Stack{flex-wrap:wrap}
.nni #tableList .idCopy,.nni #tableList .detail-button{flex-wrap:nowrap}
.ms-Panel-main,.logPanel .ms-Panel-main{width:96%!important}
.panel{padding:0 12px}
.compare-modal .compare-modal-table .column{max-width:110px;min-width:110px;
overflow-wrap:anywhere;padding:0 8px;white-space:normal}
.compare-modal .compare-modal-table{width:98%}
.nni.experiments-info .headerCon{width:100%}
.nni.experiments-info .nav{justify-content:space-between}
.nni.experiments-info .nav .logoTitle{display:none}
.nni.experiments-info .nav>*{flex:0 1 auto;min-width:0!important;width:auto!important}
.nni.experiments-info .nav .navOptions *{min-width:0;width:auto!important}
.nni.experiments-info .contentBox{margin:0;width:100%}
.nni.experiments-info .content{margin:12px 6px;width:auto}
.nni .experimentList{padding:12px}
.nni .experimentList .box{flex-wrap:wrap}
.nni .experimentList .box .search,.nni .experimentList .box .filter{width:auto}
.nni .experimentList .box .search-input{width:230px}
}
"""

NARROW_PATCHES = (
    Patch.of(
        name="narrow_windows",
        why="the pages are 1,116 pixels wide whatever the window is",
        edits={MAIN_STYLE: {_ANCHOR: _ANCHOR + _STYLE.replace("\n", "")}},
    ),
)
