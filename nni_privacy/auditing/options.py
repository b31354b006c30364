"""Options of an audit, shared by the Python API and the configuration; torch is not needed to check them."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainValidator, Strict, field_validator, model_validator

from nni_privacy.attacks.cross_fitting import ProtocolName
from nni_privacy.attacks.lira import StatisticName
from nni_privacy.attacks.loss_trace import MIN_EPOCHS
from nni_privacy.attacks.rmia import ConfidenceName
from nni_privacy.errors import ConfigError, nearest
from nni_privacy.plugins import import_plugins
from nni_privacy.schema import Count, Options, Positive, checked, options
from nni_privacy.training.recipe import Recipe

if TYPE_CHECKING:
    from nni_privacy.attacks import Attack

__all__ = ["AUGMENTED_VIEWS", "MAX_VIEWS", "SMALL_CNN", "Effort", "MeasuringOptions", "Names", "ShadowCount"]
__all__ += ["ShadowSettings", "Views", "Workers", "is_genotype", "known_attacks"]

MAX_VIEWS = 18
"""Plain and mirrored, each unshifted and shifted by a pixel in eight directions: the 18 queries of LiRA."""

AUGMENTED_VIEWS = 2
"""Plain and mirrored: what ``views: auto`` means where augmented images are asked about."""
MIN_CANARIES = 20

Views = Annotated[int, Field(ge=1, le=MAX_VIEWS)]


def _or_auto(kind: Any, name: str) -> PlainValidator:
    def check(value: Any) -> Any:
        if isinstance(value, str) and value == "auto":
            return value
        try:
            return checked(kind, value, name)
        except ConfigError as error:
            raise ConfigError(f"{error}, or 'auto'") from None

    return PlainValidator(check)


ShadowCount = Annotated[int, Field(ge=1, le=10_000)]
Workers = Annotated[int, Field(ge=0, le=1024)]
Names = Annotated[tuple[str, ...], Strict(False)]
"""A list will do, too."""
_NAME = re.compile(r"[\w.-]+")
SMALL_CNN = "small_cnn"
"""The name of a reference architecture: the small network of ``black_box_shadow``."""


@options(section="effort")
class Effort(Options):
    """What the attacks may ask, and what they make of the answers.

    Attributes:
        views: queries per record of LiRA, RMIA and the robustness attack: the plain image and augmented ones, 1 to 18.
            ``auto``: of LiRA and RMIA the plain image alone, unless the recipe augments: then it and its mirror image,
            which training shows as well; of the robustness attack always both.
        boundary_records: members, and non-members, whose distance to the decision boundary is searched (paper: 1,000).
        boundary_queries: the most predictions for each of them.
        protocol: of the attacks that know a third of the records (``black_box_partial``, ``white_box_partial``,
            ``loss_trajectory``): ``cross_fit`` attacks every record, ``paper`` a third of them.
        lira_statistic: what LiRA compares, ``logit`` or ``margin``, see :func:`~nni_privacy.attacks.lira.attack_lira`.
        rmia_confidence: what RMIA compares, ``softmax`` or ``sm_taylor``, see
            :func:`~nni_privacy.attacks.rmia.rmia_confidence`.
        rmia_temperature: by which RMIA divides logits; ``auto``: the mean over 1 and 2, or 2 where that finds the
            members of the reference models better.
        trace_epochs: epochs of a trial's training, the last included, whose losses of all attacked records are kept for
            ``lt_iqr`` and ``loss_trajectory``, 2 or more; by default a tenth of them, but at least 4.
    """

    views: Annotated[int | Literal["auto"], _or_auto(Views, "views")] = "auto"
    boundary_records: Count = 1000
    boundary_queries: Count = 1000
    protocol: ProtocolName = "cross_fit"
    lira_statistic: StatisticName = "logit"
    rmia_confidence: ConfidenceName = "softmax"
    rmia_temperature: Annotated[float | Literal["auto"], _or_auto(Positive, "rmia_temperature")] = "auto"
    trace_epochs: Annotated[Count, Field(ge=MIN_EPOCHS)] | None = None

    def reference_views(self, recipe: Recipe | None) -> int:
        """Queries per record of attacks with reference models; ``recipe`` is the target's, where it is known."""
        if self.views != "auto":
            return self.views
        return AUGMENTED_VIEWS if recipe is not None and recipe.augmentation else 1

    @property
    def robustness_views(self) -> int:
        """Queries per record of attacks on augmented images."""
        return AUGMENTED_VIEWS if self.views == "auto" else self.views

    def options_of(self, attack: Attack) -> dict[str, Any]:
        """What it says of an attack's own options: the field ``protocol``, and those that begin with its name."""
        said = {"protocol": self.protocol}
        prefix = f"{attack.name}_"
        said |= {name.removeprefix(prefix): value for name, value in vars(self).items() if name.startswith(prefix)}
        return {name: value for name, value in said.items() if name in attack.options}


