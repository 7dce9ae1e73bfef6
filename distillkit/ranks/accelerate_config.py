"""The user's Accelerate config, as the variables that `accelerate launch` makes of it."""

import os

from distillkit.console.progress import rank, say, several
from distillkit.errors import ConfigError

FSDP = "ACCELERATE_USE_FSDP"
OTHERWISE = "choose distributed_type MULTI_GPU (DDP), or FSDP with fsdp_version 2"
UNFIT = {  # variable -> why nothing can be run with it
    "ACCELERATE_USE_DEEPSPEED": f"DeepSpeed is not supported; {OTHERWISE}",
    "ACCELERATE_USE_MEGATRON_LM": f"Megatron-LM trains models of its own alone; {OTHERWISE}",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "models are shared out by FSDP2, not by a "
    f"parallelism_config; {OTHERWISE}",
}
PASSED_OVER = {  # variable -> (values that mean nothing, the key of the run's own that decides)
    "ACCELERATE_MIXED_PRECISION": (("no",), "trainer.precision"),
    "ACCELERATE_DYNAMO_BACKEND": (("no",), "trainer.compile"),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": (("1",), "trainer.micro_batch_size"),
}


def check(*, trains: bool) -> None:
    """Raise `ConfigError` for what no run can take; where models are trained, say what has no part.

    The first process speaks; another one ends as it does.
    """
    fault = _fault()
    if fault and rank():
        raise SystemExit(2)
    if fault:
        raise ConfigError(fault)
    if not trains:
        return
    for name, (none, key) in PASSED_OVER.items():
        value = _value(name)
        if value and value not in none:
            say(f"{name} = {value}: passed over; {key} decides it")
    if _is_on(FSDP) and not several():
        say(f"{FSDP} = true: passed over; there is one process, which has all of the model")


def shares_out() -> bool:
    """Whether models are shared out among the processes."""
    return _is_on(FSDP) and several()


def _fault() -> str:
    """Why no run can take the config; empty if one can."""
    for name, reason in UNFIT.items():
        if _is_on(name):
            return f"{name} = true: {reason}"
    if not _is_on(FSDP):
        return ""
    version = _value("FSDP_VERSION") or "1"
    if version != "2":
        return (
            f"FSDP_VERSION = {version}: models are shared out by FSDP2; set fsdp_version: 2 under "
            "fsdp_config of the Accelerate config"
        )
    if _is_on("FSDP_ACTIVATION_CHECKPOINTING"):
        return (
            "FSDP_ACTIVATION_CHECKPOINTING = true: is the run's own setting; set "
            "trainer.gradient_checkpointing=true, and fsdp_activation_checkpointing: false in the "
            "Accelerate config"
        )
    return ""


def _value(name: str) -> str:
    return os.environ.get(name, "").strip().lower()


def _is_on(name: str) -> bool:
    return _value(name) == "true"
