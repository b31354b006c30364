"""`training_service`: NNI's services with options checked against NNI's own classes."""

from __future__ import annotations

import copy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from support_config import BASE

from nni_privacy.commands.search import run_search
from nni_privacy.config import parse_config
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.training_services import (
    check_reachable,
    check_training_service,
    experiment_config,
    training_service_config,
    without_secrets,
)

MACHINE = {"host": "gpu1", "user": "me", "password": "pa55word"}
REMOTE: dict[str, Any] = {"platform": "remote", "machine_list": [MACHINE]}
STORAGE = {"storage_type": "nfs", "server": "server", "path": "/path"}
ROLE = {"replicas": 1, "command": "run", "cpu_number": 1, "memory_size": "1 GB", "code_directory": "."}
TASK = {"name": "worker", "task_number": 1, "command": "run", "gpu_number": 0, "cpu_number": 1, "memory_size": 1024}
POLICY = {"min_failed_task_count": 1, "min_succeed_task_count": 1}
VALID: dict[str, Any] = {
    "local": {"platform": "local", "use_active_gpu": True, "gpu_indices": [0, 1]},
    "remote": REMOTE,
    "kubeflow": {
        "platform": "kubeflow",
        "operator": "pytorch-operator",
        "api_version": "v1",
        "storage": STORAGE,
        "worker": ROLE,
    },
    "frameworkcontroller": {
        "platform": "frameworkcontroller",
        "storage": STORAGE,
        "task_roles": [{**TASK, "framework_attempt_completion_policy": POLICY}],
    },
    "aml": {
        "platform": "aml",
        "subscription_id": "a",
        "resource_group": "b",
        "workspace_name": "c",
        "compute_target": "d",
    },
    "dlc": {
        "platform": "dlc",
        "image": "image",
        "pod_count": 1,
        "ecs_spec": "a",
        "region": "b",
        "workspace_id": "c",
        "nas_data_source_id": "d",
        "access_key_id": "e",
        "access_key_secret": "f",
        "local_storage_mount_point": "/a",
        "container_storage_mount_point": "/b",
    },
}
SERVICES: dict[str, Any] = {**VALID, "hybrid": [VALID["local"], VALID["remote"]]}


def whole(content: Any, **options: Any) -> Any:
    return experiment_config(content, name="n", trials=3, concurrency=2, **options)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_becomes_nnis_own_configuration_with_all_its_values(name: str) -> None:
    content = SERVICES[name]
    assert check_training_service(content) is content
    config = whole(content, host="192.0.2.1")
    services = config.training_service if isinstance(config.training_service, list) else [config.training_service]
    for service, given in zip(services, content if isinstance(content, list) else [content], strict=True):
        assert service.platform == given["platform"]
        known = {field.name for field in fields(service)}
        assert set(given) <= known and all(getattr(service, key) is not None for key in given)
        if given["platform"] != "local":
            assert service.nni_manager_ip == "192.0.2.1"
    canonical = config.json()
    assert (canonical["trialConcurrency"], canonical["maxTrialNumber"]) == (2, 3)


def test_options_of_machines_reach_nnis_machines() -> None:
    content = copy.deepcopy(REMOTE)
    content["machine_list"][0] |= {"port": 2222, "python_path": "/venv/bin", "gpu_indices": [1, 3]}
    (machine,) = whole(content).json()["trainingService"]["machineList"]
    assert (machine["host"], machine["user"], machine["port"]) == ("gpu1", "me", 2222)
    assert (machine["pythonPath"], machine["gpuIndices"]) == ("/venv/bin", [1, 3])


def test_trials_elsewhere_run_their_machines_python() -> None:
    assert whole(REMOTE).json()["trainingService"]["trialCommand"].startswith("python3 -m nni.")
    assert "python3 -m" not in whole(VALID["local"]).json()["trialCommand"].split("/")[0]


def test_aml_and_dlc_are_passed_on_as_hybrid_since_nnis_manager_starts_them_only_so() -> None:
    for name in ("aml", "dlc"):
        assert isinstance(training_service_config(VALID[name]), list)
    assert not isinstance(training_service_config(REMOTE), list)


def test_gpus_of_a_trial_are_those_of_the_configuration() -> None:
    assert whole(REMOTE, gpus_per_trial=2).json()["trainingService"]["trialGpuNumber"] == 2
    assert whole({"platform": "local"}, gpus_per_trial=1).json()["trainingService"]["useActiveGpu"] is True


