"""Several processes as one run: who leads, who lives, and what a launcher says of each.

How a batch is split over them is in `training`.
"""

from distillkit.ranks.team import (
    before_end,
    call,
    called,
    check_words,
    end,
    have_done,
    leads,
    settle,
    together,
)

__all__ = [
    "before_end",
    "call",
    "called",
    "check_words",
    "end",
    "have_done",
    "leads",
    "settle",
    "together",
]
