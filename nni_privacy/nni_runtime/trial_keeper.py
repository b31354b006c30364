"""Starts NNI's trial keeper on another machine, from that machine's own repaired copy; the manager runs it by SSH.

>>> python -m nni_privacy.nni_runtime.trial_keeper FOLDER                    # doctest: +SKIP
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from nni_privacy.nni_runtime.overlay import make_overlay
from nni_privacy.nni_runtime.patches.access import TOKEN_VARIABLE

__all__ = ["main"]


def main() -> None:
    """Runs NNI's own script, whose argument is the folder of the trial keeper."""
    # The folder's files hold the key of the manager's channel: nobody else on that machine may read them.
    os.umask(0o077)
    Path(sys.argv[1]).chmod(0o700)
    # The trials beside it get keys of this token from the keeper; other users of that machine have none.
    os.environ[TOKEN_VARIABLE] = secrets.token_urlsafe(32)
    sys.path.insert(0, str(make_overlay()))
    from nni.tools.nni_manager_scripts import launch_trial_keeper

    launch_trial_keeper.main()


if __name__ == "__main__":
    main()
