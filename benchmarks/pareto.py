"""How often ParetoEvolution's hypervolume beats uniform random search, on problems that it was not made for.

Run: python benchmarks/pareto.py [--seeds 10] [--budgets 100,200,400]

Every seed is another problem, another search and another random search. Both evaluate as many different architectures;
with "noise" every evaluation is off by 3% (standard deviation), and the hypervolume counts what was reported. Prints
for each problem and budget the wins with the reference point of the reports (accuracy 0, AUC 1), then those with
a tight one, just behind the worst numbers that either search has seen; then the median ratio of the tight hypervolumes.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Sequence

import numpy as np
from pareto_problems import PROBLEMS, Problem, noisy, random_genotype

warnings.filterwarnings("ignore", message=".*not a nn.Module.*")  # NNI's, about this PyTorch

from nni.nas.execution import ExecutionEngine  # noqa: E402
from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent  # noqa: E402
from nni.nas.space import ExecutableModelSpace, ModelStatus, SimplifiedModelSpace  # noqa: E402

from nni_privacy.analysis.pareto import REFERENCE, hypervolume  # noqa: E402
from nni_privacy.cells.darts import Genotype  # noqa: E402
from nni_privacy.search_spaces import DARTS  # noqa: E402
from nni_privacy.strategies import ParetoEvolution  # noqa: E402

NOISE = 0.03
NOISY = ("additive", "two_targets", "counts")
MARGIN = 1e-3
"""How far the tight reference point lies behind the worst accuracy and AUC."""


class Engine(ExecutionEngine):
    """Evaluates each architecture at once, until the budget is spent."""

    def __init__(self, problem: Problem, budget: int) -> None:
        super().__init__()
        self.problem, self.budget = problem, budget
        self.points: list[tuple[float, float]] = []

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        """Evaluates ``models``."""
        for model in models:
            point = self.problem(Genotype.from_sample(model.sample))
            self.points.append(point)
            report = {"default": point[0], "accuracy": point[0], "mia_auc": point[1]}
            self.dispatch_model_event(FinalMetricEvent(model, report))
            self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Trained))

    def list_models(self, status: ModelStatus | None = None) -> list[ExecutableModelSpace]:
        """Nothing: what is done is forgotten."""
        return []

    def idle_worker_available(self) -> bool:
        """Always."""
        return True

    def budget_available(self) -> bool:
        """Whether something is left of the budget."""
        return len(self.points) < self.budget

    def wait_models(self, *models: ExecutableModelSpace) -> None:
        """Everything is done already."""


def searched(space: ExecutableModelSpace, problem: Problem, *, budget: int, seed: int) -> np.ndarray:
    """Accuracy and AUC of what ParetoEvolution evaluates, in its order: ``(budget, 2)``."""
    engine = Engine(problem, budget)
    ParetoEvolution(seed=seed)(space, engine)
    return np.array(engine.points)


def drawn(problem: Problem, *, budget: int, seed: int) -> np.ndarray:
    """Accuracy and AUC of uniformly random architectures, all different: ``(budget, 2)``."""
    rng = np.random.default_rng(10_000 + seed)
    genotypes: dict[Genotype, None] = {}
    while len(genotypes) < budget:
        genotypes[random_genotype(rng)] = None
    return np.array([problem(genotype) for genotype in genotypes])


def compared(found: np.ndarray, random: np.ndarray) -> tuple[bool, bool, float]:
    """Whether the search wins with the wide and with the tight reference, and the ratio with the tight one."""
    everything = np.vstack([found, random])
    tight = (float(everything[:, 0].min()) - MARGIN, float(everything[:, 1].max()) + MARGIN)
    volumes = [
        [hypervolume(points[:, 0], points[:, 1], reference=reference) for points in (found, random)]
        for reference in (REFERENCE, tight)
    ]
    return volumes[0][0] > volumes[0][1], volumes[1][0] > volumes[1][1], volumes[1][0] / volumes[1][1]


def row(space: ExecutableModelSpace, name: str, deviation: float, *, seeds: int, budgets: Sequence[int]) -> list[str]:
    """One problem's cells of the table."""
    results: dict[int, list[tuple[bool, bool, float]]] = {budget: [] for budget in budgets}
    for seed in range(seeds):
        problem = PROBLEMS[name](seed)
        if deviation:
            problem = noisy(problem, deviation=deviation, seed=seed)
        found = searched(space, problem, budget=max(budgets), seed=seed)
        random = drawn(problem, budget=max(budgets), seed=seed)
        for budget in budgets:
            results[budget].append(compared(found[:budget], random[:budget]))
    return [
        f"{sum(wide for wide, _, _ in cell):>2} {sum(tight for _, tight, _ in cell):>2} "
        f"{statistics.median(ratio for _, _, ratio in cell):6.2f}"
        for cell in results.values()
    ]


def main() -> int:
    """Prints the table; returns 1 if a search of 200 or more evaluations loses with the reports' reference point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budgets", default="100,200,400")
    arguments = parser.parse_args()
    budgets = [int(text) for text in arguments.budgets.split(",")]
    space = SimplifiedModelSpace.from_model(DARTS(channels=1, cells=3, in_channels=1))
    started, missed = time.perf_counter(), False
    print(f"wins of {arguments.seeds} (wide, tight reference), median ratio; by budget")
    print(f"{'':22}" + "".join(f"{budget:>16}" for budget in budgets))
    for name, deviation in [*((name, 0.0) for name in PROBLEMS), *((name, NOISE) for name in NOISY)]:
        cells = row(space, name, deviation, seeds=arguments.seeds, budgets=budgets)
        print(f"{name + (' + noise' if deviation else ''):22}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
        missed |= any(
            int(cell.split()[0]) < arguments.seeds for cell, n in zip(cells, budgets, strict=True) if n >= 200
        )
    print(f"{time.perf_counter() - started:.0f} s; goal (every seed from 200 on): {'MISSED' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
