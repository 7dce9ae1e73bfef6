"""Teachers and starts of students that are adapters: each is merged with its base once, and kept.

<workspace>/assets/merged/<hash of adapter, base and class>/<name>/    a model's folder as any other
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from distillkit.artifacts.digests import fingerprint
from distillkit.artifacts.workspace import Workspace, commit
from distillkit.console.progress import say, working
from distillkit.data.folders import model_folder
from distillkit.data.sources import WheelSource, identity, parse
from distillkit.errors import DataError, DistillkitError
from distillkit.models import adapters


def with_bases(group: Any, name: str, workspace: Workspace, task: Any) -> Any:
    """A teacher or student whose sources are models: of each that is an adapter, the merged one."""
    changes = {}
    for key in ("path", "body", "teachers"):
        value = getattr(group, key, None)
        if key not in {it.name for it in fields(group)} or not value:
            continue
        several = [value] if isinstance(value, str) else value
        at = f"{name}.{key}"
        merged = [_merged(spec, at, workspace, task) for spec in several]
        if merged != [*several]:
            changes[key] = merged[0] if isinstance(value, str) else merged
    return replace(group, **changes) if changes else group


def _merged(spec: str, key: str, workspace: Workspace, task: Any) -> str:
    """The source itself, or the folder of the model that an adapter makes of its base."""
    if not _is_adapter(spec, key, workspace.assets):
        return spec
    folder = model_folder(spec, key=key, cache=workspace.assets)
    at = f"{key} = {spec}"
    base = adapters.base_of(folder, at=at)
    adapters.check_installed(f"{at}: an adapter")
    place = _base_folder(base, folder, at, workspace.assets)
    parts = [identity(folder, key=key), identity(place, key=key), task.auto_class]
    name = Path(folder).name
    final = workspace.assets / "merged" / fingerprint({"parts": parts}) / name
    if not final.is_dir():
        _write(folder, place, final, at=at, key=key, workspace=workspace, task=task)
        say(f"{at}: an adapter, merged with {base}")
    return str(final)


def _is_adapter(spec: str, key: str, cache: Path) -> bool:
    """Whether a source is an adapter; one that is not there is told of where it is needed.

    A package is fetched whole, by what needs it and no sooner: the models in it are no adapters.
    """
    try:
        if isinstance(parse(spec, key=key), WheelSource):
            return False
        return adapters.is_adapter(model_folder(spec, key=key, cache=cache, weights=False))
    except DistillkitError:
        return False


def _base_folder(base: str, adapter: str, at: str, cache: Path) -> str:
    """The folder of an adapter's base: as it is written there, or beside the adapter."""
    beside = [Path(adapter).parent / base, Path(adapter).parent / Path(base).name]
    specs: Sequence[str] = [str(path) for path in beside if path.is_dir()][:1] or [base]
    try:
        return model_folder(specs[0], key=f"{at}: its base", cache=cache)
    except DistillkitError as error:
        raise DataError(
            f"{at}: an adapter of {base}, which is not there; put that model in this place, or "
            f"write its folder into base_model_name_or_path of {adapters.SETTINGS} ({error})"
        ) from error


def _write(
    folder: str, base: str, final: Path, *, at: str, key: str, workspace: Workspace, task: Any
) -> None:
    with workspace.guard():
        final.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=final.parent, prefix=".draft-"))
        try:
            with working(f"{at}: merging it with its base"):
                adapters.write_merged(
                    folder, base, draft, at=at, key=key, auto_class=task.auto_class
                )
            if not final.is_dir():
                commit(draft, final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
