"""Model folders out of any source."""

from pathlib import Path

from distillkit.data import wheels
from distillkit.data.sources import HubSource, WheelSource, parse
from distillkit.errors import DataError


def model_folder(spec: str, *, key: str, cache: Path) -> str:
    """A model source as transformers takes it: a local folder, or a hub id."""
    source = parse(spec, key=key)
    if isinstance(source, WheelSource):
        return str(wheels.take(source, cache=cache, key=key))
    if isinstance(source, HubSource):
        return source.repo
    if not source.path.is_dir():
        raise DataError(f"{key} = {spec}: a file; it must be a model folder")
    return str(source.path)
