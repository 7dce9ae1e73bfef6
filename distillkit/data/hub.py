"""The Hugging Face hub: the commit that a name stands for, its files, and what goes wrong there."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distillkit.console.progress import say
from distillkit.console.wording import brief, first_line, listed, nearest
from distillkit.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

RepoType = Literal["model", "dataset"]
CONVERTED = "refs/convert/parquet"  # the branch in which the hub keeps its own copy of a data set
SMALL = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.spm", "*.codes", "*.py")
SUBFOLDERS = "[!a]*/*"  # other formats; of those that begin with an a, additional_chat_templates/
CARD = "README.md"
INDEX, WEIGHTS = "model.safetensors.index.json", "model.safetensors"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A model or data set on the Hugging Face hub."""

    repo: str
    config: str | None = None
    revision: str | None = None
    split: str | None = None


def commit(source: HubSource, *, key: str, spec: str, repo_type: RepoType) -> str:
    """The commit that a source of the hub stands for, asked once a run.

    Of a hub that is out of reach, the commit that was last asked for counts. Raises `DataError`
    where there is none, and where the hub has no such repository or revision.
    """
    try:
        return _resolved(source.repo, repo_type, source.revision)[0]
    except Exception as error:  # hub and network errors have no common base
        raise refusal(error, source, key=key, spec=spec, repo_type=repo_type) from error


def forget() -> None:
    """Ask the hub anew: within a run a name stands for one commit, and the next asks again."""
    _answer.cache_clear()
    _small_files.cache_clear()


def identity(source: HubSource, *, key: str, spec: str, repo_type: RepoType) -> str:
    """What decides the content behind a source of the hub: its commit, configuration and split."""
    name = f"hub:{source.repo}@{commit(source, key=key, spec=spec, repo_type=repo_type)}"
    name += f":{source.config}" if source.config else ""
    return name + (f"#split={source.split}" if source.split else "")


def model_files(source: HubSource, *, key: str, spec: str, weights: bool) -> str:
    """The folder of a model's files at its commit, downloaded; without `weights` the small ones.

    Raises `DataError` where they cannot be had, or its weights are no safetensors.
    """
    if source.config or source.split:
        raise DataError(f"{key} = {spec}: a model has no configuration nor split; write owner/name")
    at = commit(source, key=key, spec=spec, repo_type="model")
    try:
        folder = Path(_small_files(source.repo, source.revision))
        if weights:
            _download_weights(source, at, folder)
    except Exception as error:  # hub and network errors have no common base
        raise refusal(error, source, key=key, spec=spec, repo_type="model") from error
    if weights and not any(folder.glob("*.safetensors")):
        raise _no_safetensors(source, at, key, spec)
    return str(folder)


def card_file(source: HubSource, *, key: str, spec: str, repo_type: RepoType) -> Path | None:
    """The README.md of a model or data set at its commit; None where none can be had."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    at = commit(source, key=key, spec=spec, repo_type=repo_type)
    cached = try_to_load_from_cache(source.repo, CARD, revision=at, repo_type=repo_type)
    if cached is not None:  # the file, or that it was looked for and is not there
        return Path(cached) if isinstance(cached, str) else None
    reached = _resolved(source.repo, repo_type, source.revision)[1]
    try:
        with _quiet():
            path = hf_hub_download(
                source.repo,
                CARD,
                repo_type=repo_type,
                revision=at,
                local_files_only=not reached,
            )
    except Exception:  # hub and network errors have no common base, and a card is no need
        return None
    return Path(path)


def load(source: HubSource, *, key: str, spec: str, split: str, cache: Path) -> "Dataset":
    """The rows of a data set at its commit; `split` is taken where the source names none.

    A configuration or split that it has not is refused before its files are downloaded.
    """
    at = commit(source, key=key, spec=spec, repo_type="dataset")
    try:
        with _quiet():
            return _rows(source, at, source.split or split, cache)
    except Exception as error:  # hub, network and builder errors have no common base
        raise refusal(error, source, key=key, spec=spec, repo_type="dataset") from error


def _rows(source: HubSource, at: str, split: str, cache: Path) -> "Dataset":
    from datasets import load_dataset_builder

    config, folder = source.config, None
    if source.revision == CONVERTED:  # a folder for each configuration, and no list of them
        config, folder = None, source.config or _only_folder(source.repo, at)
    with _offline(not _resolved(source.repo, "dataset", source.revision)[1]):
        builder = load_dataset_builder(
            source.repo,
            config,
            revision=at,
            data_dir=folder,
            # of this commit alone: out of reach of the hub, datasets takes the newest there is
            cache_dir=str(cache / "tables" / at[:16]),
        )
    names = list(builder.info.splits or getattr(builder.config, "data_files", None) or ())
    missing = [part for part in re.split(r"\[[^\]]*\]|\+", split) if part and part not in names]
    if names and missing:
        raise _NoSplit(missing[0], names)
    if not Path(builder.cache_dir).is_dir():
        say(f"hub: reading {source.repo} at {at[:7]}")
    builder.download_and_prepare()
    return builder.as_dataset(split=split)


@contextmanager
def _offline(off: bool) -> Iterator[None]:
    """Have `datasets` read its cache at once: asking a hub that is down takes it a minute."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = before or off
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


