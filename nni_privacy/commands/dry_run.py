"""What ``--dry-run`` says of a search or a study after all checks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nni_privacy.errors import DataError
from nni_privacy.strategies.registry import ONE_SHOT

if TYPE_CHECKING:
    from nni_privacy.config import DatasetConfig, RunConfig, SearchConfig
    from nni_privacy.evaluator import PrivacyEvaluator
    from nni_privacy.studies.config import StudyConfig
    from nni_privacy.studies.forecast import Forecast
    from nni_privacy.studies.plan import Measurement
    from nni_privacy.studies.snapshots import SnapshotOptions

__all__ = ["search_plan", "study_plan", "without_downloads"]

_MOST_NAMES = 12
_FEW_STEPS = 4
"""An epoch of fewer steps teaches little."""


@contextmanager
def without_downloads(datasets: Iterable[DatasetConfig]) -> Iterator[None]:
    """Has data sets that a run would download looked for on this machine only.

    Raises:
        DataError: for one that is not there.
    """
    wanted = [section.model_extra or {} for section in datasets if section.options.get("download")]
    for options in wanted:
        options["download"] = False
    try:
        yield
    except DataError as error:
        if not wanted:
            raise
        missing = str(error).partition(" (set root")[0]
        raise DataError(f"{missing}; a run would download it, a dry run downloads nothing") from None


def search_plan(settings: SearchConfig, evaluator: PrivacyEvaluator | None = None) -> str:
    """The lines of a search.

    Args:
        settings: its configuration.
        evaluator: of the trials, whose data can be loaded; None: trials are predicted.
    """
    space, strategy, pattern = settings.search_space, settings.strategy, settings.pattern
    parts = {"search space": _called(space.name, space.options), "strategy": _called(strategy.name, strategy.options)}
    if pattern is not None:
        parts["pattern"] = f"{pattern.name}: cells {pattern.load().cells}, {pattern.budget} edges fixed in each"
    if settings.constraints:
        parts["constraints"] = str(settings.constraints)
    if settings.filter is not None:
        drawn = f"; its bound is that of {settings.filter.score.drawn:,} random architectures"
        parts["filter"] = _listed(settings.filter.to_dict()) + drawn * (settings.filter.quantile is not None)
    if space.searched_sizes and strategy.name in ONE_SHOT:
        largest = ", ".join(f"{max(sizes)} {name}" for name, sizes in space.searched_sizes.items())
        parts["size"] = f"{strategy.name} searches the cell at the largest: {largest}"
    if evaluator is None:
        parts["trial"] = f"predicted by {settings.evaluator.surrogate or 'the surrogate that ships'}; none is trained"
    else:
        parts |= _measured(settings, evaluator)
    if settings.confirm is not None:
        chosen, further = settings.confirm, ", ".join(settings.confirm.attacks)
        attacked = f"attacked also by {further}" if further else "attacked as before"
        parts["confirm"] = f"then the best {chosen.top} are trained {chosen.seeds} times each and {attacked}"
    return _lines(settings, f"{settings.trials} trial{'s'[: settings.trials > 1]}", parts)


def study_plan(settings: StudyConfig, planned: Sequence[Measurement], cost: Forecast) -> str:
    """The lines of a study, of all its measurements and what they will cost."""
    factors = [one.factors for one in planned]
    parts = {
        "architectures": _names(factor["architecture"] for factor in factors),
        "variants": _names(factor["variant"] for factor in factors),
        "data sets": _names(section.called for section in settings.datasets),
        "seeds": _names(map(str, settings.seeds)),
        "trial": _trial(settings),
        **({} if settings.snapshots is None else {"snapshots": _snapshots(settings.snapshots)}),
        "cost": str(cost),
    }
    return _lines(settings, f"{len(planned)} measurements", parts)


def _snapshots(settings: SnapshotOptions) -> str:
    when = ", ".join(map(str, settings.epochs)) or "none before the end"
    return f"after epochs {when}: {', '.join(settings.attacks)}"


def _measured(settings: SearchConfig, evaluator: PrivacyEvaluator) -> dict[str, str]:
    data, split = evaluator.load_data()
    shape = "x".join(map(str, data.image_shape))
    trained, attacked = len(split.target_train), len(split.target_train) + len(split.target_test)
    return {
        "data set": f"{data.name}: {len(data):,} images of {shape} in {data.num_classes} classes; "
        f"a trial trains on {trained:,} and attacks {attacked:,}",
        "trial": _trial(settings, records=trained),
    }


def _trial(settings: RunConfig, records: int | None = None) -> str:
    """What a trial does; of a known number of ``records`` to train on, in how many steps."""
    evaluator, recipe = settings.evaluator, settings.evaluator.recipe
    count = max(1, math.ceil(((records or 0) - 1) / recipe.batch_size))  # a record left over joins the last batch
    few = "" if count >= _FEW_STEPS else ": few, lower recipe.batch_size or little is learned"
    steps = f" of {count} step{'s'[: count > 1]} ({recipe.batch_size} a batch{few})" if records else ""
    return f"{recipe.epochs} epochs{steps}; attacks {', '.join(evaluator.attacks)}; device {evaluator.device}"


def _lines(settings: RunConfig, what: str, parts: Mapping[str, str]) -> str:
    head = f"{settings.name}: {what} would run, {settings.concurrency} at a time; nothing has been started or written"
    plugins = {"plugins": ", ".join(settings.plugins)} if settings.plugins else {}
    return "\n".join([head, *(f"  {name:<14} {text}" for name, text in {**parts, **plugins}.items())])


def _called(name: str, options: Mapping[str, Any]) -> str:
    return f"{name}: {_listed(options)}" if options else name


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)


def _names(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
    return f"{', '.join(found[:_MOST_NAMES])}{more}"
