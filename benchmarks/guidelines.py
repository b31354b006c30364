"""The guidelines of the paper's section 5.6 on measured architectures: slopes of the AUC on properties of cells.

Run: python benchmarks/guidelines.py DATA.csv     (columns genotype and mia_auc)
"""

from __future__ import annotations

import argparse

from nni_privacy.analysis.rows import NO_DEFENCE, ORIGINAL, MeasuredRow
from nni_privacy.analysis.slopes import guideline_slopes
from nni_privacy.surrogate import read_mia_data


def main() -> None:
    """Reads the data and prints one line a property and cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    data = read_mia_data(parser.parse_args().data)
    rows = [
        MeasuredRow(str(number), ORIGINAL, "data", NO_DEFENCE, 0, {"mia_auc": float(auc)}, genotype=genotype)
        for number, (genotype, auc) in enumerate(zip(data.genotypes, data.mia_auc, strict=True))
    ]
    print(f"{'property':<28}{'cell':<12}{'slope':>9}   {'95% interval':<20}{'p':>9}")
    for slope in guideline_slopes(rows):
        found = slope.estimate
        if found is not None:
            ends = f"[{found.low:+.4f}, {found.high:+.4f}]"
            print(f"{slope.predictor:<28}{slope.cells:<12}{found.value:>+9.4f}   {ends:<20}{found.p_value():>9.1e}")


if __name__ == "__main__":
    main()