class _NoSplit(Exception):
    """A data set has no such split: (its name, those that there are)."""


def _only_folder(repo: str, at: str) -> str:
    """The one configuration of the hub's own copy; raises `_NoConfiguration` for several."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFolder

    entries = HfApi().list_repo_tree(repo, repo_type="dataset", revision=at)
    names = sorted(entry.path for entry in entries if isinstance(entry, RepoFolder))
    if len(names) != 1:
        raise _NoConfiguration(names)
    return names[0]


class _NoConfiguration(Exception):
    """A data set has several configurations, and none was named."""


def _resolved(repo: str, repo_type: RepoType, revision: str | None) -> tuple[str, bool]:
    """(the commit, whether the hub was reached and so can be asked for files)."""
    answer = _answer(repo, repo_type, revision)
    if isinstance(answer, Exception):
        raise answer
    return answer


@cache
def _answer(repo: str, repo_type: RepoType, revision: str | None) -> tuple[str, bool] | Exception:
    """The same, or why there is none: what has failed is not asked for a second time either."""
    from huggingface_hub import HfApi, constants

    class Asked(HfApi):
        """Remembers that a question had no answer, which falls back on the cache."""

        reached = not constants.HF_HUB_OFFLINE

        def repo_info(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().repo_info(*args, **kwargs)
            except Exception:
                self.reached = False
                raise

    api = Asked()
    try:
        with _quiet():
            answer = api.resolve_revision(repo, repo_type=repo_type, revision=revision)
    except Exception as error:  # hub and network errors have no common base
        return error
    return str(answer.resolved), api.reached


@cache
def _small_files(repo: str, revision: str | None) -> str:
    """The folder of a model's small files at its commit."""
    from huggingface_hub import snapshot_download

    at, reached = _resolved(repo, "model", revision)
    with _quiet():
        return str(
            snapshot_download(
                repo,
                revision=at,
                allow_patterns=[*SMALL],
                ignore_patterns=[SUBFOLDERS],
                local_files_only=not reached,
            )
        )


def _download_weights(source: HubSource, at: str, folder: Path) -> None:
    """The files that transformers reads: those of the index, or the one without."""
    from huggingface_hub import snapshot_download

    index = folder / INDEX
    names = [WEIGHTS]
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    if all((folder / name).is_file() for name in names):
        return
    reached = _resolved(source.repo, "model", source.revision)[1]
    if reached:
        say(f"hub: downloading {source.repo} at {at[:7]}")
    with _quiet():
        snapshot_download(
            source.repo, revision=at, allow_patterns=names, local_files_only=not reached
        )


