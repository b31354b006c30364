"""Every option, in Python and in YAML: what is not valid gets one clear line from both before anything is trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from support_config import BASE

from nni_privacy import PrivacyEvaluator, Recipe
from nni_privacy.auditing.options import Effort, MeasuringOptions, ShadowSettings
from nni_privacy.auditing.shadows.options import ShadowOptions
from nni_privacy.config import DartsSizes, NasBench201Sizes, load_config
from nni_privacy.data import check_dataset_options
from nni_privacy.errors import PrivacyError
from nni_privacy.patterns.findings import ExtractionOptions
from nni_privacy.patterns.library import read_pattern
from nni_privacy.patterns.pattern import CellPattern, EdgeEvidence
from nni_privacy.search_spaces import DARTS, NasBench201
from nni_privacy.strategies import build_strategy
from nni_privacy.strategies.predicted_filter import PredictedFilter
from nni_privacy.strategies.registry import FilterOptions, strategy_names, strategy_options
from nni_privacy.studies.config import load_study
from nni_privacy.studies.evaluator import MeasurementEvaluator
from nni_privacy.training.contour_options import ContourOptions
from nni_privacy.training.recipe import DPOptions

STUDY = {"name": "study", "datasets": [{"name": "digits"}], "architectures": [{"sampled": 1}]}
PATTERN = {"name": "mine", "cell": "normal", "objective": "demotion", "edges": [[0, 2, "skip_connect"]]}


def nested(path: str, values: Mapping[str, Any], content: Mapping[str, Any] = BASE) -> dict[str, Any]:
    """``content`` with a section at ``path`` that holds ``values``."""
    changed = copy.deepcopy(dict(content))
    target = changed
    for part in path.split(".") if path else []:
        target = target.setdefault(part, {})
    target.update(values)
    return changed


@dataclass(frozen=True)
class Site:
    """Options of one kind, and the ways by which a user gives them.

    Attributes:
        name: of the site.
        kind: the class that has the fields.
        python: functions of the values, as keywords.
        content: of the values: what the YAML file holds; None: there is no file.
        read: reads the file.
        base: values that are needed besides.
    """

    name: str
    kind: Any
    python: tuple[Callable[..., Any], ...]
    content: Callable[[dict[str, Any]], dict[str, Any]] | None
    read: Callable[[Path], Any] = load_config
    base: Mapping[str, Any] | None = None


def measurement(**contours: Any) -> MeasurementEvaluator:
    source = {"kind": "network", "name": "resnet", "stem": "auto"}
    return MeasurementEvaluator("digits", factors={}, source=source, contours=contours)


def sites() -> Iterator[Site]:
    def evaluator(name: str) -> Callable[..., Any]:
        return lambda **values: PrivacyEvaluator("digits", **{name: values})

    def section(path: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda values: nested(path, values)

    yield Site("recipe", Recipe, (Recipe, evaluator("recipe")), section("evaluator.recipe"))
    dp = (DPOptions, lambda **values: PrivacyEvaluator("digits", recipe={"dp": values}))
    yield Site("epsilon", DPOptions, dp, section("evaluator.recipe.dp"), base={"epsilon": 8})
    yield Site("noise", DPOptions, dp, section("evaluator.recipe.dp"), base={"noise_multiplier": 1})
    yield Site("effort", Effort, (Effort, evaluator("effort")), section("evaluator.effort"))
    shadows = (ShadowSettings, evaluator("shadow"), lambda **values: ShadowOptions(recipe=Recipe(), **values))
    yield Site("shadow", ShadowSettings, shadows, section("evaluator.shadow"))
    plain = lambda **values: PrivacyEvaluator("digits", **values)  # noqa: E731
    yield Site("evaluator", MeasuringOptions, (MeasuringOptions, plain), section("evaluator"))
    filters = (FilterOptions, lambda **values: PredictedFilter(build_strategy("random", seed=0), **values))
    yield Site("below", FilterOptions, filters, section("filter"), base={"below": 0.7})
    yield Site("above", FilterOptions, filters, section("filter"), base={"above": 1e5, "by": "parameters"})
    yield Site("quantile", FilterOptions, filters, section("filter"), base={"quantile": 0.7})
    yield Site("extraction", ExtractionOptions, (ExtractionOptions,), None)
    contours = lambda values: nested("contours", values, STUDY)  # noqa: E731
    yield Site("contours", ContourOptions, (ContourOptions, measurement), contours, load_study)
    yield Site("pattern", CellPattern, (CellPattern,), dict, read_pattern, PATTERN)
    evidence = lambda values: {**PATTERN, "evidence": [values]}  # noqa: E731
    yield Site("evidence", EdgeEvidence, (EdgeEvidence,), evidence, read_pattern)
    for name, kind, space in (("darts", DartsSizes, DARTS), ("nasbench201", NasBench201Sizes, NasBench201)):
        yield Site(name, kind, (space,), lambda values, name=name: {**BASE, "search_space": {"name": name, **values}})
    for name in strategy_names():
        yield Site(
            name,
            strategy_options(name),
            (lambda name=name, **values: build_strategy(name, values, seed=0),),
            lambda values, name=name: {
                **{key: value for key, value in BASE.items() if key != "trials"},
                "strategy": {"name": name, **values},
                "trials": values.get("top_k", 1) if isinstance(values.get("top_k"), int) else 1,
            },
        )


SITES = {site.name: site for site in sites()}


def variants(kind: Any, field: str) -> list[dict[str, Any]]:
    """The JSON schemas that a field's value may have, null left out."""
    whole = TypeAdapter(kind).json_schema()
    schema = whole["properties"][field]
    found = [entry for entry in schema.get("anyOf", [schema]) if entry.get("type") != "null"]
    return [whole["$defs"][entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry for entry in found]


WRONG_TYPES: Mapping[str, tuple[Any, ...]] = {
    "integer": (True, "3", 1.5, math.nan, math.inf, [1]),
    "number": (True, "0.5", math.nan, math.inf, -math.inf, [0.5]),
    "boolean": (1, "yes", math.nan, 0.0),
    "string": (3, True, math.nan, ["a"]),
    "array": (3, "text", True, math.nan, {"a": 1}),
    "object": (3, "text", True, math.nan, [1]),
}


def wrong_values(kind: Any, field: str) -> Iterator[Any]:
    """Below, above, of the wrong type, NaN and infinity."""
    schemas = variants(kind, field)
    if len(schemas) != 1 or "type" not in schemas[0]:
        return
    (schema,) = schemas
    yield from WRONG_TYPES[schema["type"]]
    for limit, beyond in (("minimum", -1), ("maximum", 1), ("exclusiveMinimum", 0), ("exclusiveMaximum", 0)):
        if limit in schema:
            yield schema[limit] + beyond
    if "enum" in schema:
        yield "no such thing"


def cases() -> Iterator[Any]:
    for site in SITES.values():
        for field in TypeAdapter(site.kind).json_schema()["properties"]:
            for value in wrong_values(site.kind, field):
                if (site.name, field) not in {("recipe", "dp"), ("noise", "epsilon"), ("epsilon", "noise_multiplier")}:
                    yield pytest.param(site, field, value, id=f"{site.name}-{field}-{value}")
        yield pytest.param(site, "no_such_option", 1, id=f"{site.name}-unknown")


@pytest.mark.parametrize(("site", "field", "value"), cases())
def test_what_is_not_valid_gets_one_line_from_python_and_from_yaml(
    tmp_path: Path, site: Site, field: str, value: Any
) -> None:
    values = {**(site.base or {}), field: value}
    lines = []
    for make in site.python:
        try:
            make(**values)
        except PrivacyError as error:
            lines.append(str(error))
        except TypeError as error:  # an unknown keyword
            assert field == "no_such_option"
            lines.append(str(error))
        else:
            pytest.fail(f"{make} takes it")
    if site.content is not None:
        path = tmp_path / "file.yaml"
        path.write_text(yaml.safe_dump(site.content(values)))
        with pytest.raises(PrivacyError) as caught:
            site.read(path)
        lines.append(str(caught.value))
        assert lines[-1].startswith(f"{path}: ")
    for line in lines:
        assert field in line and "\n" not in line
        assert field == "no_such_option" or repr(value)[:20] in line or "[" in repr(value), line


FURTHER = [
    ({"effort": {"views": 99}, "attacks": ["lira"]}, "effort.views: 99"),
    ({"shadow": {"count": 3}, "attacks": ["lira"]}, "shadow.count: 3; attack 'lira' needs at least 4"),
    ({"shadow": {"cache": 3}}, "shadow.cache: 3; allowed are a folder"),
    ({"attacks": "lira"}, "attacks: 'lira'; input should be a valid list"),
    ({"device": "gpu"}, "device: 'gpu'; did you mean 'cpu'? (known: auto, cpu, cuda)"),
    ({"plugins": ["no.such.module"]}, "plugin 'no.such.module' cannot be imported"),
    ({"recipe": {"milestones": [0.5, math.nan]}}, "recipe.milestones.1: nan"),
    ({"recipe": {"dp": {}}}, "recipe.dp: neither is given"),
    ({"recipe": {"dp": 8}}, "recipe.dp: 8; allowed is a mapping of max_grad_norm"),
    ({"effort": 3}, "effort: 3; allowed is a mapping of views"),
]


@pytest.mark.parametrize(("options", "message"), FURTHER)
def test_both_say_the_same(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(PrivacyError) as python:
        PrivacyEvaluator("digits", **options)
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(nested("evaluator", options)))
    with pytest.raises(PrivacyError) as file:
        load_config(path)
    assert message in str(python.value)
    assert message in str(file.value) and "evaluator" in str(file.value)


FILTERS = [
    ({}, "filter: give either below or above, a predicted AUC, or quantile"),
    ({"by": "snip"}, "filter: give either below or above, a snip, or quantile"),
    ({"below": 0.7, "quantile": 0.5}, "below and quantile are given"),
    ({"below": 0.7, "above": 0.5}, "below and above are given"),
    ({"below": 0.0}, "filter.below: 0.0; input should be greater than 0"),
    ({"above": 1.0}, "filter.above: 1.0; input should be less than 1"),
    ({"below": -3, "by": "multiply_adds"}, "filter.below: -3.0; input should be greater than 0"),
    ({"below": "1e6", "by": "parameters"}, "filter.below: '1e6'; input should be a valid number"),
    ({"below": 0.7, "keep": "highest"}, "filter.keep: 'highest'; with below the lowest are kept"),
    ({"above": 0.7, "keep": "lowest"}, "filter.keep: 'lowest'; with above the highest are kept"),
    ({"quantile": 0.5, "keep": "low"}, "filter.keep: 'low'; input should be 'lowest' or 'highest'"),
    ({"quantile": 0.5, "by": "sinp"}, "filter.by: 'sinp'; did you mean 'snip'?"),
    ({"quantile": 0.5, "by": "snip", "surrogate": "mine.npz"}, "filter.surrogate: 'mine.npz'; only by: predicted"),
]


@pytest.mark.parametrize(("values", "message"), FILTERS)
def test_filters_that_make_no_sense(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump({**BASE, "filter": values}))
    makers = (
        lambda: FilterOptions(**values),
        lambda: PredictedFilter(build_strategy("random", seed=0), **values),
        lambda: load_config(path),
    )
    for make in makers:
        with pytest.raises(PrivacyError) as error:
            make()
        assert message in str(error.value) and "\n" not in str(error.value)


def test_filters_that_do(tmp_path: Path) -> None:
    for values, keep in (
        ({"below": 0.7}, "lowest"),
        ({"above": -3, "by": "naswot"}, "highest"),
        ({"below": 100_000, "by": "parameters", "keep": "lowest"}, "lowest"),
        ({"above": np.float64(5.0), "by": "synflow", "keep": "highest"}, "highest"),
        ({"quantile": 0.5, "keep": None}, "lowest"),
        ({"quantile": 0.5, "keep": "highest", "by": "snip", "max_rejections": 5}, "highest"),
    ):
        path = tmp_path / "search.yaml"
        plain = {name: float(one) if isinstance(one, np.floating) else one for name, one in values.items()}
        path.write_text(yaml.safe_dump({**BASE, "filter": plain}))
        settings = load_config(path)
        strategy = PredictedFilter(build_strategy("random", seed=0), **values)
        assert settings.filter == strategy.options == FilterOptions(**values) and strategy.options.keep == keep
        path.write_text(yaml.safe_dump(settings.resolved()))
        assert load_config(path).filter == settings.filter


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"name": "digits", "limit": value}, f"'digits': limit: {value!r}")
        for value in (0, True, "3", 1.5, math.nan, math.inf, 10**12)
    ]
    + [
        ({"name": "digits", "limit_seed": -1}, "limit_seed: -1"),
        ({"name": "digits", "image_size": 10**6}, "image_size: 1000000"),
        ({"name": "digits", "stratified": 1}, "stratified: 1; input should be a valid boolean"),
        ({"name": "npz", "path": 3}, "path: 3"),
        ({"name": "npz", "path": "x.npz", "num_classes": 1}, "num_classes: 1"),
        ({"name": "npz", "path": "x.npz", "layout": "last"}, "layout: 'last'"),
        ({"name": "cifar10", "download": "yes"}, "download: 'yes'"),
        ({"name": "cifar10", "root": ""}, "root: ''"),
        ({"name": "celeba", "cache": 3}, "cache: 3"),
        ({"name": "imagefolder", "root": "x", "channels": 2}, "channels: 2; allowed are 1 (grey) and 3 (colour)"),
        ({"name": "imagefolder", "root": "x", "channels": True}, "channels: True"),
    ],
)
def test_options_of_data_sets(tmp_path: Path, dataset: dict[str, Any], message: str) -> None:
    with pytest.raises(PrivacyError) as python:
        PrivacyEvaluator(dataset)
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump({**BASE, "dataset": dataset}))
    with pytest.raises(PrivacyError) as file:
        load_config(path)
    for error in (python, file):
        assert message in str(error.value) and "\n" not in str(error.value)


