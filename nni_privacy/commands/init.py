"""The command ``nni-privacy init``: a commented configuration of a search, for a chosen data set and space."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.options import add_command, add_plugins, parse_assignments, parse_names
from nni_privacy.errors import ConfigError
from nni_privacy.plugins import import_plugins

if TYPE_CHECKING:
    from nni_privacy.config import SearchConfig

__all__ = ["add_init", "run_init"]

_STRATEGY = ("regularized_evolution", "population_size=6", "sample_size=3")
_TRIALS, _ONE_SHOT_TRIALS = 12, 2
_EPOCHS, _CHANNELS, _BUDGET = 30, 8, 4
_PATTERN, _NO_PATTERN = "demotion-reduction", "none"


def add_init(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    init = add_command(
        commands,
        "init",
        "write a commented configuration for a search",
        "init",
        "init --dataset imagefolder root=pictures image_size=32 --output pictures.yaml",
        "init --dataset cifar10 limit=8000 --space nasbench201 channels=16 --strategy pareto",
    )
    part: dict[str, Any] = {"nargs": "+", "metavar": ("NAME", "KEY=VALUE")}
    init.add_argument("--dataset", default=["digits"], help="and its options (default: digits)", **part)
    init.add_argument("--space", default=["darts"], help="and its sizes, or arguments (default: darts)", **part)
    init.add_argument("--strategy", help=f"and its options (default: {_STRATEGY[0]})", **part)
    init.add_argument("--pattern", metavar="NAME", help=f"to keep fixed (default: {_PATTERN}); none: search all")
    init.add_argument(
        "--attacks", metavar="NAMES", type=parse_names, default="black_box_partial,loss_threshold", help="by commas"
    )
    init.add_argument("--trials", metavar="N", type=int, help=f"how many (default: {_TRIALS})")
    init.add_argument("--output", metavar="FILE", type=Path, default=Path("search.yaml"), help="(default: search.yaml)")
    add_plugins(init)
    init.set_defaults(run=run_init)


def run_init(
    *,
    dataset: Sequence[str],
    space: Sequence[str],
    strategy: Sequence[str] | None,
    pattern: str | None,
    attacks: Sequence[str],
    trials: int | None,
    output: Path,
    plugins: Sequence[str],
) -> int:
    """Writes the configuration into a new file, and says how to check and run it. The keywords are the options.

    Raises:
        PrivacyError: if a name or an option is not valid, or the file exists; nothing has been written then.
    """
    import_plugins(plugins)
    from nni_privacy.config import parse_config
    from nni_privacy.strategies.registry import ONE_SHOT

    chosen = _section(strategy or _STRATEGY, "--strategy")
    searched, fixed = _space_and_pattern(space, pattern)
    number = trials if trials is not None else _ONE_SHOT_TRIALS if chosen["name"] in ONE_SHOT else _TRIALS
    content = {
        "name": output.stem,
        "seed": 0,
        "plugins": list(plugins),
        "dataset": _section(dataset, "--dataset"),
        "search_space": searched,
        "pattern": None if fixed == _NO_PATTERN else {"name": fixed, "budget": _BUDGET},
        "strategy": chosen,
        "evaluator": {"recipe": {"epochs": _EPOCHS}, "attacks": list(attacks)},
        "trials": number,
    }
    text = _text(content, parse_config(content), output)
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"output: {output} exists; name a new file") from None
    except OSError as error:
        raise ConfigError(f"output: {output}: {error.strerror or error}") from None
    print(f"written: {output}; check it: {_command(output)} --dry-run; run it: {_command(output)}")
    return 0


def _space_and_pattern(space: Sequence[str], pattern: str | None) -> tuple[dict[str, Any], str]:
    """The section of the space, and the pattern: by default none in a space of the user's own."""
    from nni_privacy.search_spaces.config import is_own

    section = _section(space, "--space")
    if is_own(section["name"]):
        return {"name": section.pop("name"), "options": section}, pattern or _NO_PATTERN
    return {"channels": _CHANNELS, **section}, pattern or _PATTERN


def _section(words: Sequence[str], option: str) -> dict[str, Any]:
    """``["npz", "path=x.npz"]`` -> ``{"name": "npz", "path": "x.npz"}``."""
    return {"name": words[0], **parse_assignments(words[1:], option=option)}


def _command(output: Path) -> str:
    return shlex.join(["nni-privacy", "search", str(output)])


def _text(content: Mapping[str, Any], settings: SearchConfig, output: Path) -> str:
    from nni_privacy.attacks import attack_names
    from nni_privacy.cells.spaces import SPACES
    from nni_privacy.data.registry import dataset_names
    from nni_privacy.strategies.registry import strategy_names

    names = {
        "datasets": dataset_names(),
        "spaces": sorted(SPACES),
        "strategies": strategy_names(),
        "attacks": attack_names(),
    }
    pattern = content["pattern"] or {"name": _PATTERN, "budget": _BUDGET}
    shown = {
        **{key: _yaml(value) for key, value in content.items()},
        **{f"known_{kind}": _folded(known) for kind, known in names.items()},
        "plugins": f"{'' if content['plugins'] else '# '}plugins: {_yaml(content['plugins'] or ['my_module'])}",
        "search_space": _yaml(settings.search_space.content),
        "pattern": f"{'' if content['pattern'] else '# '}pattern: {_yaml(pattern)}",
    }
    return _TEXT.format(
        **shown,
        command=_command(output),
        strategy_options=_options(settings.strategy.options),
        epochs=_EPOCHS,
        attack_list=_yaml(content["evaluator"]["attacks"]),
    )


def _yaml(value: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()


def _options(options: Mapping[str, Any]) -> str:
    return _folded(f"{key}: {_yaml(value)}" for key, value in options.items())


def _folded(names: Iterable[str]) -> str:
    """Names by commas, in lines of a comment."""
    from textwrap import fill

    return fill(", ".join(names) or "none", width=96, subsequent_indent="#   ", break_on_hyphens=False)


_TEXT = """\
# A search of nni-privacy. All fields and their defaults: docs/configuration.md
#   check it: {command} --dry-run
#   run it:   {command}

name: {name}    # the run's name, and its folder's under runs/
seed: {seed}    # drives the split, initial weights, batches, attacks and the strategy

# Modules of your own that are imported first; they may register attacks, data sets, strategies,
# surrogates and spaces (docs/extending.md).
{plugins}

# What is learned (nni-privacy list datasets). `limit: 2000` takes a random subset. Known:
#   {known_datasets}
dataset: {dataset}

# What is searched, and how large its networks are (nni-privacy list spaces). Known:
#   {known_spaces}
search_space: {search_space}

# Edges of the cells that stay fixed while the rest is searched (nni-privacy patterns list).
# Without this line everything is searched.
{pattern}

# How it is searched (nni-privacy list strategies). Options of this one, with their values:
#   {strategy_options}
# Known:
#   {known_strategies}
strategy: {strategy}

# How each architecture is trained and attacked. The first attack is primary: its AUC is `mia_auc`
# (nni-privacy list attacks). Known:
#   {known_attacks}
evaluator:
  recipe: {{epochs: {epochs}}}    # also batch_size (64; few images: 16), learning_rate, augmentation, dp, ...
  attacks: {attack_list}
  device: auto    # auto, cpu, cuda

trials: {trials}         # architectures that are trained and attacked
concurrency: 1     # trials at a time; one a core is fastest on a CPU
# trial_timeout: 3600     # seconds after which a trial is stopped and counts as failed
# keep: all               # whose weights are kept in models/: front (the default), all, none
"""
