"""Defaults that follow from what else is chosen: of a task, and of a class named in a file's place.

What the command line or the recipe sets itself always stands.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

LANGUAGE = "distillkit.tasks.CausalLM"
MISSING = "???"
NO_TRAINING = "data.train=null"  # of models that are held against one another on a test source
DEFAULT_LOSS = "forward_kl"  # of a distribution over classes
LOSSES = {"regression": "logit_mse", "multi_label": "bernoulli_kl"}  # of tasks that have none
SHARED = ("optimizer",)  # groups whose settings mean the same to every class: rate, weight decay


def of_task(cfg: DictConfig, explicit: Iterable[str]) -> list[str]:
    """The overrides that a task brings: a language model learns the teacher's own distribution.

    Where the codec draws at a temperature of its own, the loss takes that one.
    """
    keys = set(explicit)
    temperature = cfg.loss.get("temperature") if isinstance(cfg.loss, DictConfig) else None
    if cfg.task.get("_target_") != LANGUAGE or keys & {"loss", "loss.temperature"}:
        return []
    if not isinstance(temperature, int | float):
        return []
    codec = cfg.targets.get("codec") or {}
    drawn_at = codec.get("temperature")
    drawn_temperature = float(drawn_at) if isinstance(drawn_at, int | float) else 1.0
    return [] if temperature == drawn_temperature else [f"loss.temperature={drawn_temperature}"]


def of_run(cfg: DictConfig, explicit: Iterable[str]) -> list[str]:
    """The overrides that a composed run brings: those of its task, and of models without one."""
    return [*of_task(cfg, explicit), *([NO_TRAINING] if _is_test_alone(cfg, None) else [])]


def leave_out_training(cfg: DictConfig) -> None:
    """Unset the training text of models that are held against one another on a test source."""
    if _is_test_alone(cfg, MISSING):
        cfg.data.train = None


def _is_test_alone(cfg: DictConfig, train: str | None) -> bool:
    """Whether a config evaluates `models` on a test source, and its training text is this."""
    data = cfg.get("data")
    if not cfg.get("models") or not isinstance(data, DictConfig) or "train" not in [*data.keys()]:
        return False
    own: Any = OmegaConf.to_container(data, resolve=False)
    return bool(own.get("test")) and own["train"] == train


def choices(
    by_group: Mapping[str, str], recipe: Mapping[str, Any], targets: Iterable[str]
) -> list[str]:
    """The choices that a task brings: a loss of its own where the usual one has no meaning.

    `by_group` are the command line's choices by group, `targets` the groups whose class it names.
    """
    defaults = recipe.get("defaults") or ()
    named = {
        str(group).removeprefix("override /"): choice
        for entry in defaults
        if isinstance(entry, Mapping)
        for group, choice in entry.items()
    }
    loss = LOSSES.get(str({**named, **by_group}.get("task")))
    is_usual = named.get("loss", DEFAULT_LOSS) == DEFAULT_LOSS
    return [f"loss={loss}"] if loss and is_usual and "loss" not in {*by_group, *targets} else []


def of_other_class(
    group: str, settings: Mapping[str, Any], parameters: Iterable[str], own_keys: Iterable[str]
) -> list[str]:
    """The settings of a group's file that another class in its place is to do without.

    `settings` are the file's, `parameters` the other class's parameters, `own_keys` the keys that
    are set elsewhere. The values were chosen for the file's own class; a class has defaults of its
    own.
    """
    keys = tuple(own_keys)
    shared = set(parameters) if group in SHARED else set()
    return [
        f"{group}.{name}"
        for name in settings
        if name != "_target_"
        and name not in shared
        and not any(k == f"{group}.{name}" or k.startswith(f"{group}.{name}.") for k in keys)
    ]


def node_at(settings: Mapping[str, Any], path: Iterable[str]) -> Mapping[str, Any]:
    """The settings of a node inside a file's, by the names that lead to it; {} where none is."""
    node: Any = settings
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def undone(
    group: str, settings: Mapping[str, Any], parameters: Collection[str], target: str
) -> dict[str, list[str]]:
    """What a recipe sets for a class that another one replaces: key -> the words that undo it."""
    return {
        f"{group}.{name}": [f"{group}._target_={target}"]
        if name == "_target_"
        else deletion(f"{group}.{name}", value)
        for name, value in settings.items()
        if name not in parameters
    }


def deletion(key: str, value: Any) -> list[str]:
    """The words that delete a key of a file; Hydra finds none that is null, or leads nowhere."""
    is_found = value is not None and "${" not in str(value)
    return [f"~{key}"] if is_found else [f"++{key}=0", f"~{key}"]


def keys_of(record: Any, prefix: str = "") -> set[str]:
    """All keys of nested settings, dotted; those of mappings too."""
    keys_found: set[str] = set()
    for name, value in record.items() if isinstance(record, Mapping) else ():
        keys_found |= {f"{prefix}{name}"} | keys_of(value, f"{prefix}{name}.")
    return keys_found
