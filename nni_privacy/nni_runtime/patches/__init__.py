"""Patches of NNI's node package: replacements of text in its manager and web UI, each anchored on what it replaces."""
