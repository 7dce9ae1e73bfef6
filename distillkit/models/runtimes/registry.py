"""Which runtime a folder is for, by what lies in it; a new runtime is a file and a line here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from distillkit.models.runtimes import onnx

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
