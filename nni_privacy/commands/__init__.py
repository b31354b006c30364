"""Commands of the program ``nni-privacy``, one file each; :mod:`~nni_privacy.commands.main` is the command line."""
