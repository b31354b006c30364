"""The table of the members that attacks find most often, with thumbnails where their images are at hand."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nni_privacy.analysis.exposed import ExposedRecord, Exposures
from nni_privacy.report.html import render_part
from nni_privacy.runs.records import RunInfo

__all__ = ["ExposedRow", "exposed_html", "exposed_rows", "images_of_run", "thumbnail"]

ROWS = 20
LARGEST = 64
"""Pixels of a thumbnail's longer side."""


@dataclass(frozen=True)
class ExposedRow:
    """A row of the table.

    Attributes:
        record: the member.
        image: its thumbnail as a ``data:`` address; empty if there is none.
    """

    record: ExposedRecord
    image: str = ""


def exposed_rows(found: Exposures, images: Any = None, *, most: int = ROWS) -> tuple[ExposedRow, ...]:
    """The first rows of the table.

    Args:
        found: the members.
        images: ``(N, C, H, W)`` tensor or array, whose places the members' indices are; None: no thumbnails.
        most: how many rows.
    """
    size = 0 if images is None else len(images)
    return tuple(
        ExposedRow(one, thumbnail(np.asarray(images[one.index])) if one.index < size else "")
        for one in found.records[:most]
    )


def exposed_html(found: Exposures, images: Any = None) -> Markup:
    """The section of a page, empty where there are no members to show; arguments as :func:`exposed_rows`."""
    return render_part("exposed.html.jinja", rows=exposed_rows(found, images), found=found)


def thumbnail(image: NDArray[Any]) -> str:
    """An image ``(C, H, W)`` of any type as a ``data:`` address of a PNG; three channels are colours, else the first.

    ``uint8`` is taken as it is, other values are spread from their least to their largest.
    """
    from PIL import Image

    pixels = image[:3].transpose(1, 2, 0) if len(image) == 3 else image[0]
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = np.rint((pixels - low) * (255 / ((high - low) or 1.0))).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((LARGEST, LARGEST))
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def images_of_run(run: RunInfo) -> Any:
    """The images of a search's data set, if it can be loaded here, without a download; else None."""
    from nni_privacy.data import load_dataset

    section = run.config.get("dataset")
    if not isinstance(section, Mapping) or not isinstance(section.get("name"), str):
        return None
    options: dict[str, Any] = {key: value for key, value in section.items() if key != "name"}
    try:
        return load_dataset(section["name"], **options | ({"download": False} if "download" in options else {})).images
    except Exception:  # a page without pictures is better than none, whatever a loader of the user's own raises
        return None
