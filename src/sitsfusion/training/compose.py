"""From an experiment's name and overrides to a checked configuration, by Hydra's compose API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from sitsfusion.errors import InputError, MissingExtraError
from sitsfusion.training import families
from sitsfusion.training.config import RunConfig, checked

try:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
except ImportError as error:
    raise MissingExtraError("training", "train") from error

# The words of the command line for groups that Hydra knows by another name.
_ALIASES = {"experiment": "experiments", "logger": "loggers"}


def names(group: str, family: str = families.names()[0]) -> list[str]:
    """The choices of a family's group, for example of `experiments`."""
    folders = (families.groups_folder(family), families.SHARED_GROUPS)
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})


def groups(family: str = families.names()[0]) -> list[str]:
    """The names of a family's groups, those shared by all included."""
    folders = (families.groups_folder(family), families.SHARED_GROUPS)
    return sorted({group.name for folder in folders for group in folder.iterdir() if any(group.glob("*.yaml"))})


def family_of(overrides: Sequence[str]) -> str:
    """The family whose experiment the overrides name; InputError if there is no such experiment."""
    found = [
        value for key, _, value in (_translated(text).partition("=") for text in overrides) if key == "experiments"
    ]
    return families.of_experiment(found[-1] if found else None)


def values(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What Hydra composes from `group=choice` and `path.to.key=value`, as primitives; references are resolved.

    Raises:
        InputError: an unknown group, choice or key, or an override that cannot be read.
    """
    folder = families.groups_folder(family_of(overrides))
    shared = f"hydra.searchpath=[{families.SHARED_GROUPS.as_uri()}]"
    try:
        with initialize_config_dir(str(folder), job_name="sitsfusion", version_base="1.3"):
            composed = hydra_compose("config", [shared, *(_translated(text) for text in overrides)])
        found: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    except (HydraException, OmegaConfBaseException) as error:
        given = " ".join(overrides)
        raise InputError(f"the training configuration cannot be composed from {given!r}: {_whole(error)}") from error
    return found


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of a run, the `Config` of its family; errors as `values` and, for values that do not fit,
    `config.checked`.
    """
    return checked(families.get(family_of(overrides)).Config, values(overrides))


def as_yaml(config: RunConfig) -> str:
    """The configuration as text, complete."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _translated(override: str) -> str:
    key, equals, value = override.partition("=")
    return _ALIASES.get(key, key) + equals + value


def _whole(error: BaseException) -> str:
    """Hydra's message with that of its cause, which holds the full key."""
    causes = [str(error)]
    while (cause := error.__cause__) is not None:
        causes.append(str(cause))
        error = cause
    return "\n".join(dict.fromkeys(causes))
