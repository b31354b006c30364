"""The repairs of NNI's web UI, a minified bundle: anchors are statements of the bundle that stand there once."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.web.charts import CHART_PATCHES
from nni_privacy.nni_runtime.patches.web.helpers import HELPER_PATCHES
from nni_privacy.nni_runtime.patches.web.icons import ICON_PATCHES
from nni_privacy.nni_runtime.patches.web.narrow import NARROW_PATCHES
from nni_privacy.nni_runtime.patches.web.navigation import NAVIGATION_PATCHES
from nni_privacy.nni_runtime.patches.web.numbers import NUMBER_PATCHES
from nni_privacy.nni_runtime.patches.web.overview import OVERVIEW_PATCHES
from nni_privacy.nni_runtime.patches.web.panels import PANEL_PATCHES
from nni_privacy.nni_runtime.patches.web.tables import TABLE_PATCHES
from nni_privacy.nni_runtime.patches.web.trials import TRIAL_PATCHES

__all__ = ["WEB_PATCHES"]

WEB_PATCHES = (
    *HELPER_PATCHES,
    *ICON_PATCHES,
    *NAVIGATION_PATCHES,
    *NUMBER_PATCHES,
    *TABLE_PATCHES,
    *OVERVIEW_PATCHES,
    *CHART_PATCHES,
    *TRIAL_PATCHES,
    *PANEL_PATCHES,
    *NARROW_PATCHES,
)
