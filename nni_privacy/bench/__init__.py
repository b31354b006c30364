"""The table of measured leakage: its rows, and what they say of architectures. Needs pandas and scipy, no torch."""
