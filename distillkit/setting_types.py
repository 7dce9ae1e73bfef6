"""The types that settings are declared with: a signature is its own schema.

`config/check.py` reads them from the source of a class without importing it, so that a bad value
is reported before torch is loaded.
"""

from math import inf
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

Finite = Annotated[float, Gt(-inf), Lt(inf)]
Positive = Annotated[float, Gt(0), Lt(inf)]
NonNegative = Annotated[float, Ge(0), Lt(inf)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Ge(0), Le(1)]
PositiveInt = Annotated[int, Gt(0)]
Bins = Annotated[int, Gt(0), Le(10_000)]
NonNegativeInt = Annotated[int, Ge(0)]
Seed = Annotated[int, Ge(0), Lt(2**63)]  # torch's generators take no more

# the kernels of attention, as transformers names them
Attention = Literal["eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3"]
