"""Which runtime a folder is for, by what lies in it; a new runtime is a file and a line here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from distillkit.console.progress import say, warn
from distillkit.errors import ModelError
from distillkit.models.configs import config_of
from distillkit.models.folders import place
from distillkit.models.runtimes import llama_cpp, onnx
from distillkit.models.runtimes.record import recorded_format

# (is it a folder of this runtime?, its model)
RUNTIMES: tuple[tuple[Callable[[Path], bool], Callable[..., Any]], ...] = (
    (onnx.is_folder, onnx.open_model),
)


def open_runtime(folder: str, *, key: str, auto_class: str, trust_remote_code: bool = False) -> Any:
    """The model of a folder that is for a runtime; None for a folder of PyTorch's.

    `auto_class` of transformers says what it is to be used for.
    """
    path = Path(folder)
    options: dict[str, Any] = {"auto_class": auto_class, "trust_remote_code": trust_remote_code}
    for is_folder, open_model in RUNTIMES:
        if path.is_dir() and is_folder(path):
            return open_model(folder, key=key, **options)
    return None


def open_gguf(folder: str, *, key: str) -> Any:
    """The language model of a GGUF file in llama.cpp; None for another folder.

    None, too, where PyTorch has to run the file, which a line says: llama.cpp is not installed, or
    cannot run a file from elsewhere. Raises `ModelError` where it cannot run a student's.
    """
    location, name = place(folder)
    if name is None:
        return None
    at, is_student = f"{key} = {folder}", (recorded_format(location) or "").startswith("gguf")
    if llama_cpp.library() is None:
        say(
            f"{at}: runs in PyTorch, with the weights of the file; `pip install "
            f"'distillkit[{llama_cpp.EXTRA}]'` has it run in llama.cpp"
        )
        return None
    config, generation = _described(folder, location, key=key, is_student=is_student)
    from distillkit.models.runtimes.llama_model import open_model

    try:
        return open_model(Path(location) / name, config, generation, at=at)
    except ModelError as error:
        if is_student:
            raise
        warn(f"{error}; it runs in PyTorch, with the weights of the file")
        return None


def _described(folder: str, location: str, *, key: str, is_student: bool) -> tuple[Any, Any]:
    """(config, generation settings): of the folder of a student, else what the file describes."""
    from transformers import AutoConfig, GenerationConfig

    if not is_student:
        config = config_of(folder, key=key)
        return config, GenerationConfig.from_model_config(config)
    config = AutoConfig.from_pretrained(location)
    if (Path(location) / "generation_config.json").is_file():
        return config, GenerationConfig.from_pretrained(location)
    return config, GenerationConfig.from_model_config(config)
