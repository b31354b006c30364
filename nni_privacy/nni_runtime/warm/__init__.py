"""Warm trials: one process imports torch, Lightning and NNI once, and forks a child for each trial.

:mod:`~nni_privacy.nni_runtime.warm.supervisor` in the searching process owns the socket and starts
:mod:`~nni_privacy.nni_runtime.warm.server`, whose children become trials in
:mod:`~nni_privacy.nni_runtime.warm.child`; NNI's manager starts :mod:`~nni_privacy.nni_runtime.warm.client` for each.
"""
