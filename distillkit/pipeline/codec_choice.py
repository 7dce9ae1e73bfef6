"""Where soft targets come from: a store (with which codec, at which temperatures) or online.

And whether the loss can be computed from it.
"""

from copy import deepcopy
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from distillkit.artifacts.homes import expanded
from distillkit.config.build import build
from distillkit.config.schema import node_problems
from distillkit.console.progress import say
from distillkit.errors import ConfigError, TargetsError
from distillkit.losses import Loss
from distillkit.pipeline import run_folder
from distillkit.pipeline.context import RunContext
from distillkit.targets import (
    Codec,
    CodecChoice,
    OnlineTargets,
    StoreManifest,
    TargetChoice,
    TargetProvider,
)
from distillkit.targets.codecs.codec import listed_temperatures
from distillkit.targets.codecs.registry import from_settings
from distillkit.tasks import Task
from distillkit.teachers import Teacher
from distillkit.types import HardLabels, Outputs


def settle_targets(
    targets: TargetChoice,
    loss: Any,
    *,
    teacher: Teacher,
    task: Task,
    node: DictConfig,
) -> TargetProvider:
    """Where the soft targets come from, chosen where the loss leaves no choice.

    `node` is the loss as the config has it. Raises `ConfigError` where a store was asked for that
    cannot hold what the loss looks at, and for what is no loss.
    """
    if not isinstance(loss, Loss):
        raise ConfigError(
            f"loss._target_ = {node['_target_']}: no loss; a loss is derived from "
            "distillkit.losses.Loss"
        )
    if not (targets.keeps_store and loss.needs_activations):
        return choose(targets, loss, teacher=teacher, task=task)
    name = type(loss).__name__
    choice = run_folder.overrides().get("targets", "auto")
    choice = "" if choice == "auto" else choice
    is_chosen = bool(targets.path or choice)
    # the first token's states are as small as logits; those of all tokens are stored by choice
    if loss.teacher_scope == "first" or (loss.teacher_scope == "last" and is_chosen):
        return choose(targets, loss, teacher=teacher, task=task)
    if is_chosen:
        key = f"targets = {choice}" if choice else f"targets.path = {targets.path}"
        raise ConfigError(
            f"{key}: {name} looks inside the teacher, at more than a store keeps (hidden states "
            "of the first token, or of the last layer alone: loss.layers=[[-1,-1]], no "
            "embeddings); choose targets=online"
        )
    why = "which no store keeps"
    if loss.teacher_scope == "last":
        why = "at the hidden states of all tokens (targets=stored keeps those of the last layer)"
    say(f"targets: online, since {name} looks inside the teacher, {why}")
    return OnlineTargets(precision=targets.precision, batch_tokens=targets.batch_tokens)


def choose(
    targets: TargetChoice,
    loss: Loss,
    *,
    teacher: Teacher,
    task: Task,
) -> TargetProvider:
    """The targets of the config, with a codec that fits the task, and the loss's temperatures.

    Raises `ConfigError` for settings that the chosen codec does not take.
    """
    has_path, temperatures = bool(targets.path), constant_temperatures(loss)
    smallest = partial(_smallest, loss, has_path, teacher=teacher, task=task)
    return targets.settle(CodecChoice(smallest, temperatures))


def _smallest(
    loss: Loss, has_path: bool, settings: dict[str, Any], *, teacher: Teacher, task: Task
) -> Any:
    """The first codec of the task's that the loss can be computed from; the last one keeps all."""
    *sparse, last = task.codecs
    if len(teacher.members) > 1:  # whose average has no hidden states
        sparse = [name for name in sparse if name != "LastHidden"]
    if not loss.needs_teacher or has_path:
        return _codec(sparse[0] if sparse else last, settings)
    for name in sparse:
        try:
            try_loss(loss, _codec(name, {}).at_temperatures(constant_temperatures(loss)), task)
        except (ConfigError, TargetsError):
            continue
        return _codec(name, settings)
    return _codec(last, settings)


def _codec(name: str, settings: dict[str, Any]) -> Any:
    node = {"_target_": f"distillkit.targets.{name}", **settings}
    faults = node_problems(node, "targets.codec")
    if faults:
        raise ConfigError(
            [f"{line} (chosen by targets=auto; targets=NAME chooses another)" for line in faults]
        )
    return build(OmegaConf.create(node), key="targets.codec")


def constant_temperatures(loss: Loss) -> set[float]:
    """The temperatures by which the loss softens the teacher, of those that do not change."""
    schedules = loss.temperatures.values()
    return {schedule(0.0) for schedule in schedules if schedule.is_constant}


def check_loss(context: RunContext) -> None:
    """Raise for a loss that cannot be computed from what the codec, or the given store, keeps."""
    loss = context.loss
    if not context.stores_targets:
        return
    codec = context.store_settings.codec
    if context.given_store:
        codec = from_settings(StoreManifest.open(expanded(context.given_store)).codec)
    _check_temperatures(codec, loss, context.given_store)
    try_loss(loss, codec, context.task)


def _check_temperatures(codec: Codec, loss: Loss, store: str | None) -> None:
    """Raise `ConfigError` where the loss takes the teacher at a temperature that is not stored."""
    if codec.supported_temperatures is None:
        return
    for setting, schedule in loss.temperatures.items():
        if not schedule.is_constant or schedule(0.0) in codec.supported_temperatures:
            continue
        temperature, stored = schedule(0.0), listed_temperatures(codec.supported_temperatures)
        if store:
            way_out = "or unset targets.path to have the teacher asked at it"
            key = f"targets.path = {store}: it was captured at temperature {stored}"
        else:
            way_out = f"or targets.codec.temperature={temperature:g}"
            key = f"targets.codec.temperature = {stored}"
        raise ConfigError(
            f"{key}, and loss.{setting} is {temperature:g}; set "
            f"loss.{setting}={codec.supported_temperatures[0]:g}, {way_out}"
        )


def try_loss(loss: Loss, codec: Codec, task: Task) -> None:
    """Compute the loss of one position as the codec keeps it; it raises for what it lacks.

    What looks inside the teacher takes nothing from the codec.
    """
    targets = codec.trial()
    if targets is None:
        return
    loss = deepcopy(loss)
    labels = HardLabels(torch.zeros(1).long(), torch.zeros(1).bool(), task.per_example)
    outputs = Outputs(torch.zeros(1, codec.trial_outputs))
    for part in loss.summands:
        if not part.needs_activations:
            part(outputs, targets, labels)
