"""Model folders out of any source."""

from pathlib import Path

from distillkit.data import wheels
from distillkit.data.sources import HubSource, WheelSource, parse
from distillkit.errors import DataError

MODEL_FILES = (
    "*.json",
    "*.safetensors",
    "*.txt",
    "*.model",
    "*.tiktoken",
    "*.spm",
    "*.jinja",
    "*.py",
)


def model_folder(spec: str, *, key: str, cache: Path) -> str:
    """A model source as transformers takes it: a local folder or GGUF file, or a hub id."""
    source = parse(spec, key=key)
    if isinstance(source, WheelSource):
        return str(wheels.take(source, cache=cache, key=key))
    if isinstance(source, HubSource):
        return _from_hub(source, spec, key)
    if not source.path.is_dir() and source.path.suffix != ".gguf":
        raise DataError(f"{key} = {spec}: a file; it must be a model folder, or a GGUF file")
    return str(source.path)


def _from_hub(source: HubSource, spec: str, key: str) -> str:
    if source.config or source.split:
        raise DataError(f"{key} = {spec}: a model has no configuration nor split; write owner/name")
    if not source.revision:
        return source.repo
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(
            source.repo, revision=source.revision, allow_patterns=[*MODEL_FILES]
        )
    except Exception as error:  # hub and network errors have no common base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{key} = {spec}: cannot be had from the hub ({reason})") from error
