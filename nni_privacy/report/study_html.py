"""The tables of a study's page, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nni_privacy.report.html_table import ends_html, number_cell, p_html, signed, table_frame, text_cell, wrapped_cell
from nni_privacy.report.study_infos import BarsInfo
from nni_privacy.report.study_matched import MatchedInfo
from nni_privacy.report.study_statistics import Basis, Spread
from nni_privacy.report.study_tables import OverfittingInfo, Table1Row
from nni_privacy.report.text import NOTHING, fraction

__all__ = ["bases_note", "correlations_html", "matched_html", "table1_html"]

BASES: dict[Basis, str] = {
    "t": "the 95% t interval of the mean over the seeds (three seeds or more)",
    "range": "the range of the two seeds",
    "bootstrap": "with one seed, the 95% bootstrap interval over the attacked records, which does not cover the "
    "randomness of training",
    "none": "none, where there is one seed and no interval over records",
}
SHORT: dict[Basis, str] = {"t": "", "range": " range", "bootstrap": " records", "none": ""}


def bases_note(infos: Iterable[BarsInfo]) -> str:
    """What the whiskers of these bars are, as a sentence; they may differ from bar to bar."""
    found = {bar.spread.basis for info in infos for bar in info.bars if bar.spread}
    return f"Whiskers: {'; '.join(text for basis, text in BASES.items() if basis in found)}." if found else ""


def table1_html(rows: Sequence[Table1Row]) -> str:
    """Table 1: mean and highest AUC by data set and attack, the kinds side by side."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    found = {(row.dataset, row.attack, row.kind): row for row in rows}
    heads = ["Data set", "Attack"]
    for kind in kinds:
        heads += [f"{kind}: mean AUC [95% interval]", "n", "highest", "whose"]
    body: list[list[str]] = []
    first, before = [], ""
    for dataset, attack in dict.fromkeys((row.dataset, row.attack) for row in rows):
        cells = [text_cell(dataset), text_cell(attack)]
        for kind in kinds:
            cells += _kind_cells(found.get((dataset, attack, kind)))
        if dataset != before:
            first.append(len(body))
        body.append(cells)
        before = dataset
    numbers = [2 + 4 * place + offset for place in range(len(kinds)) for offset in range(3)]
    return table_frame(heads, body, numbers=numbers, first=first)


def _kind_cells(row: Table1Row | None) -> list[str]:
    if row is None:
        return [number_cell(NOTHING)] * 4
    mean = f"{fraction(row.spread.mean)} {_ends(row.spread)}"
    return [
        number_cell(mean),
        number_cell(str(row.architectures)),
        number_cell(fraction(row.highest)),
        text_cell(row.whose),
    ]


def correlations_html(infos: Sequence[OverfittingInfo]) -> str:
    """Spearman's correlation of overfitting and AUC by data set and attack."""
    heads = ("Data set", "Attack", "Spearman's ρ [95% interval]", "p", "n")
    body = []
    for info in infos:
        found = info.correlation
        cells = [text_cell(info.dataset), text_cell(info.attack)]
        if found is None:
            cells += [
                number_cell(NOTHING),
                number_cell(NOTHING),
                number_cell(str(len({point.architecture for point in info.points}))),
            ]
        else:
            ends = ends_html(found.low, found.high, sign=True, digits=2)
            cells += [
                number_cell(f"{found.rho:+.2f} {ends}"),
                number_cell(p_html(found.p_value)),
                number_cell(str(found.count)),
            ]
        body.append(cells)
    return table_frame(heads, body, numbers=(2, 3, 4))


def matched_html(infos: Sequence[MatchedInfo]) -> str:
    """The differences at equal accuracy, and what cannot be compared."""
    heads = ["Data set", "Attack", "Difference as it is", "At equal accuracy [95% interval]", "p", "p (Holm)"]
    heads += ["NAS : human", "No counterpart"]
    body = []
    for info in infos:
        found = info.adjusted
        cells = [text_cell(info.dataset), text_cell(info.attack), number_cell(signed(info.unadjusted))]
        if found is None:
            cells += [wrapped_cell(f"not comparable: {info.reason}"), number_cell(NOTHING)]
        else:
            ends = ends_html(found.low, found.high, sign=True)
            cells += [number_cell(f"{found.difference:+.3f} {ends}"), number_cell(p_html(found.p_value))]
        cells += [number_cell(p_html(info.p_holm)), number_cell(f"{info.nas} : {info.human}")]
        left_out = wrapped_cell(", ".join(info.left_out)) if info.left_out else f"<td>{NOTHING}</td>"
        body.append([*cells, left_out])
    return table_frame(heads, body, numbers=(2, 3, 4, 5, 6))


def _ends(spread: Spread) -> str:
    return ends_html(spread.low, spread.high, more=SHORT[spread.basis])
