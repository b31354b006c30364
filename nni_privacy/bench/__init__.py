"""The bench: a table of cells x widths x seeds x epochs, and what it says of architecture and leakage beyond size.

Pure functions of the table; numpy, SciPy and pandas, no torch, no drawing.
"""
