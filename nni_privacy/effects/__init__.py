"""What a study says of its variants: paired effects, their intervals, and verdicts on the paper's claims.

Pure functions of plain rows (factors and metrics of trials); numpy and SciPy, no torch.

:mod:`~nni_privacy.effects.rows` reads the rows, :mod:`~nni_privacy.effects.pairing` pairs them,
:mod:`~nni_privacy.effects.bootstrap` gives a mean difference its interval, :mod:`~nni_privacy.effects.contrasts` makes
the table of all effects, :mod:`~nni_privacy.effects.ablations` the slopes, :mod:`~nni_privacy.effects.claims` holds
what the paper claims, and :mod:`~nni_privacy.effects.verdicts` judges it by :mod:`~nni_privacy.effects.rules`.
"""
