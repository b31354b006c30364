"""The bench: whether architecture matters for membership leakage beyond size, accuracy and overfitting.

Pure functions of one table, with a row for every data set, space, cell, variant, width, seed and epoch; numpy, SciPy
and pandas, no torch, no drawing.

:mod:`~nni_privacy.bench.predictors` tells which statistics that need no shadow models rank the leakage.
"""
