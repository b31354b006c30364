"""A report's figures are there as files, too."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from report.study_samples import write_study

from nni_privacy.report import write_report
from nni_privacy.report.html import figure_files


def test_every_figure_of_a_page_is_a_whole_svg_file(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_study(folder, datasets=["cifar10"], attacks=["white_box_partial"], seeds=[0])
    page = write_report(folder).read_text()
    files = {path.name: path.read_text() for path in (folder / "figures").iterdir()}
    assert len(files) == page.count("<svg ") > 1
    for text in files.values():
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own file


def test_names_come_from_the_text_alternative_and_never_leave_the_folder() -> None:
    figure = '<svg role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg"><g/></svg>'
    labels = ("AUC of 5 attacks, cifar10", "AUC of 5 attacks, cifar10", "../../x &quot;", "", "A" * 300)
    names = list(figure_files("<p>text</p>".join(figure.format(label) for label in labels)))
    auc = "auc-of-5-attacks-cifar10"
    assert names == [f"{auc}.svg", f"{auc}-2.svg", "x.svg", "figure.svg", f"{'a' * 80}.svg"]
