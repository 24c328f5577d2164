"""From an experiment's name and overrides to a checked configuration, by Hydra's compose API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sitsfusion.errors import InputError, MissingExtraError
from sitsfusion.training.config import TrainConfig, checked

try:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
except ImportError as error:
    raise MissingExtraError("training", "train") from error

GROUPS = Path(__file__).parent / "config"
# The words of the command line for groups that Hydra knows by another name.
_ALIASES = {"experiment": "experiments", "logger": "loggers"}


def names(group: str) -> list[str]:
    """The choices of a group, for example of `experiments`."""
    return sorted(file.stem for file in (GROUPS / group).glob("*.yaml"))


def groups() -> list[str]:
    """The names of the groups."""
    return sorted(folder.name for folder in GROUPS.iterdir() if any(folder.glob("*.yaml")))


def values(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What Hydra composes from `group=choice` and `path.to.key=value`, as primitives; references are resolved.

    Raises:
        InputError: an unknown group, choice or key, or an override that cannot be read.
    """
    try:
        with initialize_config_dir(str(GROUPS), job_name="sitsfusion", version_base="1.3"):
            composed = hydra_compose("config", [_translated(text) for text in overrides])
        found: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    except (HydraException, OmegaConfBaseException) as error:
        given = " ".join(overrides)
        raise InputError(f"the training configuration cannot be composed from {given!r}: {_whole(error)}") from error
    return found


def compose(overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration of a run; errors as `values` and, for values that do not fit, `config.checked`."""
    return checked(TrainConfig, values(overrides))


def as_yaml(config: TrainConfig) -> str:
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