def test_a_data_set_of_a_plugin_is_known_to_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugin_of_options.py").write_text(
        "from nni_privacy.data import load_dataset, register_dataset\n"
        "@register_dataset('mine_of_options')\n"
        "def load(*, size: 'Unknown' = 3):\n    return load_dataset('digits')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path, dataset = tmp_path / "search.yaml", {"name": "mine_of_options", "size": 4}
    path.write_text(
        yaml.safe_dump(nested("evaluator", {"plugins": ["plugin_of_options"]}, {**BASE, "dataset": dataset}))
    )
    assert load_config(path).dataset is not None
    assert PrivacyEvaluator(dataset, plugins=["plugin_of_options"]).dataset == dataset


def test_what_contains_itself_is_refused(tmp_path: Path) -> None:
    for read, text in ((load_config, "name: &a [*a]"), (read_pattern, "edges: &a [*a]")):
        path = tmp_path / "endless.yaml"
        path.write_text(text)
        with pytest.raises(PrivacyError, match="contains itself") as caught:
            read(path)
        assert str(caught.value).startswith(str(path))


def valid(kind: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the numbers and truth values of options, within their limits."""

    def value(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if schema["type"] == "boolean":
            return st.booleans()
        least = schema.get("minimum", schema.get("exclusiveMinimum"))
        most = schema.get("maximum", schema.get("exclusiveMaximum"))
        if schema["type"] == "integer":
            return st.integers(least, most)
        return st.floats(
            least,
            most,
            exclude_min="exclusiveMinimum" in schema,
            exclude_max="exclusiveMaximum" in schema,
            allow_nan=False,
            allow_infinity=False,
        )

    found = {}
    for field in TypeAdapter(kind).json_schema()["properties"]:
        schemas = variants(kind, field)
        if len(schemas) == 1 and schemas[0].get("type") in ("integer", "number", "boolean"):
            found[field] = value(schemas[0])
    return st.fixed_dictionaries({}, optional=found)


def that_go_together(recipe: dict[str, Any]) -> dict[str, Any]:
    """The two options whose limit is another's value."""
    epochs = recipe.get("epochs", Recipe().epochs)
    if "warm_up" in recipe:
        recipe = {**recipe, "warm_up": min(recipe["warm_up"], epochs - 1)}
    return {**recipe, "nesterov": False} if recipe.get("momentum") == 0 else recipe


@given(valid(Recipe).map(that_go_together), valid(Effort), valid(ShadowSettings))
def test_what_is_valid_is_taken_by_both_alike(
    recipe: dict[str, Any], effort: dict[str, Any], shadow: dict[str, Any]
) -> None:
    import tempfile

    options = {"recipe": recipe, "effort": effort, "shadow": shadow}
    python = PrivacyEvaluator("digits", **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "search.yaml"
        path.write_text(yaml.safe_dump({**BASE, "evaluator": options}))
        file = load_config(path)
    assert PrivacyEvaluator("digits", **file.evaluator.measuring()) == python
    assert Recipe(**recipe) == file.evaluator.recipe == Recipe.from_mapping(Recipe(**recipe).to_dict())
    assert Effort(**effort) == file.evaluator.effort and ShadowSettings(**shadow) == file.evaluator.shadow
    assert PrivacyEvaluator._load(**python._dump()) == python
    resolved = file.resolved()["evaluator"]
    assert resolved["recipe"] == python._dump()["recipe"] and resolved["shadow"] == python._dump()["shadow"]


def test_numpys_numbers_and_paths_become_plain_ones() -> None:
    evaluator = PrivacyEvaluator(
        {"name": "npz", "path": Path("x.npz"), "limit": np.int64(100)},
        recipe={"epochs": np.int64(2), "learning_rate": np.float32(0.5), "milestones": np.array([0.5, 0.75])},
        seed=np.int64(3),  # type: ignore[arg-type]
        shadow={"cache": Path("out")},
    )
    assert evaluator._dump()["dataset"] == {"name": "npz", "path": "x.npz", "limit": 100}
    assert yaml.safe_load(yaml.safe_dump(evaluator._dump())) == evaluator._dump()
    assert evaluator.recipe == Recipe(epochs=2, learning_rate=0.5) and evaluator.shadow.cache == "out"
    assert check_dataset_options("digits", {"limit": np.uint8(3)}) == {"limit": 3}


def test_options_are_immutable_and_hashable() -> None:
    for options in (Recipe(), Effort(), ShadowSettings(), ContourOptions(), ExtractionOptions()):
        assert hash(options) == hash(copy.deepcopy(options)) and options == copy.deepcopy(options)
        with pytest.raises(AttributeError):
            options.seed = 3  # type: ignore[union-attr, misc]
