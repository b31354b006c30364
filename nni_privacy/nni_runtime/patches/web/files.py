"""Files of NNI's web UI that the patches edit; their names carry a hash, hence the patterns."""

from __future__ import annotations

__all__ = ["DETAIL", "DETAIL_STYLE", "MAIN", "MAIN_STYLE", "OVERVIEW", "OVERVIEW_STYLE"]

MAIN = "static/static/js/main.*.js"
"""Navigation, panels, what the page knows of the experiment and its trials."""
OVERVIEW = "static/static/js/81.*.chunk.js"
"""The overview; a copy of what it shares with the page of trials is in either."""
DETAIL = "static/static/js/616.*.chunk.js"
"""The page of trials."""
MAIN_STYLE = "static/static/css/main.*.css"
OVERVIEW_STYLE = "static/static/css/81.*.chunk.css"
DETAIL_STYLE = "static/static/css/616.*.chunk.css"
