"""``training_service``: where trials run, as NNI's own configuration, checked against NNI's own classes.

The section is written as NNI documents it (``platform`` and the options of its class, names in snake case); a list of
them is NNI's hybrid service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, Field, ValidationError, create_model

from nni_privacy.errors import ConfigError, nearest
from nni_privacy.schema import Section, one_line

if TYPE_CHECKING:
    from nni.experiment.config.training_service import TrainingServiceConfig
    from nni.nas.experiment import NasExperimentConfig

__all__ = ["NOT_WRITTEN", "TrainingService", "check_reachable", "experiment_config", "training_service_config"]
__all__ += ["without_secrets"]

PLATFORMS = ("local", "remote", "kubeflow", "frameworkcontroller", "aml", "dlc")
_GONE = {"openpai": "NNI 3.0 still has its options, but its manager cannot start it", "adl": "NNI 3.0 has dropped it"}
# The manager starts these only as members of a hybrid service, though NNI's documentation gives them alone.
_ONLY_IN_A_LIST = ("aml", "dlc")
_HERE = ("localhost", "127.0.0.1", "::1")

# What nni-privacy sets itself: the command is NNI's for a trial of a search, GPUs are `gpus_per_trial`.
_OURS = ("trial_command", "trial_gpu_number")
# What NNI asserts without a message, by field.
_LIMITS: Mapping[str, Any] = {
    "port": Field(22, ge=1, le=65535),
    "max_trial_number_per_gpu": Field(1, ge=1),
    "replicas": Field(ge=1),
    "task_number": Field(ge=1),
}
_WORDS: Mapping[str, Any] = {
    "operator": Literal["tf-operator", "pytorch-operator"],
    "storage_type": Literal["nfs", "azureStorage"],
}
_OF_EVERY_SERVICE = ("trial_command", "trial_code_directory", "trial_gpu_number", "nni_manager_ip", "debug")
NOT_WRITTEN = "(not written)"
"""Stands in files for a password or a key."""
_SECRETS = ("password", "ssh_passphrase", "access_key_id", "access_key_secret", "key_vault_key")


def check_training_service(content: Any) -> Any:
    """Checks the names and types of a ``training_service`` section and gives it back; None stands for this machine.

    Raises:
        ConfigError: on the first option that NNI does not know or accept; one line with its path.
    """
    if content is None:
        return None
    for path, service in _services(content):
        try:
            _check_service(service)
        except ConfigError as error:
            raise ConfigError(f"{path}{error}") from None
    return content


TrainingService = Annotated[Any, AfterValidator(check_training_service)]
"""The type of a ``training_service`` field of a configuration: plain data, checked."""


def training_service_config(
    content: Any, *, gpus_per_trial: int = 0, host: str | None = None
) -> TrainingServiceConfig | list[TrainingServiceConfig]:
    """The section as NNI's own configuration.

    Args:
        content: a section that was checked.
        gpus_per_trial: GPUs that NNI reserves for a trial.
        host: where the manager is open; the other machines' agents connect there.
    """
    configs = [_to_nni(service, gpus_per_trial=gpus_per_trial, host=host) for _, service in _services(content)]
    alone = isinstance(content, Mapping) and content["platform"] not in _ONLY_IN_A_LIST
    return configs[0] if alone else configs


def experiment_config(
    content: Any, *, name: str, trials: int | None, concurrency: int, gpus_per_trial: int = 0, host: str | None = None
) -> NasExperimentConfig:
    """NNI's configuration of a whole experiment on the section's services, for a PrivacyExperiment.

    Raises:
        ConfigError: if NNI does not accept it, e.g. because a key file is not there.
    """
    from nni.nas.experiment import NasExperimentConfig

    config = NasExperimentConfig("ts", "simplified")
    config.training_service = training_service_config(content, gpus_per_trial=gpus_per_trial, host=host)
    config.experiment_name = name
    config.trial_concurrency = concurrency
    config.max_trial_number = trials
    config.trial_gpu_number = gpus_per_trial
    config.log_level = "warning"
    # Set even where no agent connects: without it NNI looks for one platform in a list of services, and fails.
    config.nni_manager_ip = host or _HERE[1]
    if any(service["platform"] != "local" for _, service in _services(content)):
        # This machine's interpreter has another path there; NNI puts `python_path` first on the search path.
        config._trial_command_params = {"python": "python3"}
    try:
        config.canonical_copy()  # NNI checks what it checks besides types: that files are there, that options fit
    except Exception as error:  # NNI raises whatever it likes: assertions, attribute errors, type errors
        said = " ".join(str(error).split()) or "NNI does not accept these options together"
        raise ConfigError(f"training_service: {said}") from None
    return config


def check_reachable(content: Any, host: str | None) -> None:
    """Raises ConfigError if the section's machines could not connect to a manager that is open at ``host``."""
    for path, service in _services(content) if content is not None else ():
        told = service.get("nni_manager_ip")
        if told is not None and told not in (*_HERE, host):
            raise ConfigError(
                f"training_service.{path}nni_manager_ip: {told!r}; the manager answers at 127.0.0.1 and at "
                f"--host {host or 'ADDRESS'} only"
            )
        if host is None and told is None and _is_elsewhere(service):
            raise ConfigError(
                f"training_service.{path}platform: {service['platform']}; its trials connect to this machine: open the "
                "manager to them with --host ADDRESS (or set nni_manager_ip: localhost and lay an SSH tunnel)"
            )


