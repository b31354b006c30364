"""PrivacyExperiment's configuration of NNI, without starting it; its runs are in tests/commands/test_search.py."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from support_search import free_port

from nni_privacy import PrivacyEvaluator, PrivacyExperiment
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.access import check_port
from nni_privacy.search_spaces import DARTS
from nni_privacy.strategies import ConstrainedSearch, FixedPattern, build_strategy


def experiment(output: Path, **options: int) -> PrivacyExperiment:
    strategy = FixedPattern(build_strategy("random", seed=0), "demotion-reduction", budget=2)
    evaluator = PrivacyEvaluator("digits", seed=5)
    return PrivacyExperiment(DARTS(channels=2, cells=3), evaluator, strategy, output=output, **options)


def test_gpus_trials_and_concurrency_are_handed_to_nni(tmp_path: Path) -> None:
    made = experiment(tmp_path / "run", trials=7, concurrency=3, gpus_per_trial=2)
    config = made.config.canonical_copy()
    assert (config.max_trial_number, config.trial_concurrency, config.trial_gpu_number) == (7, 3, 2)
    assert config.training_service.use_active_gpu is True
    assert Path(config.experiment_working_directory) == tmp_path / "run" / "nni"
    assert not (tmp_path / "run").exists()  # nothing is written before it starts


@pytest.mark.parametrize("options", [{"trials": 0}, {"trials": -1}, {"concurrency": 0}, {"gpus_per_trial": -1}])
def test_numbers_that_make_no_sense_are_refused(options: dict[str, int], tmp_path: Path) -> None:
    (name, value), least = *options.items(), int("gpus_per_trial" not in options)
    with pytest.raises(ConfigError, match=f"^{name}: {value}; expected at least {least}$"):
        experiment(tmp_path / "run", **options)


def test_seed_and_fixed_edges_are_recorded(tmp_path: Path) -> None:
    environment = experiment(tmp_path / "run")._environment()
    assert environment["seed"] == 5
    assert environment["fixed_edges"]["reduction"] == [[1, 2, "avg_pool_3x3"], [0, 2, "avg_pool_3x3"]]


def test_a_port_must_be_free_on_the_loopback_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="in use"):
            check_port(taken.getsockname()[1])
    for port in (0, 65536):
        with pytest.raises(ConfigError, match="1 to 65535"):
            check_port(port)


def test_a_module_that_hides_a_needed_one_is_found_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yaml.py").touch()
    with pytest.raises(ConfigError, match="its module 'yaml' hides the one that trials need"):
        experiment(tmp_path / "run").start(free_port())
    assert not (tmp_path / "run").exists()


def test_the_constraints_of_a_strategy_are_the_runs(tmp_path: Path) -> None:
    space, evaluator = DARTS(channels=2, cells=3), PrivacyEvaluator("digits", attacks=["loss_threshold"])
    inner = ConstrainedSearch(build_strategy("random", seed=0), {"mia_auc": "<= 0.6", "parameters": "<= 1e6"})
    strategy = FixedPattern(inner, "demotion-reduction", budget=1)
    made = PrivacyExperiment(space, evaluator, strategy, output=tmp_path / "run", trials=1)
    assert made._summary()["constraints"] == {"mia_auc": ["<= 0.6"], "parameters": ["<= 1000000.0"]}
    unknown = ConstrainedSearch(build_strategy("random", seed=0), {"mia_acu": "<= 0.6"})
    with pytest.raises(ConfigError, match="constraints: no trial would report 'mia_acu'"):
        PrivacyExperiment(space, evaluator, unknown, output=tmp_path / "other", trials=1)
