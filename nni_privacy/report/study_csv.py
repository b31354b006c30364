"""All numbers of a study's report as CSV files, for pandas or a spreadsheet."""

from __future__ import annotations

from nni_privacy.analysis.matched import matched_infos
from nni_privacy.analysis.statistics import Spread
from nni_privacy.analysis.study import ACCURACY, StudyInfo, bars_info, overfitting_info, study_info, table1_rows
from nni_privacy.report.html import Row, to_csv
from nni_privacy.runs.records import RunInfo

__all__ = ["study_tables"]


def study_tables(run: RunInfo) -> dict[str, str]:
    """The files by name: ``study.csv`` has a row for every trial, the others what the page's figures and tables show.

    Fractions are written in full; what is not known is empty.
    """
    study = study_info(run)
    return {
        "study.csv": to_csv(_trials(run), ("trial", "sequence", "status")),
        "table1.csv": to_csv(_table1(study), ("data set", "attack", "kind")),
        "bars.csv": to_csv(_bars(study), ("data set", "quantity", "architecture")),
        "overfitting.csv": to_csv(_overfitting(study), ("data set", "attack")),
        "matched_accuracy.csv": to_csv(_matched(study), ("data set", "attack")),
    }


def _trials(run: RunInfo) -> list[Row]:
    factors = dict.fromkeys(name for trial in run.trials for name in trial.factors)
    metrics = dict.fromkeys(name for trial in run.trials for name in trial.metrics if name != "default")
    return [
        {
            "trial": trial.trial,
            "sequence": trial.sequence,
            "status": trial.status,
            **{name: trial.factors.get(name) for name in factors},
            **{name: trial.metrics.get(name) for name in metrics},
            "seconds": trial.seconds,
            "trained": trial.architecture,
            "error": trial.error,
        }
        for trial in run.trials
    ]


def _spread(spread: Spread | None) -> Row:
    if spread is None:
        return {"mean": None, "low": None, "high": None, "interval": "none"}
    return {"mean": spread.mean, "low": spread.low, "high": spread.high, "interval": spread.basis}


def _table1(study: StudyInfo) -> list[Row]:
    return [
        {
            "data set": row.dataset,
            "attack": row.attack,
            "kind": row.kind,
            **_spread(row.spread),
            "architectures": row.architectures,
            "measurements": row.measurements,
            "highest": row.highest,
            "whose": row.whose,
        }
        for row in table1_rows(study)
    ]


def _bars(study: StudyInfo) -> list[Row]:
    return [
        {
            "data set": dataset,
            "quantity": quantity,
            "architecture": bar.architecture.label,
            "kind": bar.architecture.kind,
            **_spread(bar.spread),
            "seeds": bar.spread.count if bar.spread else 0,
            "failed": bar.failed,
        }
        for dataset in study.measured_datasets
        for quantity in (ACCURACY, *study.attacks)
        for bar in bars_info(study, dataset, quantity).bars
    ]


def _overfitting(study: StudyInfo) -> list[Row]:
    rows: list[Row] = []
    for dataset in study.measured_datasets:
        for attack in study.attacks:
            found = overfitting_info(study, dataset, attack).correlation
            names = ("rho", "low", "high", "p_value", "count")
            values = {name: getattr(found, name, None) for name in names}
            rows.append({"data set": dataset, "attack": attack, **values})
    return rows


def _matched(study: StudyInfo) -> list[Row]:
    return [
        {
            "data set": info.dataset,
            "attack": info.attack,
            "unadjusted": info.unadjusted,
            **{name: getattr(info.adjusted, name, None) for name in ("difference", "low", "high", "p_value")},
            "p_holm": info.p_holm,
            "nas": info.nas,
            "human": info.human,
            "left out": "; ".join(info.left_out),
            "reason": info.reason,
        }
        for info in matched_infos(study)
    ]