def spoiled(name: str, path: str, value: Any) -> Any:
    content = copy.deepcopy(SERVICES[name])
    *sections, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    target = content
    for section in sections:
        target = target[section]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return content


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("local", "platform", "locl", "training_service.platform: 'locl'; did you mean 'local'"),
        ("local", "platform", ..., "training_service.platform: missing; known: local"),
        ("local", "platform", 7, "training_service.platform: 7"),
        ("local", "platform", "openpai", "its manager cannot start it"),
        ("local", "platform", "adl", "NNI 3.0 has dropped it"),
        ("local", "use_active_gpus", True, "use_active_gpus: unknown key; did you mean 'use_active_gpu'"),
        ("local", "use_active_gpu", "yes", "training_service.use_active_gpu: 'yes'; input should be a valid boolean"),
        (
            "local",
            "max_trial_number_per_gpu",
            0,
            "training_service.max_trial_number_per_gpu: 0; input should be",
        ),
        ("local", "reuse_mode", True, "training_service.reuse_mode: True; it kills NNI's manager"),
        ("local", "trial_command", "rm", "training_service.trial_command: set by nni-privacy"),
        ("local", "trial_gpu_number", 1, "training_service.trial_gpu_number: set by nni-privacy"),
        ("remote", "machine_list", ..., "training_service.machine_list: missing"),
        ("remote", "machine_list", {}, "training_service.machine_list: {}; input should be a valid list"),
        ("remote", "machine_list.0.user", ..., "training_service.machine_list.0.user: missing"),
        ("remote", "machine_list.0.pasword", "x", "machine_list.0.pasword: unknown key; did you mean 'password'"),
        ("remote", "machine_list.0.port", 70000, "training_service.machine_list.0.port: 70000; input should be less"),
        (
            "remote",
            "machine_list.0.port",
            "22",
            "training_service.machine_list.0.port: '22'; input should be",
        ),
        ("kubeflow", "operator", "op", "training_service.operator: 'op'; input should be 'tf-operator' or"),
        (
            "kubeflow",
            "storage.storage_type",
            "s3",
            "storage.storage_type: 's3'; input should be 'nfs'",
        ),
        ("kubeflow", "worker.replicas", 0, "training_service.worker.replicas: 0; input should be"),
        ("frameworkcontroller", "task_roles.0.name", ..., "training_service.task_roles.0.name: missing"),
        ("aml", "compute_target", ..., "training_service.compute_target: missing"),
        ("hybrid", "0.platform", "x", "training_service.0.platform: 'x'"),
        (
            "hybrid",
            "1.machine_list.0.host",
            3,
            "training_service.1.machine_list.0.host: 3; input should be a",
        ),
        ("hybrid", "0", 3, "training_service.0: 3; a mapping"),
    ],
)
def test_a_mistake_gets_one_line_with_its_path(name: str, path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**BASE, "training_service": spoiled(name, path, value)})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({**REMOTE, "machine_list": []}, {}, "at least one machine"),
        (spoiled("remote", "machine_list.0.max_trial_number_per_gpu", 2), {}, "does not work without trial_gpu_number"),
        (spoiled("kubeflow", "storage.azure_account", "x"), {}, "does not accept these options together"),
        (
            {**REMOTE, "machine_list": [{"host": "h", "user": "u", "ssh_key_file": "/no/such/key"}]},
            {},
            "valid SSH key file",
        ),
    ],
)
def test_what_nni_itself_refuses_is_refused_before_the_start(content: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        whole(content, **options)
    assert str(caught.value).startswith("training_service: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "host", "message"),
    [
        (REMOTE, None, "platform: remote; its trials connect to this machine: .*--host ADDRESS"),
        ([VALID["local"], REMOTE], None, "training_service.1.platform: remote"),
        (VALID["kubeflow"], None, "platform: kubeflow; its trials connect to this machine"),
        ({**REMOTE, "nni_manager_ip": "192.0.2.7"}, "192.0.2.1", "nni_manager_ip: '192.0.2.7'; .* --host 192.0.2.1"),
        (REMOTE, "192.0.2.1", None),
        ({**REMOTE, "nni_manager_ip": "localhost"}, None, None),
        ({**REMOTE, "machine_list": [{**MACHINE, "host": "127.0.0.1"}]}, None, None),
        (VALID["local"], None, None),
        (None, None, None),
    ],
)
def test_machines_that_cannot_reach_the_manager_are_told_before_the_start(
    content: Any, host: str | None, message: str | None
) -> None:
    if message is None:
        check_reachable(content, host)
        return
    with pytest.raises(ConfigError, match=message):
        check_reachable(content, host)


def test_a_search_says_so_and_writes_nothing(tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump({**BASE, "training_service": REMOTE}))
    with pytest.raises(ConfigError, match="--host ADDRESS"):
        run_search(path, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_passwords_and_keys_are_not_written_to_files() -> None:
    resolved = parse_config({**BASE, "training_service": [REMOTE, VALID["dlc"]]}).resolved()
    assert "pa55word" not in str(resolved)
    assert resolved["training_service"][0]["machine_list"][0]["user"] == "me"
    assert without_secrets(VALID["dlc"])["access_key_id"] == "(not written)"
    assert parse_config(BASE).resolved()["training_service"] is None