def without_secrets(content: Any) -> Any:
    """A copy of the section to be written to files: without passwords and keys."""
    if isinstance(content, Mapping):
        return {
            key: NOT_WRITTEN if key in _SECRETS and value is not None else without_secrets(value)
            for key, value in content.items()
        }
    return [without_secrets(item) for item in content] if isinstance(content, list) else content


def _services(content: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each service of a section, with the path of its fields inside the section."""
    if isinstance(content, Mapping):
        yield "", content
        return
    if not isinstance(content, list) or not content:
        raise ConfigError(f"{content!r:.80}; a mapping with platform and its options is expected, or a list of them")
    for index, service in enumerate(content):
        if not isinstance(service, Mapping):
            raise ConfigError(f"{index}: {service!r:.80}; a mapping with platform and its options is expected")
        yield f"{index}.", service


def _is_elsewhere(service: Mapping[str, Any]) -> bool:
    """Whether agents of the service run on other machines than this one."""
    if service["platform"] == "remote":
        return any(machine["host"] not in _HERE for machine in service["machine_list"])
    return bool(service["platform"] != "local")


def _check_service(service: Mapping[str, Any]) -> None:
    platform = service.get("platform")
    if platform is None:
        raise ConfigError(f"platform: missing; known: {', '.join(PLATFORMS)}")
    if isinstance(platform, str) and platform in _GONE:
        raise ConfigError(f"platform: {platform!r}; {_GONE[platform]}; known: {', '.join(PLATFORMS)}")
    if not isinstance(platform, str) or platform not in PLATFORMS:
        raise ConfigError(f"platform: {platform!r:.80}; {nearest(str(platform), PLATFORMS)}")
    for name in _OURS:
        if name in service:
            raise ConfigError(f"{name}: set by nni-privacy; leave it out")
    if service.get("reuse_mode") and platform == "local":
        raise ConfigError("reuse_mode: True; it kills NNI's manager on this machine")
    model = _model_of(_class_of(platform))
    try:
        model.model_validate(dict(service))
    except ValidationError as error:
        raise ConfigError(one_line(error, model)) from None


def _class_of(platform: str) -> type[TrainingServiceConfig]:
    from nni.experiment.config import utils

    return type(utils.training_service_config_factory(platform))


def _model_of(kind: type) -> type[BaseModel]:
    """A strict pydantic model with the fields of one of NNI's configuration classes, nested ones included."""
    from dataclasses import MISSING, fields

    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for field in fields(kind):
        hint = _WORDS.get(field.name, _plain(hints[field.name]))
        default = ... if field.default is MISSING else field.default
        if default is ... and (type(None) in get_args(hint) or field.name in _OF_EVERY_SERVICE):
            hint, default = hint | None, None
        found[field.name] = (hint, _LIMITS.get(field.name, default))
    return create_model(kind.__name__, __base__=Section, **found)


def _plain(hint: Any) -> Any:
    """A type hint with models in place of NNI's classes, and text in place of paths."""
    from pathlib import Path

    from nni.experiment.config.base import ConfigBase

    if isinstance(hint, type) and issubclass(hint, ConfigBase):
        return _model_of(hint)
    if hint is Path:
        return str
    arguments = get_args(hint)
    if not arguments or get_origin(hint) is Literal:
        return hint
    origin: Any = Union if get_origin(hint) is UnionType else get_origin(hint)
    return origin[tuple(_plain(argument) for argument in arguments)]


def _to_nni(service: Mapping[str, Any], *, gpus_per_trial: int, host: str | None) -> TrainingServiceConfig:
    from nni.experiment.config import utils

    config = _class_of(service["platform"])(**service)
    config.trial_gpu_number = gpus_per_trial
    # NNI's classes have optional fields without a default, and refuse them where they are left out.
    for field in utils.fields(config):
        optional = field.name not in _OF_EVERY_SERVICE and type(None) in get_args(field.type)
        if optional and utils.is_missing(getattr(config, field.name)):
            setattr(config, field.name, None)
    if service["platform"] == "local":
        # NNI wants to be told whether GPUs that show a desktop may be used.
        if gpus_per_trial and service.get("use_active_gpu") is None:
            config.use_active_gpu = True
    elif service.get("nni_manager_ip") is None:
        config.nni_manager_ip = host or _HERE[1]
    return config
