"""Standard streams that a user, cron or a daemon has closed (`>&- 2>&-`).

A file that is opened later would get the number of the closed one, and what a library prints would
be written into it: into an artifact's lock, or its weights.
"""

import os
import sys


def fill_closed() -> None:
    """Have every standard stream lead somewhere: one that is closed leads nowhere now."""
    names = ("stdin", "stdout", "stderr")
    for number in range(len(names)):  # all, before any other file is opened
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    for name in names:
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, name, nowhere)
            setattr(sys, f"__{name}__", nowhere)
