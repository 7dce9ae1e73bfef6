"""What transformers 4, and engines of its time, look for in a saved folder under other names.

transformers 5 keeps all that rotary positions need in `rope_parameters`, and names a tokenizer
class that older versions do not have. Read by these, the base of the rotation would be 10,000
whatever it was, without a word. The older keys are written beside the newer ones, which are read
as before.
"""

from collections.abc import Mapping, Sequence
from typing import Any

OLDEST_READER = "transformers 4.51"  # which the tests load every kind of student with
# what the older versions call the base of the rotation, and its share of a head's width
ROPE_NAMES = {"gpt_neox": ("rotary_emb_base", "rotary_pct")}
USUAL_NAMES = ("rope_theta", "partial_rotary_factor")
# of models whose layers differ: the base of full attention and that of a window
TWO_BASES = {
    "modernbert": ("global_rope_theta", "local_rope_theta"),
    "modernbert-decoder": ("global_rope_theta", "local_rope_theta"),
}
USUAL_BASES = ("rope_theta", "rope_local_base_freq")
# how often a layer has full attention: (the older name, which layer of so many)
PATTERNS = {
    "cohere2": ("sliding_window_pattern", -1),
    "gemma3_text": ("sliding_window_pattern", -1),
    "gemma3n_text": ("sliding_window_pattern", -1),
    "modernbert": ("global_attn_every_n_layers", 0),
    "modernbert-decoder": ("global_attn_every_n_layers", 0),
}
PHI3 = ("phi3", "phi4_multimodal")  # which take these three fields and no other
SCALINGS = ("linear", "dynamic", "yarn", "longrope", "llama3", "su")  # of transformers 4
FULL, WINDOW = "full_attention", "sliding_attention"
KNOWN_TO_ALL = {
    "TokenizersBackend": "PreTrainedTokenizerFast",
    # these put tokens around a text by flags of their own, whatever tokenizer.json says
    "CodeLlamaTokenizer": "PreTrainedTokenizerFast",
    "CohereTokenizer": "PreTrainedTokenizerFast",
    "GemmaTokenizer": "PreTrainedTokenizerFast",
    "LlamaTokenizer": "PreTrainedTokenizerFast",
    "PythonBackend": "PreTrainedTokenizer",
}


def legacy_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that older readers look for in a model's config, to be written beside its own."""
    fields: dict[str, Any] = {}
    if config.get("dtype"):
        fields["torch_dtype"] = config["dtype"]
    kind = str(config.get("model_type", ""))
    rope = config.get("rope_parameters")
    if isinstance(rope, Mapping) and rope:
        nested = isinstance(rope.get(FULL) or rope.get(WINDOW), Mapping)
        fields |= _bases(rope, kind) if nested else _rope(rope, kind)
    if kind in PATTERNS and config.get("layer_types"):
        name, full = PATTERNS[kind]
        interval = _interval(config["layer_types"], full)
        fields |= {name: interval} if interval else {}
    text = config.get("text_config")
    if isinstance(text, Mapping):
        fields["text_config"] = {**text, **legacy_config(text)}
    return {
        name: value for name, value in fields.items() if name == "text_config" or name not in config
    }


def legacy_tokenizer(settings: Mapping[str, Any], inputs: Sequence[str]) -> dict[str, Any]:
    """A tokenizer's settings as older and newer readers take them.

    A class that the older versions lack, or read otherwise, becomes the one that takes
    `tokenizer.json` as it stands; `inputs` are what it gives a model: each class has a default of
    its own.
    """
    tokenizer_config = {"model_input_names": list(inputs), **settings}
    kind = str(tokenizer_config.get("tokenizer_class", ""))
    tokenizer_config["tokenizer_class"] = KNOWN_TO_ALL.get(kind, kind)
    extra = tokenizer_config.get("extra_special_tokens")
    if isinstance(extra, list):  # a mapping in the older versions, which fail on a list
        del tokenizer_config["extra_special_tokens"]
        if extra:
            tokenizer_config["additional_special_tokens"] = extra
    return tokenizer_config


def _rope(rope: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """One rotation for all layers."""
    base, share = ROPE_NAMES.get(kind, USUAL_NAMES)
    fields: dict[str, Any] = {}
    if "rope_theta" in rope:
        fields[base] = rope["rope_theta"]
    if "partial_rotary_factor" in rope:
        fields[share] = rope["partial_rotary_factor"]
    scaling = _scaling(rope, kind)
    return fields | ({"rope_scaling": scaling} if scaling else {})


def _bases(rope: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """A rotation for the layers of full attention, and another for those of a window."""
    full, window = rope.get(FULL) or {}, rope.get(WINDOW) or {}
    bases = {
        name: part["rope_theta"]
        for name, part in zip(TWO_BASES.get(kind, USUAL_BASES), (full, window), strict=True)
        if "rope_theta" in part
    }
    scaling = _scaling(full, kind)
    return bases | ({"rope_scaling": scaling} if scaling else {})


def _scaling(rope: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """How a rotation is stretched beyond the length it was trained for; None: not at all."""
    if rope.get("rope_type", "default") not in SCALINGS:
        return None  # nor of a kind that no older reader knows: newer ones may take it for all
    if kind in PHI3:
        return {
            "type": rope["rope_type"],
            "short_factor": rope.get("short_factor"),
            "long_factor": rope.get("long_factor"),
        }
    apart = ("rope_theta", "partial_rotary_factor", "type")
    return {name: value for name, value in rope.items() if name not in apart}


def _interval(layer_types: Sequence[str], full: int) -> int | None:
    """The n of "each n-th layer has full attention", the first or the last of n, or None."""
    count = len(layer_types)
    for n in range(1, count + 2):
        expected = [FULL if i % n == full % n else WINDOW for i in range(count)]
        if list(layer_types) == expected:
            return n
    return None
