"""Statistics of a study: paired effects, their intervals, and verdicts on the paper's claims; Pareto fronts.

Pure functions of plain rows (factors and metrics of trials); numpy and SciPy, no torch.

:mod:`~nni_privacy.analysis.rows` reads the rows, :mod:`~nni_privacy.analysis.bootstrap` gives a mean difference its
interval, :mod:`~nni_privacy.analysis.contrasts` pairs the rows and makes the table of all effects,
:mod:`~nni_privacy.analysis.slopes` the slopes, :mod:`~nni_privacy.analysis.claims` holds what the paper claims, and
:mod:`~nni_privacy.analysis.verdicts` judges it by :mod:`~nni_privacy.analysis.rules`.
"""