def _no_safetensors(source: HubSource, at: str, key: str, spec: str) -> DataError:
    from huggingface_hub import HfApi

    try:
        files = HfApi().list_repo_files(source.repo, revision=at)
    except Exception:  # what is there is told only where it can be
        files = []
    pickled = [name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5"))]
    if pickled:
        return DataError(
            f"{key} = {spec}: its weights are pickled ({listed(pickled, limit=2)}), and unpickling "
            f"runs code. Where its page has a pull request of the hub's safetensors converter, "
            f"take that: {source.repo}@refs/pr/NUMBER; or save it as safetensors yourself"
        )
    return DataError(
        f"{key} = {spec}: no {WEIGHTS} in it (it holds {listed(files, limit=5) or 'nothing'})"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the hub's bars and warnings off the terminal; what is fetched is said in one line."""
    import datasets
    import huggingface_hub.utils

    hub_utils: Any = huggingface_hub.utils
    bars, level = not hub_utils.are_progress_bars_disabled(), hub_utils.logging.get_verbosity()
    hub_utils.disable_progress_bars()
    hub_utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        yield
    finally:
        hub_utils.logging.set_verbosity(level)
        if bars:
            hub_utils.enable_progress_bars()


def refusal(
    error: BaseException, source: HubSource, *, key: str, spec: str, repo_type: RepoType
) -> DataError:
    """One line for what huggingface_hub or datasets raised: what is wrong, and the way out."""
    if isinstance(error, DataError):
        return error
    reason = _reason(error, source, repo_type)
    return DataError(f"{key} = {spec}: {reason}")


def _reason(error: BaseException, source: HubSource, repo_type: RepoType) -> str:
    from huggingface_hub import constants, errors

    chain = list(_chain(error))
    page = f"{constants.ENDPOINT}/{'datasets/' if repo_type == 'dataset' else ''}{source.repo}"
    for link in chain:
        if isinstance(link, errors.GatedRepoError):
            return _gated(link, page)
        if isinstance(link, errors.RevisionNotFoundError):
            return f"the hub has no revision {source.revision} of it; {page}/tree/main lists them"
        if isinstance(link, errors.RepositoryNotFoundError):
            return _not_found(repo_type)
        if isinstance(link, errors.HFValidationError):
            return f"no id of the hub ({brief(link)}); {_not_found(repo_type)}"
    for link in chain:
        if isinstance(link, errors.HfHubHTTPError):
            return _answered(link, page)
        if _is_network(link):
            return _out_of_reach(chain)
    reasons = " ".join(str(link) for link in chain)
    if "scripts are no longer supported" in reasons:
        config = f":{source.config}" if source.config else ""
        return (
            "it is a script, which `datasets` no longer runs; take the hub's own copy, "
            f"{source.repo}{config}@{CONVERTED}"
        )
    return _of_builder(error, source)


def _gated(error: Any, page: str) -> str:
    if getattr(error.response, "status_code", 401) == 403:
        return f"it is gated, and your account has no access to it; ask for it at {page}"
    return f"it is gated: accept its terms at {page}, then `hf auth login` (or set HF_TOKEN)"


def _not_found(repo_type: RepoType) -> str:
    subject, place = {
        "model": ("model", "folder"),
        "dataset": ("data set", "file or folder"),
    }[repo_type]
    return (
        f"neither a {place} here nor a {subject} of the hub that can be read; mind the spelling "
        "(owner/name), or if it is private: `hf auth login` (or set HF_TOKEN)"
    )


def _answered(error: Any, page: str) -> str:
    status = error.response.status_code
    if status in (401, 403):
        return f"the hub refuses your token ({status}); `hf auth login`, or unset HF_TOKEN"
    if status == 429:
        return "the hub has had too many requests from you (429); wait, or `hf auth login`"
    return f"the hub answers {status} for {page}; try again later, or give a local copy"


def _is_network(error: BaseException) -> bool:
    from huggingface_hub import errors

    unreachable = (
        errors.OfflineModeIsEnabled,
        errors.RevisionResolutionError,
        errors.LocalEntryNotFoundError,
        ConnectionError,
        TimeoutError,
    )
    names = {base.__name__ for base in type(error).__mro__}
    return isinstance(error, unreachable) or bool(names & {"TransportError", "RequestError"})


def _out_of_reach(chain: list[BaseException]) -> str:
    from huggingface_hub import constants

    nowhere = f"neither here nor in the cache ({constants.HF_HUB_CACHE})"
    if constants.HF_HUB_OFFLINE:
        return (
            f"{nowhere}, and HF_HUB_OFFLINE forbids to ask the hub; unset it once, or give a local "
            "copy"
        )
    return (
        f"{nowhere}, and {constants.ENDPOINT} cannot be reached ({type(chain[-1]).__name__}); "
        "connect once (HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy), or give a local copy"
    )


def _of_builder(error: BaseException, source: HubSource) -> str:
    """What `datasets` says of configurations and splits; else the first line of the error."""
    text, set_name = str(error).strip(), source.repo
    set_name += f":{source.config}" if source.config else ""
    if isinstance(error, _NoSplit):
        split, splits = error.args
        at = f"@{source.revision}" if source.revision else ""
        return (
            f"it has no split {split}; write {set_name}{at}#split=NAME with one of {listed(splits)}"
        )
    if isinstance(error, _NoConfiguration):
        return f"it has configurations: {listed(*error.args)}; write {source.repo}:NAME@{CONVERTED}"
    names = _names(text)
    if source.config and "BuilderConfig" in text and names:
        return f"it has no configuration {source.config}; {nearest(source.config, names)}"
    if "Config name is missing" in text and names:
        return f"it has configurations: {listed(names)}; write {source.repo}:NAME"
    return f"it cannot be read ({first_line(error)})"


def _names(text: str) -> list[str]:
    """The names in the last list that a message writes out."""
    listed_names = text.rpartition("[")[2].partition("]")[0]
    return [name.strip(" '\"\n") for name in listed_names.split(",") if name.strip(" '\"\n")]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it, the one that was raised first last."""
    visited: set[int] = set()
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
