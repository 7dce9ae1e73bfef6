"""Keep the bars, logs and warnings of other packages off the terminal; ours say what goes on.

Whoever sets one of the variables, or asks Python for warnings, gets them.
"""

import logging
import os
import sys
import warnings

VARIABLES = {
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TORCH_LOGS": "-torch",  # errors alone: torch warns of classes that torchao registers
    "PYTHONWARNINGS": "ignore",  # of processes that are started from here
}

# transformers imports torchao where it is installed, which tells of kernels for other processors
LOGGERS = ("torchao", "torch.utils._pytree")


def quiet_others() -> None:
    """Set what the packages read when they are imported, and tell those that are already."""
    names = {name for name in VARIABLES if name not in os.environ}
    if not sys.warnoptions and not _warnings_are_errors():
        warnings.simplefilter("ignore")
    else:
        names.discard("PYTHONWARNINGS")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.update({name: VARIABLES[name] for name in names})
    logging.getLogger("torchao").setLevel(logging.ERROR)  # it warns of kernels for GPUs
    if "HF_DATASETS_DISABLE_PROGRESS_BARS" in names and "datasets" in sys.modules:
        sys.modules["datasets"].disable_progress_bars()
    if "HF_HUB_DISABLE_PROGRESS_BARS" in names:
        for name in ("huggingface_hub.utils", "transformers.utils.logging"):
            module = sys.modules.get(name)
            turn_off = getattr(module, "disable_progress_bars", None) or getattr(
                module, "disable_progress_bar", None
            )
            if turn_off:
                turn_off()


def _warnings_are_errors() -> bool:
    return any(action == "error" for action, *_ in warnings.filters)
