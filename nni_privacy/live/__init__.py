"""The live page: run directories, studies and audits as they are now, served to a browser while they grow.

:mod:`~nni_privacy.live.library` knows what is shown, :mod:`~nni_privacy.live.run_view` and
:mod:`~nni_privacy.live.audit_view` read it, :mod:`~nni_privacy.live.details` says all of one trial,
:mod:`~nni_privacy.live.app` answers requests and :mod:`~nni_privacy.live.serving` listens. Nothing here writes.
"""
