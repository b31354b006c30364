"""Writer of the report of a run: one HTML file that needs nothing else, with its figures and tables beside it."""

from __future__ import annotations

from pathlib import Path

from nni_privacy.errors import DataError, PrivacyError
from nni_privacy.report.effects_infos import effects_tables
from nni_privacy.report.html import figure_files, replace_text
from nni_privacy.report.predicted_page import render_predicted_run
from nni_privacy.report.run_page import render_run
from nni_privacy.report.study_page import render_study, study_tables
from nni_privacy.runs.records import read_run

__all__ = ["write_report"]

FILE_NAME = "report.html"
FIGURES = "figures"


def write_report(run_directory: str | Path) -> Path:
    """Reads a run directory and writes ``report.html`` into it, replacing an older one in one step.

    Its figures are written beside it into the folder ``figures``, and of a measurement study its numbers as CSV files.

    Args:
        run_directory: as ``nni-privacy search`` writes it; the run may still be going on.

    Returns:
        The path of the page.

    Raises:
        DataError: if the folder is no run directory or cannot be written to, or the page cannot be drawn.
    """
    run = read_run(run_directory)
    path = run.directory / FILE_NAME
    for name, text in ({**study_tables(run), **effects_tables(run)} if run.study else {}).items():
        replace_text(run.directory / name, text)
    render = render_predicted_run if run.predicted else render_study if run.study else render_run
    try:
        page = render(run)
    except PrivacyError:
        raise
    except Exception as error:  # the trials are worth more than their page
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        again = f"its trials are kept; nni-privacy report {run.directory} tries again"
        raise DataError(f"{path}: the report cannot be drawn ({reason}); {again}") from error
    for name, text in figure_files(page).items():
        replace_text(run.directory / FIGURES / name, text)
    replace_text(path, page)
    return path
