"""Numbers of a model's config that no machine holds are refused before a model or config is made.

transformers makes a list of as many layers or labels as a config says, whatever is asked of it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from distillkit import limits
from distillkit.errors import ModelError

MOST_LAYERS, MOST_EXPERTS, MOST_LABELS = 1_000, 1_000, 1_000_000
MOST_WIDTH = 10**9  # of a vocabulary, or of anything else that a weight has as a side
MOST_HIDDEN = 1_000_000  # channels of a token; the widest models have some 20,000
MOST_WINDOW = 100_000  # tokens around each, up to which every text is padded
MOST_MODULES = 300_000  # layers and their parts; the largest mixtures of experts have some 100,000
MOST_PARAMETERS = 10**13  # no model has as many
PER_WEIGHT = 4  # bytes of a float32, in which a student is trained
_LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers", "encoder_layers")
_WIDTHS = ("size", "dim", "embd", "d_model", "embeddings", "heads", "positions", "inner", "d_ff")
_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
_AT_LEAST_ONE = ("hidden_size", "n_embd", "d_model", "num_attention_heads", "n_head", "n_heads")
_NEURONS = ("intermediate_size", "ffn_dim", "n_inner", "d_ff", "hidden_dim")


def check_numbers(settings: Mapping[str, Any], *, key: str, sign: str = ".") -> None:
    """Raise `ModelError` for sizes of a config that cannot be meant; `key` and `sign` lead to them.

    Sizes of parts (text_config, …) are looked at, too.
    """
    for name, value in settings.items():
        if isinstance(value, Mapping):
            check_numbers(value, key=f"{key}{sign}{name}", sign=".")
        elif isinstance(value, list):
            for number in filter(_is_number, value):
                check_numbers({name: number}, key=key, sign=sign)
        elif isinstance(value, (int, float)) and value > (limit := _limit(str(name))):
            raise ModelError(
                f"{key}{sign}{name} = {value:,}: no model has more than {limit:,}; set a size that "
                "is meant"
            )
        elif name in _AT_LEAST_ONE and isinstance(value, (int, float)) and value < 1:
            raise ModelError(f"{key}{sign}{name} = {value}: must be 1 or more")
    parameters = least_parameters(settings)
    if parameters > MOST_PARAMETERS:
        raise ModelError(
            f"{key}: its sizes make {parameters:.3g} parameters or more, and no model has "
            f"{MOST_PARAMETERS:.0e}; set sizes that are meant"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _limit(name: str) -> float:
    """The most that a number of this name may be."""
    if name in _LAYERS or name.endswith("_layers"):
        return MOST_LAYERS
    if "experts" in name:
        return MOST_EXPERTS
    if name == "num_labels":
        return MOST_LABELS
    if name in _HIDDEN:
        return MOST_HIDDEN
    if name == "attention_window":
        return MOST_WINDOW
    return MOST_WIDTH if name.endswith(_WIDTHS) else float("inf")


@contextmanager
def bounded_modules(key: str) -> Iterator[None]:
    """Within, a model of very many parts is given up: `ModelError`.

    Configs have many names for how often a part is there, and each of them times another.
    """
    from torch.nn.modules.module import register_module_module_registration_hook

    modules = 0

    def count(*_: Any) -> None:
        nonlocal modules
        modules += 1
        if modules > MOST_MODULES:
            raise ModelError(
                f"{key}: its numbers make more than {MOST_MODULES:,} layers and parts of them, and "
                "no model has as many; set numbers that are meant"
            )

    hook = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def least_parameters(settings: Mapping[str, Any]) -> int:
    """The fewest parameters of a model with these sizes: its embeddings and feed-forward layers."""
    hidden = _first_of(settings, _HIDDEN)
    embedded = _first_of(settings, ("embedding_size",)) or hidden
    layers = _first_of(settings, ("num_hidden_groups", *_LAYERS))  # ALBERT's layers share weights
    neurons = _first_of(settings, _NEURONS) or hidden
    return _first_of(settings, ("vocab_size",)) * embedded + 2 * layers * hidden * neurons


def _first_of(settings: Mapping[str, Any], names: tuple[str, ...]) -> int:
    values = (settings.get(name) for name in names)
    return next(
        (value for value in values if isinstance(value, int) and not isinstance(value, bool)), 0
    )


def check_memory(parameters: int, memory: float, *, key: str) -> None:
    """Raise `ModelError` where a student's weights alone are larger than the machine's memory.

    `memory` in bytes; the user's own limit counts instead of it.
    """
    limit, size = limits.model() or memory, parameters * PER_WEIGHT
    if size > limit:
        raise ModelError(
            f"{key}: {parameters / 1e6:,.0f} million parameters, whose weights alone take "
            f"{limits.in_words(size)} (float32), and {limits.in_words(limit)} is the limit; set "
            f"smaller sizes, or if you mean it {limits.MODEL} in the environment, as "
            f"{limits.MODEL}={-(-size // 10**9):.0f}G"
        )


def check_weights(
    settings: Mapping[str, Any], size: int, *, at: str, described_in: str = "config.json"
) -> None:
    """Raise `ModelError` where a config describes far more than its weights, of `size` bytes.

    What is missing would be made anew, in memory. Four bits a parameter are the fewest in use.
    """
    parameters = least_parameters(settings)
    if parameters // 2 > 4 * size + 10**8:
        raise ModelError(
            f"{at}: its {described_in} describes {parameters:,} parameters or more, and its "
            f"weights have {limits.in_words(size)}; they do not belong together"
        )
