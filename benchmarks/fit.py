"""What ``fit`` costs over the bare PyTorch loop of the same, and what ``torch.compile`` would gain, in turn.

    python benchmarks/fit.py [--rounds 10] [--steps 12] [--batch 64] [--networks darts,resnet18] [--compile]

One thread, CPU time, images of 32 x 32 pixels with three channels: a DARTS network of 16 channels and 5 cells, and
torchvision's ResNet-18. All ways are timed in each round, one after the other, the first one another in each; medians
and ranges of the rounds, and of the ratios within them. That ``fit`` and the loop end with the same weights is checked.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from nni_privacy.cells.darts import Genotype
from nni_privacy.data import Normalizer
from nni_privacy.search_spaces import CellNetwork
from nni_privacy.training.fit import epoch_batches, fit, seed_everything
from nni_privacy.training.recipe import Recipe

DARTS_V2 = Genotype.parse(
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "darts": lambda: CellNetwork(DARTS_V2, channels=16, cells=5),
    "resnet18": lambda: resnet18(num_classes=10),
}
SIDE = 32
SEED = 3


def bare_loop(
    model: nn.Module, run: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe, normalize: Normalizer
) -> None:
    """Trains ``model``, which ``run`` runs, compiled or not, as anybody would who has all images in memory."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model.to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.SGD(
            model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        order = torch.Generator().manual_seed(SEED)
        for _ in range(recipe.epochs):
            for index in epoch_batches(len(labels), batch_size=recipe.batch_size, generator=order):
                batch = normalize(images[index]).contiguous(memory_format=torch.channels_last)
                optimizer.zero_grad()
                functional.cross_entropy(run(batch), labels[index]).backward()
                optimizer.step()


def timed(way: Callable[[], object]) -> float:
    """Seconds of CPU."""
    started = time.process_time()
    way()
    return time.process_time() - started


def measure(name: str, options: argparse.Namespace) -> None:
    """Prints what the ways take on one network."""
    count = options.steps * options.batch
    images = torch.randint(256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % 10
    recipe = Recipe(epochs=1, batch_size=options.batch, schedule="constant")
    normalize = Normalizer.fit(images)
    models = {}
    for way in ("loop", "fit", "compiled"):
        seed_everything(0)
        models[way] = NETWORKS[name]()
    how = {"recipe": recipe, "seed": SEED, "device": "cpu", "normalize": normalize}
    ways: dict[str, Callable[[], object]] = {
        "loop": lambda: bare_loop(models["loop"], models["loop"], images, labels, recipe, normalize),
        "fit": lambda: fit(models["fit"], images, labels, **how),
    }
    if options.compile:
        compiled = torch.compile(models["compiled"])
        ways["compiled"] = lambda: bare_loop(models["compiled"], compiled, images, labels, recipe, normalize)
        started = time.perf_counter()
        ways["compiled"]()
        print(f"{name}: compiled, and trained once, in {time.perf_counter() - started:.0f} s")
    for way in ("loop", "fit"):
        ways[way]()
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(options.rounds):
        names = list(ways)
        for way in names[number % len(names) :] + names[: number % len(names)]:
            times[way].append(timed(ways[way]))
    pairs = zip(models["loop"].state_dict().values(), models["fit"].state_dict().values(), strict=True)
    same = "the same" if all(torch.equal(one, other) for one, other in pairs) else "DIFFERENT"
    print(f"{name}: fit and loop end with {same} weights")
    for way, seconds in times.items():
        each = [1e3 * one / options.steps for one in seconds]
        ratios = [one / loop for one, loop in zip(seconds, times["loop"], strict=True)]
        print(
            f"{name}: {way:<8} {statistics.median(each):7.1f} ms a step ({min(each):.1f} to {max(each):.1f}), "
            f"{statistics.median(ratios):.3f} of the loop ({min(ratios):.3f} to {max(ratios):.3f})",
            flush=True,
        )


def main() -> None:
    """Prints the rows of each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--compile", action="store_true", help="also with torch.compile, which needs a C++ compiler")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.networks.split(","):
        measure(name, options)


if __name__ == "__main__":
    main()