@options(section="shadow")
class ShadowSettings(Options):
    """Number of shadow models, and where they are trained and remembered.

    Attributes:
        count: reference models of ``lira`` and ``rmia``, each trained on half of the attacked records, 1 or more.
        workers: processes that train them; 0 is this one, None one per core.
        cache: where trained shadows are remembered: the user's cache by default, a folder, or ``False``.
        reference: what reference models are, in place of more of the target's architecture, so that all trials share
            them: ``small_cnn``, the name of a human-designed network, or a genotype (in the sizes of the trial's
            network).
    """

    count: ShadowCount = 4
    workers: Workers | None = 0
    cache: Any = None
    reference: str | None = None

    @field_validator("reference")
    @classmethod
    def _is_known(cls, reference: str | None) -> str | None:
        if reference is None or reference == SMALL_CNN:
            return reference
        if is_genotype(reference):
            from nni_privacy.cells.genotypes import parse_genotype

            return str(parse_genotype(reference))
        from nni_privacy.networks import FAMILIES, NETWORKS

        if reference not in {*FAMILIES, *NETWORKS}:
            known = nearest(reference, {SMALL_CNN, *FAMILIES, *NETWORKS})
            raise ConfigError(f"{reference!r:.80}; allowed is a genotype, or the name of a network: {known}")
        return reference

    @field_validator("cache")
    @classmethod
    def _is_a_place(cls, cache: Any) -> Any:
        if cache is not None and cache is not False and not isinstance(cache, str):
            raise ConfigError(f"{cache!r:.80}; allowed are a folder, false (nothing is kept) and null (the user's)")
        return cache


@options()
class MeasuringOptions(Options):
    """Training and attacks of an architecture.

    Attributes:
        plugins: modules that are imported first; they may register attacks and data sets.
        recipe: how to train; by default the paper's.
        attacks: names of attacks, the first of them primary.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: torch's threads on the CPU.
        effort: the attacks' query budget.
        shadow: shadow models of the attacks that need some.
        latency: whether the time of a forward pass is measured, too.
        canaries: mislabelled records, each trained on with probability 1/2, that bound epsilon from below; 0 or
            20 and more.
    """

    # Fields are checked in order: what a plugin registers is known when the attacks are looked at.
    plugins: Names = ()
    recipe: Recipe = Recipe()
    attacks: Annotated[Names, Field(min_length=1)] = ("black_box_partial",)
    device: str = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    effort: Effort = Effort()
    shadow: ShadowSettings = ShadowSettings()
    latency: bool = False
    canaries: Annotated[int, Field(ge=0)] = 0

    @field_validator("plugins")
    @classmethod
    def _imported(cls, plugins: tuple[str, ...]) -> tuple[str, ...]:
        import_plugins(plugins)
        return plugins

    @field_validator("recipe")
    @classmethod
    def _trains(cls, recipe: Recipe) -> Recipe:
        if recipe.train is not None:
            from nni_privacy.training.own_function import own_function

            own_function(recipe.train)
        return recipe

    @field_validator("attacks")
    @classmethod
    def _known(cls, attacks: tuple[str, ...]) -> tuple[str, ...]:
        return known_attacks(attacks)

    @field_validator("device")
    @classmethod
    def _there(cls, device: str) -> str:
        from nni_privacy.training.fit import resolve_device

        resolve_device(device)
        return device

    @field_validator("canaries")
    @classmethod
    def _enough_to_tell(cls, canaries: int) -> int:
        if 0 < canaries < MIN_CANARIES:
            raise ConfigError(f"{canaries}; fewer than {MIN_CANARIES} show nothing (0: none are planted)")
        return canaries

    @model_validator(mode="after")
    def _enough_shadows(self) -> MeasuringOptions:
        from nni_privacy.attacks import check_reference_models

        check_reference_models(self.attacks, self.shadow.count)
        if self.shadow.reference is not None and self.shadow.cache is False:
            raise ConfigError("shadow.cache: false; trials share the models of shadow.reference through the cache")
        return self

    @model_validator(mode="after")
    def _enough_epochs(self) -> MeasuringOptions:
        from nni_privacy.attacks import get_attack

        for attack in map(get_attack, self.attacks):
            if "loss_trace" not in attack.requires:
                continue
            for name in ("stop_early", "train"):
                if getattr(self.recipe, name) is not None:
                    raise ConfigError(f"recipe.{name}: attack {attack.name!r} compares epochs, which may never come")
            if self.recipe.epochs < MIN_EPOCHS:
                raise ConfigError(
                    f"recipe.epochs: {self.recipe.epochs}; attack {attack.name!r} compares {MIN_EPOCHS} epochs or more"
                )
        return self

    def measuring(self) -> dict[str, Any]:
        """The arguments of a :class:`~nni_privacy.PrivacyEvaluator` that say how it trains and attacks."""
        return {field.name: getattr(self, field.name) for field in fields(MeasuringOptions)}


def known_attacks(attacks: tuple[str, ...]) -> tuple[str, ...]:
    """The names of attacks, checked.

    Raises:
        ConfigError: if one is unknown, or named twice.
    """
    from nni_privacy.attacks import get_attack

    for name in attacks:
        get_attack(name)
    if len(set(attacks)) != len(attacks):
        raise ConfigError(f"{', '.join(attacks)}: an attack is named twice")
    return attacks


def is_genotype(reference: str) -> bool:
    """Whether the text of a reference architecture means a genotype; else it is the name of a network."""
    return _NAME.fullmatch(reference) is None
