"""Quietly, and in one line where it fails: how transformers is made to load."""

import contextlib
import logging
import struct
from collections.abc import Iterator

from distillkit.errors import ModelError

_FAULTS = (  # what a file that is damaged, or means something else, may come to
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,  # of GGUF files
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' load report and bars off the terminal: a new head is no news here."""
    from transformers.utils import logging as hf_logging

    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


@contextlib.contextmanager
def one_line(
    key: str, source: str, part: str, happens: str = "cannot be made ready"
) -> Iterator[None]:
    """Turn what transformers raises into a `ModelError` that names the setting and its value."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        yield
    except Exception as error:
        expected = isinstance(error, (*_FAULTS, SafetensorError, StrictDataclassError))
        if not expected and type(error) is not Exception:  # which tokenizers raises
            raise
        cause = error.__cause__ if isinstance(error, StrictDataclassError) else None
        reason = (str(cause or error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{key} = {source}: its {part} {happens} ({_short(reason)})") from error


def _short(reason: str, limit: int = 300) -> str:
    """A reason without the names of all the architectures there are."""
    return reason if len(reason) <= limit else reason[:limit] + "…"
