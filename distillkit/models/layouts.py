"""Where a transformer keeps what can be cut: its layers, and what each weight's rows run over."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from distillkit.errors import ModelError

# hidden channels, neurons of the feed-forward network, query heads, key-value heads, and query,
# key and value heads in one matrix
Axis = Literal["hidden", "neurons", "heads", "kv_heads", "qkv"]


def layer_stack(model: Any) -> tuple[str, nn.ModuleList]:
    """The layers of a model, and their name in it. Raises `ModelError` for more than one stack."""
    count = getattr(model.config, "num_hidden_layers", None)
    stacks: dict[str, nn.ModuleList] = {}
    for name, module in model.named_modules():
        is_nested = any(name.startswith(f"{outer}.") for outer in stacks)
        if isinstance(module, nn.ModuleList) and len(module) == count and not is_nested:
            stacks[name] = module
    if len(stacks) != 1:
        raise ModelError(
            f"student.layers: {type(model).__name__} has no one stack of layers that could be cut "
            f"({len(stacks)} found); choose student=pretrained or a new student"
        )
    return next(iter(stacks.items()))


def hidden_in(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """The hidden states that a layer is called with."""
    hidden: Tensor = args[0] if args else kwargs["hidden_states"]
    return hidden


def hidden_out(output: Any) -> Tensor:
    """The hidden states that a layer returns, alone or first."""
    hidden: Tensor = output if isinstance(output, Tensor) else output[0]
    return hidden


@contextmanager
def skipped(layers: nn.ModuleList, indices: set[int]) -> Iterator[None]:
    """Let some layers return what they are given."""

    def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        hidden = hidden_in(args, kwargs)
        return hidden if isinstance(output, Tensor) else (hidden, *output[1:])

    handles = [layers[i].register_forward_hook(hook, with_kwargs=True) for i in sorted(indices)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, slots=True)
class Layout:
    """What each weight of an architecture runs over, so that widths can be cut.

    `axes` maps the end of a module's name to what its outputs and inputs are (for embeddings: rows
    and columns; for norms: the one dimension); None is left as it is. `neurons` and `heads` end the
    names of the modules that read them. `intermediate` is the config's name of the neurons' number.
    `free_heads`: heads have a width of their own in the config, whatever the hidden size is.
    `root_mean_square`: norms divide by that of all hidden channels, and subtract no mean.
    """

    axes: Mapping[str, tuple[Axis | None, ...]]
    neurons: str
    heads: str
    intermediate: str = "intermediate_size"
    free_heads: bool = False
    root_mean_square: bool = False

    def of(self, module: str) -> tuple[Axis | None, ...] | None:
        """The axes of a module, by the longest end of its name; None: not known."""
        ends = [end for end in self.axes if f".{module}".endswith(f".{end}")]
        return self.axes[max(ends, key=len)] if ends else None


_LLAMA = Layout(
    axes={
        "embed_tokens": (None, "hidden"),
        "q_proj": ("heads", "hidden"),
        "k_proj": ("kv_heads", "hidden"),
        "v_proj": ("kv_heads", "hidden"),
        "o_proj": ("hidden", "heads"),
        "q_norm": (None,),
        "k_norm": (None,),
        "gate_proj": ("neurons", "hidden"),
        "up_proj": ("neurons", "hidden"),
        "down_proj": ("hidden", "neurons"),
        "input_layernorm": ("hidden",),
        "post_attention_layernorm": ("hidden",),
        "norm": ("hidden",),
        "lm_head": (None, "hidden"),
        "score": (None, "hidden"),
    },
    neurons="mlp.down_proj",
    heads="self_attn.o_proj",
    free_heads=True,
    root_mean_square=True,
)
_GPT2 = Layout(
    axes={
        "wte": (None, "hidden"),
        "wpe": (None, "hidden"),
        "c_attn": ("qkv", "hidden"),
        "attn.c_proj": ("hidden", "heads"),
        "c_fc": ("neurons", "hidden"),
        "mlp.c_proj": ("hidden", "neurons"),
        "ln_1": ("hidden",),
        "ln_2": ("hidden",),
        "ln_f": ("hidden",),
        "lm_head": (None, "hidden"),
        "score": (None, "hidden"),
    },
    neurons="mlp.c_proj",
    heads="attn.c_proj",
    intermediate="n_inner",
)
_BERT = Layout(
    axes={
        "word_embeddings": (None, "hidden"),
        "position_embeddings": (None, "hidden"),
        "token_type_embeddings": (None, "hidden"),
        "LayerNorm": ("hidden",),
        "query": ("heads", "hidden"),
        "key": ("heads", "hidden"),
        "value": ("heads", "hidden"),
        "attention.output.dense": ("hidden", "heads"),
        "intermediate.dense": ("neurons", "hidden"),
        "output.dense": ("hidden", "neurons"),
        "pooler.dense": ("hidden", "hidden"),
        "transform.dense": ("hidden", "hidden"),
        "cls.predictions": (None,),  # the decoder's bias
        "decoder": (None, "hidden"),
        "seq_relationship": (None, "hidden"),
        "classifier": (None, "hidden"),
        "qa_outputs": (None, "hidden"),
    },
    neurons="output.dense",
    heads="attention.output.dense",
)
_ROBERTA = replace(
    _BERT,
    axes={
        **_BERT.axes,
        "lm_head.dense": ("hidden", "hidden"),
        "lm_head.layer_norm": ("hidden",),
        "lm_head": (None,),  # the decoder's bias
        "classifier.dense": ("hidden", "hidden"),
        "out_proj": (None, "hidden"),
    },
)
_DISTILBERT = Layout(
    axes={
        "word_embeddings": (None, "hidden"),
        "position_embeddings": (None, "hidden"),
        "LayerNorm": ("hidden",),
        "q_lin": ("heads", "hidden"),
        "k_lin": ("heads", "hidden"),
        "v_lin": ("heads", "hidden"),
        "out_lin": ("hidden", "heads"),
        "sa_layer_norm": ("hidden",),
        "lin1": ("neurons", "hidden"),
        "lin2": ("hidden", "neurons"),
        "output_layer_norm": ("hidden",),
        "vocab_transform": ("hidden", "hidden"),
        "vocab_layer_norm": ("hidden",),
        "vocab_projector": (None, "hidden"),
        "pre_classifier": ("hidden", "hidden"),
        "classifier": (None, "hidden"),
        "qa_outputs": (None, "hidden"),
    },
    neurons="ffn.lin2",
    heads="attention.out_lin",
    intermediate="hidden_dim",
)
LAYOUTS: dict[str, Layout] = {
    "bert": _BERT,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
    "gpt2": _GPT2,
    "granite": _LLAMA,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "roberta": _ROBERTA,
    "smollm3": _LLAMA,
    "xlm-roberta": _ROBERTA,
}


def layout_of(model: Any) -> Layout:
    """The layout of a model's architecture. Raises `ModelError` where it is not known."""
    kind = model.config.model_type
    if kind not in LAYOUTS:
        raise ModelError(
            f"student: the widths of {kind} cannot be cut, those of {', '.join(LAYOUTS)} can; set "
            "student.hidden_size, intermediate_size and heads to null, or choose student.layers"
        )
    return LAYOUTS[kind]
