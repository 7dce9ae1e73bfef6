"""Cut layers and widths out of a model: a new one of the same class, with a config of its own."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.console.wording import first_line
from distillkit.errors import ConfigError, ModelError
from distillkit.models.layouts import Axis, layer_stack, layout_of, skipped
from distillkit.models.trial import cannot_run, check_runs
from distillkit.students.pruning.projection import Projection
from distillkit.students.pruning.widths import Widths, head_width

TOKENS = 8  # of the check
TOLERANCE = 1e-3
NOT_PER_LAYER = (  # lists of other things, which may be as long as there are layers
    "architectures",
    "eos_token_id",
    "bos_token_id",
    "pad_token_id",
    "pos_att_type",
    "time_step_limit",
    "mlp_multipliers",
    "ssm_multipliers",
    "block_types",
)


def prune(model: Any, *, layers: Sequence[int] | None = None, widths: Widths | None = None) -> Any:
    """A new float32 model on the CPU with some of a model's layers (0-based), narrower or not.

    A model that has only lost layers must say what the old one says without them, on a few tokens:
    otherwise its layers hang on their place, and `ModelError` is raised. Random numbers and the
    old model are left as they are.
    """
    _, modules = layer_stack(model)
    layers_kept = list(range(len(modules)) if layers is None else layers)
    if any(not p.is_floating_point() or p.is_meta for p in model.parameters()):
        raise ModelError(
            f"student: the weights of {type(model).__name__} are quantized or offloaded, so none "
            "can be cut out; load the teacher without"
        )
    config = cut_config(model, layers_kept, widths)
    with torch.random.fork_rng(devices=[]):
        try:
            new = type(model)(config).float()
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise cannot_run(model, len(layers_kept), error) from error
    if getattr(model, "generation_config", None) is not None:
        new.generation_config = copy.deepcopy(model.generation_config)
    _fill(new, model, layers_kept, widths)
    if widths is None:
        _check_same(new, model, layers_kept)
    return new.eval()


def check_cut(outlined: Any, model: Any, layers_kept: list[int]) -> None:
    """Raise `ModelError` where an outline of some of a model's layers could not be made for real.

    Both are on the meta device; what only weights show is left open.
    """
    layer_stack(outlined)
    _fill(outlined, model, layers_kept, None)
    check_runs(outlined, model)


def _fill(new: Any, model: Any, layers_kept: list[int], widths: Widths | None) -> None:
    stack, _ = layer_stack(model)
    try:
        new.load_state_dict(_cut_weights(model, stack, layers_kept, widths))
    except RuntimeError as error:
        raise ModelError(
            f"student: {type(model).__name__} cannot be cut: what is left does not fit its config "
            f"({str(error).splitlines()[-1].strip()})"
        ) from error


def cut_config(model: Any, layers_kept: list[int], widths: Widths | None) -> Any:
    """The config of what is left; lists with an entry a layer lose the same layers."""
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    count = config.num_hidden_layers  # some count what such a list has
    for name, value in list(vars(config).items()):
        per_layer = isinstance(value, (list, tuple)) and len(value) == count
        if per_layer and name not in NOT_PER_LAYER and not name.startswith("_"):
            setattr(config, name, [value[i] for i in layers_kept])
    try:
        config.num_hidden_layers = len(layers_kept)
    except NotImplementedError as error:  # Funnel's kind counts its layers by blocks
        raise ModelError(
            f"student.layers: {type(config).__name__} takes no number of layers "
            f"({first_line(error)}); choose student=pretrained or a new student"
        ) from error
    config.dtype = "float32"
    if widths is not None:
        _narrow(config, model, widths)
    try:
        fresh = type(config).from_dict(config.to_dict())  # checks that it all fits together
    except Exception as error:
        reason = first_line(error.__cause__ or error)
        raise ConfigError(f"student: {type(config).__name__} refuses its widths ({reason})") from (
            error
        )
    fresh._attn_implementation = model.config._attn_implementation
    return fresh


def _narrow(config: Any, model: Any, widths: Widths) -> None:
    layout = layout_of(model)
    if layout.free_heads:
        config.head_dim = head_width(model)
    if widths.hidden_size is not None:
        neurons = getattr(config, layout.intermediate) or 4 * config.hidden_size
        setattr(config, layout.intermediate, neurons)
        config.hidden_size = widths.hidden_size
    if widths.neurons is not None:
        setattr(config, layout.intermediate, widths.neurons.shape[1])
    if widths.heads is not None:
        config.num_attention_heads = widths.heads.shape[1]
    if widths.kv_heads is not None and hasattr(config, "num_key_value_heads"):
        config.num_key_value_heads = widths.kv_heads.shape[1]


def _cut_weights(
    model: Any, stack: str, layers_kept: list[int], widths: Widths | None
) -> dict[str, Tensor]:
    """The weights that are left under their new names, float32."""
    places = {old: new for new, old in enumerate(layers_kept)}
    out: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        layer = None
        renamed = name
        if name.startswith(f"{stack}."):
            number, _, suffix = name.removeprefix(f"{stack}.").partition(".")
            layer = int(number)
            if layer not in places:
                continue
            renamed = f"{stack}.{places[layer]}.{suffix}"
        values = tensor if widths is None else _narrowed(model, name, tensor, layer, widths)
        out[renamed] = values.float() if values.is_floating_point() else values
    return out


def _narrowed(model: Any, name: str, tensor: Tensor, layer: int | None, widths: Widths) -> Tensor:
    axes = _axes(model, name, tensor)
    projection = widths.projection
    if projection is not None and axes == ("hidden",) and _is_norm(model, name):
        return _projected_norm(projection, name, tensor)
    for dim, axis in enumerate(axes):
        if projection is not None and axis == "hidden":
            turned = projection.axes.to(tensor.device)
            tensor = torch.tensordot(tensor.double(), turned, dims=([dim], [0])).movedim(-1, dim)
            continue
        index = None if axis is None else _kept_rows(model, axis, layer, widths)
        if index is not None:
            tensor = tensor.index_select(dim, index.to(tensor.device))
    is_norm = axes == ("hidden",) and name.endswith(".weight")
    if is_norm and widths.hidden is not None and layout_of(model).root_mean_square:
        # As if the channels that are gone were zeros: the root mean square stays that over all of
        # the teacher's channels. Without it SmolLM2-135M at 432 of 576 channels has perplexity 576
        # on WikiText-2 instead of 274, before any training.
        tensor = tensor * math.sqrt(model.config.hidden_size / len(widths.hidden))
    return tensor


def _is_norm(model: Any, name: str) -> bool:
    """Whether a weight or bias over hidden channels is elementwise, and no matrix's bias."""
    return layout_of(model).of(name.rpartition(".")[0]) == ("hidden",)


