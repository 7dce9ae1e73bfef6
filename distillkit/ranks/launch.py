"""What a launcher (torchrun, accelerate, srun) says of this process: which of how many it is."""

import os
from typing import Literal

from distillkit.console.progress import rank, several
from distillkit.errors import ConfigError
from distillkit.ranks import accelerate_config

NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
OF_MPI = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
OF_SEVERAL = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", *OF_MPI)  # to Accelerate


def check_environment() -> None:
    """Raise `ConfigError` where the variables that a launcher sets are not all there, or wrong."""
    values = {name: os.environ.get(name, "") for name in NEEDED}
    world = values["WORLD_SIZE"]
    if world and not (world.isdecimal() and int(world)):
        raise ConfigError(
            f"WORLD_SIZE = {world}: must be the number of processes, 1 or more; unset it to run one"
        )
    if not several():
        if values["RANK"] not in ("", "0"):
            fault = f"WORLD_SIZE is {world}" if world else "WORLD_SIZE is not"
            raise ConfigError(
                f"RANK = {values['RANK']}: set, but {fault}; of several processes each needs "
                f"{', '.join(NEEDED)}, which torchrun sets; unset RANK to run one"
            )
        return
    missing = [name for name in NEEDED if not values[name]]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE = {values['WORLD_SIZE']}: {', '.join(missing)} not set; of several "
            f"processes each needs {', '.join(NEEDED)}, which torchrun sets"
        )
    for name in ("RANK", "LOCAL_RANK", "MASTER_PORT"):
        if not values[name].isdecimal():
            raise ConfigError(f"{name} = {values[name]}: must be a number, 0 or more")
    if not 0 < int(values["MASTER_PORT"]) < 65536:
        raise ConfigError(f"MASTER_PORT = {values['MASTER_PORT']}: must be from 1 to 65535")
    if int(values["RANK"]) >= int(values["WORLD_SIZE"]):
        raise ConfigError(
            f"RANK = {values['RANK']}: must be less than WORLD_SIZE = {values['WORLD_SIZE']}"
        )


def part_of(*, trains: bool) -> Literal["alone", "together", "idle"]:
    """What this process does in a command: all of it, its part, or nothing.

    What trains no model is for the first of several processes. One that does all takes itself for
    the only one, whatever started it: Accelerate would have it wait for others.
    """
    check_environment()
    accelerate_config.check(trains=trains)
    if several() and (trains or rank()):
        return "together" if trains else "idle"
    for name in OF_SEVERAL:
        os.environ.pop(name, None)
    return "alone"
