"""LoRA through PEFT: put into a model, taken out merged, written, and read with its base.

The layers are replaced in the model itself, whose class, forward pass and names of layers stay: a
loss that looks inside, a checkpoint and an export see the model that they know.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from distillkit.artifacts.workspace import read_json, write_json
from distillkit.console.wording import listed
from distillkit.errors import ConfigError, ModelError
from distillkit.models.loading import one_line, quiet

SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # of names in an adapter's file
EXTRA = "pip install 'distillkit[adapters]'"
HEADS = ("classifier.weight", "score.weight", "classifier.out_proj.weight", "qa_outputs.weight")
TASKS = {  # of transformers' classes -> what PEFT calls them
    "CausalLM": "CAUSAL_LM",
    "SequenceClassification": "SEQ_CLS",
    "TokenClassification": "TOKEN_CLS",
    "QuestionAnswering": "QUESTION_ANS",
}


def check_installed(key: str) -> None:
    """Raise `ConfigError` where PEFT is not there."""
    if importlib.util.find_spec("peft") is None:
        raise ConfigError(f"{key}: needs peft, which is not installed; {EXTRA} brings it")


def check_targets(model: Any, targets: Sequence[str] | None) -> None:
    """Raise `ConfigError` for targets that are no linear layers of a model's body."""
    _target_names(model, targets)


def attach(
    model: Any,
    *,
    rank: int,
    alpha: float,
    dropout: float,
    targets: Sequence[str] | None,
    trains_head: bool,
    seed: int,
) -> tuple[int, int]:
    """Freeze a model and put LoRA into its linear layers; (trained parameters, layers with one).

    With `trains_head` all outside the body is trained whole. Raises `ConfigError` for targets that
    are no linear layers of its.
    """
    from peft import LoraConfig, inject_adapter_in_model

    names = _target_names(model, targets)
    head = set(_head(model)) if trains_head else set()
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names)
    torch.manual_seed(seed)  # of A; B begins with zeros
    with quiet():
        inject_adapter_in_model(config, model)
    trained = 0
    for name, parameter in model.named_parameters():
        parameter.requires_grad = ".lora_" in name or name in head
        trained += parameter.numel() * parameter.requires_grad
    return trained, len(names)


def merge(model: Any) -> None:
    """Add what was learnt to the weights, and leave the plain model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, module.get_base_layer())
    del model.peft_config
    model.requires_grad_(True)


def save_adapter(model: Any, folder: Path, *, base: str) -> None:
    """Write what was trained as PEFT opens it: PeftModel.from_pretrained(model of base, folder)."""
    from safetensors.torch import save_file

    ((_, config),) = model.peft_config.items()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    tensors = {
        PREFIX + name.replace(".default.", "."): tensor.detach().cpu().contiguous()
        for name, tensor in trained.items()
    }
    head = {n.rpartition(".")[0].partition(".")[0] for n in trained if ".lora_" not in n}
    kind = type(model).__name__
    folder.mkdir(parents=True)
    config.save_pretrained(str(folder))
    settings = read_json(folder / SETTINGS)
    settings |= {
        "base_model_name_or_path": base,
        "task_type": next((name for end, name in TASKS.items() if kind.endswith(end)), None),
        "modules_to_save": sorted(head) or None,
        "inference_mode": True,
        "target_modules": sorted(settings["target_modules"]),
    }
    write_json(folder / SETTINGS, settings)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def _target_names(model: Any, targets: Sequence[str] | None) -> list[str]:
    """The full names of the linear layers that get an adapter."""
    from transformers.pytorch_utils import Conv1D

    body = {id(module) for module in model.base_model.modules()}
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and id(module) in body
    ]
    chosen = [n for n in linear if targets is None or _ends(n, targets)]
    unknown = [t for t in targets or () if not any(_ends(n, [t]) for n in linear)]
    if unknown or not chosen:
        ends = dict.fromkeys(name.rpartition(".")[2] for name in linear)
        raise ConfigError(
            f"student.lora.targets = [{listed(unknown)}]: no linear layers of the student's body; "
            f"it has {listed(ends) or 'none'}"
        )
    return chosen


def _ends(name: str, targets: Sequence[str]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _head(model: Any) -> list[str]:
    """The names of the parameters outside the body."""
    body = {id(parameter) for parameter in model.base_model.parameters()}
    return [name for name, it in model.named_parameters() if id(it) not in body]


# adapters of others


def is_adapter(folder: str) -> bool:
    """Whether a folder holds an adapter, and no model."""
    return (Path(folder) / SETTINGS).is_file() and not (Path(folder) / "config.json").is_file()


def base_of(folder: str, *, at: str) -> str:
    """The model that an adapter belongs to, as its settings name it; else `ModelError`."""
    try:
        settings = read_json(Path(folder) / SETTINGS)
        base, kind = settings.get("base_model_name_or_path"), settings.get("peft_type")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{at}: its {SETTINGS} cannot be read ({error})") from error
    if kind != "LORA":
        raise ModelError(f"{at}: an adapter of the kind {kind}; LoRA's are merged into their base")
    if not isinstance(base, str) or not base:
        raise ModelError(
            f"{at}: its {SETTINGS} names no base_model_name_or_path; write there which model it "
            "belongs to"
        )
    if not (Path(folder) / WEIGHTS).is_file():
        raise ModelError(f"{at}: no {WEIGHTS} in it; an adapter's weights are read as safetensors")
    return base


def write_merged(adapter: str, base: str, out: Path, *, at: str, key: str, auto_class: str) -> None:
    """Merge an adapter into the model of the folder `base`, and write the model under `out`.

    The tokenizer is the adapter's own where it has one, and else the base's.
    """
    import transformers
    from peft import PeftModel
    from safetensors import safe_open
    from transformers import AutoTokenizer

    options: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True}
    with safe_open(Path(adapter) / WEIGHTS, "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    head = [shape[0] for name, shape in shapes.items() if _is_head(name) and len(shape) > 1]
    if head and "CausalLM" not in auto_class:
        options |= {"num_labels": head[-1], "ignore_mismatched_sizes": True}
    own = (Path(adapter) / "tokenizer_config.json").is_file()
    with quiet(), one_line(key, adapter, "adapter", "does not go with its base"):
        model = getattr(transformers, auto_class).from_pretrained(base, **options)
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        model.save_pretrained(out)
        AutoTokenizer.from_pretrained(adapter if own else base).save_pretrained(out)


def _is_head(name: str) -> bool:
    return name.endswith(HEADS)
