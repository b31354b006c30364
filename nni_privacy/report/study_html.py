"""The tables of a study's page, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nni_privacy.report.study_infos import BarsInfo
from nni_privacy.report.study_matched import MatchedInfo
from nni_privacy.report.study_statistics import Basis, Spread
from nni_privacy.report.study_tables import OverfittingInfo, Table1Row
from nni_privacy.report.text import NOTHING, escape_text, fraction

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
    body, before = [], ""
    for dataset, attack in dict.fromkeys((row.dataset, row.attack) for row in rows):
        cells = [_text(dataset), _text(attack)]
        for kind in kinds:
            cells += _kind_cells(found.get((dataset, attack, kind)))
        body.append((dataset != before, cells))
        before = dataset
    numbers = [2 + 4 * place + offset for place in range(len(kinds)) for offset in range(3)]
    return _table(heads, body, numbers=numbers)


def _kind_cells(row: Table1Row | None) -> list[str]:
    if row is None:
        return [_cell(NOTHING)] * 4
    mean = f"{fraction(row.spread.mean)} {_ends(row.spread)}"
    return [_cell(mean), _cell(str(row.architectures)), _cell(fraction(row.highest)), _text(row.whose)]


def correlations_html(infos: Sequence[OverfittingInfo]) -> str:
    """Spearman's correlation of overfitting and AUC by data set and attack."""
    heads = ("Data set", "Attack", "Spearman's ρ [95% interval]", "p", "n")
    body = []
    for info in infos:
        found = info.correlation
        cells = [_text(info.dataset), _text(info.attack)]
        if found is None:
            cells += [_cell(NOTHING), _cell(NOTHING), _cell(str(len({point.architecture for point in info.points})))]
        else:
            known = found.low is not None and found.high is not None
            ends = f' <span class="interval">[{found.low:+.2f}, {found.high:+.2f}]</span>' if known else ""
            cells += [_cell(f"{found.rho:+.2f}{ends}"), _cell(_p(found.p_value)), _cell(str(found.count))]
        body.append((False, cells))
    return _table(heads, body, numbers=(2, 3, 4))


def matched_html(infos: Sequence[MatchedInfo]) -> str:
    """The differences at equal accuracy, and what cannot be compared."""
    heads = ["Data set", "Attack", "Difference as it is", "At equal accuracy [95% interval]", "p", "p (Holm)"]
    heads += ["NAS : human", "No counterpart"]
    body = []
    for info in infos:
        found = info.adjusted
        cells = [_text(info.dataset), _text(info.attack), _cell(_signed(info.unadjusted))]
        if found is None:
            cells += [f'<td class="wrap">not comparable: {escape_text(info.reason)}</td>', _cell(NOTHING)]
        else:
            ends = f'<span class="interval">[{found.low:+.3f}, {found.high:+.3f}]</span>'
            cells += [_cell(f"{found.difference:+.3f} {ends}"), _cell(_p(found.p_value))]
        cells += [_cell(_p(info.p_holm)), _cell(f"{info.nas} : {info.human}")]
        left_out = escape_text(", ".join(info.left_out)) if info.left_out else NOTHING
        body.append((False, [*cells, f'<td class="wrap">{left_out}</td>']))
    return _table(heads, body, numbers=(2, 3, 4, 5, 6))


def _table(heads: Sequence[str], body: Sequence[tuple[bool, list[str]]], *, numbers: Sequence[int]) -> str:
    titles = "".join(
        f'<th scope="col" class="{"number" if place in numbers else "text"}">{escape_text(head)}</th>'
        for place, head in enumerate(heads)
    )
    starts = {True: '<tr class="first">', False: "<tr>"}
    rows = "".join(f"{starts[first]}{''.join(cells)}</tr>\n" for first, cells in body)
    head = f"<thead><tr>{titles}</tr></thead>"
    return f'<div class="scroll"><table class="compact">{head}<tbody>{rows}</tbody></table></div>'


def _text(value: str) -> str:
    return f'<td class="text">{escape_text(value)}</td>'


def _cell(html: str) -> str:
    return f'<td class="number">{html}</td>'


def _ends(spread: Spread) -> str:
    if spread.low is None or spread.high is None:
        return ""
    return f'<span class="interval">[{spread.low:.3f}, {spread.high:.3f}]{SHORT[spread.basis]}</span>'


def _signed(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.3f}"


def _p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}"
