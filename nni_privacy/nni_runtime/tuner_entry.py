"""Entry point of tuners of hyper-parameters: NNI's own, in a process that reads plain data only.

``python -m nni_privacy.nni_runtime.tuner_entry --exp_params ...`` does what ``python -m nni --exp_params ...`` does.
"""

from __future__ import annotations

from nni_privacy.nni_runtime.message_repairs import READING, TUNING
from nni_privacy.nni_runtime.messages import PLAIN, trust_only
from nni_privacy.nni_runtime.proxies import channel_proxy

__all__ = ["main"]


def main() -> None:
    """Runs NNI's dispatcher with the words of the command line."""
    for repair in (*READING, *TUNING, channel_proxy):
        repair.apply()
    trust_only(PLAIN)
    from nni.__main__ import main as dispatch

    dispatch()


if __name__ == "__main__":
    main()
