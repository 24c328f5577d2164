"""Weights of the Hugging Face hub on this disk. Nothing is downloaded unless `download` is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sitsfusion.errors import FetchError, MissingExtraError

CONFIG_FILE = "config.json"


def download(
    repository: str,
    weights: Sequence[str],
    *,
    token: str | None = None,
    revision: str | None = None,
    cache: Path | None = None,
    download_missing: bool = True,
) -> Path:
    """The folder that holds a repository's config.json and the first of the files `weights` that it has.

    Args:
        repository: owner/name.
        weights: names of files, in order of preference.
        token: of an account that may read it (default: the one logged in).
        revision: branch, tag or commit.
        cache: folder of downloads (default: the hub's own).
        download_missing: False: only what is in the cache already; no request is made.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        FetchError: gated, absent, not in the cache, or not to be reached.
    """
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise MissingExtraError(f"reading {repository} from the Hugging Face hub", "hub") from error

    def get(name: str) -> Path | None:
        """The file, or None where the repository (or the cache, if it alone may be used) has none."""
        try:
            found = hf_hub_download(
                repository, name, token=token, revision=revision, cache_dir=cache, local_files_only=not download_missing
            )
        except errors.LocalEntryNotFoundError:
            if download_missing:  # the hub could not be reached
                raise
            return None
        except errors.EntryNotFoundError:
            return None
        return Path(found)

    try:
        config = get(CONFIG_FILE)
        found = any(get(name) is not None for name in weights)
    except errors.GatedRepoError as error:
        raise FetchError(
            f"{repository} is gated: accept its conditions at https://huggingface.co/{repository}, then log in once "
            "(hf auth login) or give a token"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FetchError(
            f"the hub has no repository {repository}, or it is private and the token may not read it"
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise FetchError(f"{repository} could not be downloaded ({error}); try again, or give a folder") from error
    if config is None or not found:
        raise FetchError(_absent(repository, download_missing, [CONFIG_FILE] if config is None else weights))
    return config.parent


def _absent(repository: str, asked: bool, names: Sequence[str]) -> str:
    what = " or ".join(names)
    if asked:
        return f"{repository} has no {what}; expected the layout of a published network"
    return (
        f"{repository} is not (completely) on this machine: no {what} in the hub's cache. Download it once: "
        f"hf download {repository}    Or give a folder that holds it."
    )