def _projected_norm(projection: Projection, name: str, tensor: Tensor) -> Tensor:
    """A norm's weight or bias on the new axes: what was fitted, in a head what comes near it."""
    module, _, kind = name.rpartition(".")
    if module in projection.norms:
        weight, bias = projection.norms[module]
        return weight if kind == "weight" else bias
    values, axes = tensor.double(), projection.axes.to(tensor.device)
    return values @ axes if kind == "bias" else values.mean().expand(axes.shape[1]).clone()


def _axes(model: Any, name: str, tensor: Tensor) -> tuple[Axis | None, ...]:
    """What each dimension of a weight runs over."""
    module, _, kind = name.rpartition(".")
    axes = layout_of(model).of(module)
    if axes is None:
        raise ModelError(
            f"student: the widths of {type(model).__name__} cannot be cut: it has weights that are "
            f"not known ({name}); choose student.layers instead"
        )
    if kind == "bias":
        return axes[:1]
    from transformers.pytorch_utils import Conv1D  # GPT-2's, with inputs before outputs

    return axes[::-1] if isinstance(model.get_submodule(module), Conv1D) else axes


def _kept_rows(model: Any, axis: Axis, layer: int | None, widths: Widths) -> Tensor | None:
    """The rows that stay along an axis; None: all of them."""
    if axis == "hidden":
        return widths.hidden
    indices = {"neurons": widths.neurons, "kv_heads": widths.kv_heads}.get(axis, widths.heads)
    if indices is None or layer is None:
        return None
    if axis == "neurons":
        return indices[layer]
    width = head_width(model)
    rows = (indices[layer][:, None] * width + torch.arange(width)).flatten()
    if axis != "qkv":
        return rows
    whole = int(model.config.num_attention_heads) * width
    return torch.cat([rows, rows + whole, rows + 2 * whole])


def _check_same(new: Any, old: Any, layers_kept: list[int]) -> None:
    _, layers = layer_stack(old)
    dropped = set(range(len(layers))) - set(layers_kept)
    try:
        expected = _last_hidden(old, layers, dropped)
    except Exception as error:  # of an architecture's own code, which may raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"student: {type(old).__name__} cannot be cut: it does not run on a few token ids "
            f"({reason[:200]}); choose student=pretrained or a new student"
        ) from error
    if not bool(expected.isfinite().all()):
        return  # a teacher that says no numbers is refused as that, where it is loaded
    try:
        hidden = _last_hidden(new, layer_stack(new)[1], set())
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise cannot_run(old, len(layers_kept), error) from error
    gap = float(torch.linalg.vector_norm(hidden - expected))
    eps = float(torch.finfo(next(old.parameters()).dtype).eps)
    if not gap <= max(TOLERANCE, 10 * eps) * float(torch.linalg.vector_norm(expected)):
        raise ModelError(
            f"student.layers: {type(old).__name__} without its layers {sorted(dropped)} does not "
            "say what they leave behind (its layers depend on their place); choose other layers or "
            "another student"
        )


def _last_hidden(model: Any, layers: nn.ModuleList, without: set[int]) -> Tensor:
    table = model.get_input_embeddings().weight
    ids = torch.arange(TOKENS, device=table.device).unsqueeze(0) % len(table)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), skipped(layers, without):
            hidden: Tensor = model.base_model(input_ids=ids)[0]
    finally:
        model.train(was_training)
    return hidden.float().cpu()
