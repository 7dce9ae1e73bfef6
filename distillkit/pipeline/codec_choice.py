"""Where soft targets come from: a store (with which codec, at which temperatures) or online.

And whether the loss can be computed from it.
"""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from distillkit.artifacts.homes import expanded
from distillkit.config.build import build
from distillkit.config.schema import node_problems
from distillkit.console.progress import say
from distillkit.errors import ConfigError, TargetsError
from distillkit.losses import Loss
from distillkit.pipeline import run_folder as output
from distillkit.pipeline.context import RunContext
from distillkit.targets import (
    AutoTargets,
    Codec,
    Draws,
    OnlineTargets,
    Sampled,
    StoredTargets,
    StoreManifest,
)
from distillkit.targets.codecs.bit_packing import payload
from distillkit.targets.codecs.registry import from_settings
from distillkit.targets.codecs.truncated import Nucleus
from distillkit.tasks import Task
from distillkit.teachers import Teacher
from distillkit.types import KEY_BYTES, HardLabels, Outputs

TRIED = 256  # classes of the trial


def settle_targets(
    targets: AutoTargets | StoredTargets | OnlineTargets,
    loss: Any,
    *,
    teacher: Teacher,
    task: Task,
    node: DictConfig,
) -> StoredTargets | OnlineTargets:
    """Where the soft targets come from, chosen where the loss leaves no choice.

    `node` is the loss as the config has it. Raises `ConfigError` where a store was asked for that
    cannot hold what the loss looks at, and for what is no loss.
    """
    if not isinstance(loss, Loss):
        raise ConfigError(
            f"loss._target_ = {node['_target_']}: no loss; a loss is derived from "
            "distillkit.losses.Loss"
        )
    if isinstance(targets, OnlineTargets) or not loss.looks_inside:
        return choose(targets, loss, teacher=teacher, task=task)
    name = type(loss).__name__
    asked = output.overrides().get("targets", "auto")
    asked = "" if asked == "auto" else asked
    wanted = bool(targets.path or asked)
    # the first token's states are as small as logits; those of all tokens are kept when asked for
    if loss.extent == "first" or (loss.extent == "last" and wanted):
        return choose(targets, loss, teacher=teacher, task=task)
    if wanted:
        what = f"targets = {asked}" if asked else f"targets.path = {targets.path}"
        raise ConfigError(
            f"{what}: {name} looks inside the teacher, at more than a store keeps (hidden states "
            "of the first token, or of the last layer alone: loss.layers=[[-1,-1]], no "
            "embeddings); choose targets=online"
        )
    why = "which no store keeps"
    if loss.extent == "last":
        why = "at the hidden states of all tokens (targets=stored keeps those of the last layer)"
    say(f"targets: online, since {name} looks inside the teacher, {why}")
    return OnlineTargets(precision=targets.precision, batch_tokens=targets.batch_tokens)


def choose(
    targets: AutoTargets | StoredTargets | OnlineTargets,
    loss: Loss,
    *,
    teacher: Teacher,
    task: Task,
) -> StoredTargets | OnlineTargets:
    """The targets of the config, with a codec that fits the task, and the loss's temperatures.

    Raises `ConfigError` for settings that the chosen codec does not take.
    """
    if isinstance(targets, AutoTargets):
        targets = targets.kept_by(_smallest(targets, loss, teacher=teacher, task=task))
    if isinstance(targets, StoredTargets) and not targets.path:
        targets = replace(targets, codec=at_temperatures(targets.codec, loss))
    return targets


def _smallest(targets: AutoTargets, loss: Loss, *, teacher: Teacher, task: Task) -> Any:
    """The first codec of the task's that the loss can be computed from; the last one keeps all."""
    settings = targets.codec
    *sparse, last = task.codecs
    if len(teacher.members) > 1:  # whose average has no hidden states
        sparse = [name for name in sparse if name != "LastHidden"]
    if not loss.needs_teacher or targets.path:
        return _codec(sparse[0] if sparse else last, settings)
    for name in sparse:
        try:
            try_loss(loss, at_temperatures(_codec(name, {}), loss), task)
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


def at_temperatures(codec: Any, loss: Loss) -> Any:
    """The codec, to be captured at the temperatures that the loss looks at.

    Raises `ConfigError` where draws, which hold at one temperature, are to serve several.
    """
    schedules = loss.temperatures.values()
    wanted = {schedule(0.0) for schedule in schedules if schedule.is_constant}
    if isinstance(codec, Nucleus) and wanted - set(codec.captured):
        return replace(codec, temperatures=sorted({*codec.captured, *wanted}))
    if isinstance(codec, Sampled) and codec.temperature is None and wanted:
        if len(wanted) > 1:
            raise ConfigError(
                f"loss: looks at the teacher at temperatures {_listed(wanted)}, and draws hold at "
                "one; choose targets=top_k or targets=last_hidden"
            )
        return replace(codec, temperature=wanted.pop())
    return codec


def check_loss(context: RunContext) -> None:
    """Raise for a loss that cannot be had from what the codec, or the given store, keeps."""
    targets, loss = context.targets, context.loss
    if not isinstance(targets, StoredTargets) or not loss.needs_teacher:
        return
    codec = targets.codec
    if context.given_store:
        codec = from_settings(StoreManifest.open(expanded(context.given_store)).codec)
    _check_temperatures(codec, loss, context.given_store)
    try_loss(loss, codec, context.task)


def _check_temperatures(codec: Codec, loss: Loss, store: str | None) -> None:
    """Raise `ConfigError` where the loss looks at the teacher at a temperature that is not kept."""
    if codec.captured is None:
        return
    for setting, schedule in loss.temperatures.items():
        if not schedule.is_constant or schedule(0.0) in codec.captured:
            continue
        wanted, kept = schedule(0.0), _listed(codec.captured)
        if store:
            way_out = "or unset targets.path to have the teacher asked at it"
            what = f"targets.path = {store}: it was captured at temperature {kept}"
        else:
            way_out = f"or targets.codec.temperature={wanted:g}"
            what = f"targets.codec.temperature = {kept}"
        raise ConfigError(
            f"{what}, and loss.{setting} is {wanted:g}; set loss.{setting}={codec.captured[0]:g}, "
            f"{way_out}"
        )


def try_loss(loss: Loss, codec: Any, task: Task) -> None:
    """Compute the loss of one position of a sparse codec; it raises for what it lacks.

    What looks inside the teacher takes nothing from the codec.
    """
    if not isinstance(codec, (Nucleus, Sampled)):
        return
    loss = deepcopy(loss)
    width = max(TRIED, getattr(codec, "k", 0))
    one = np.ones(1, np.int64)
    said = Outputs(torch.zeros(1, width))
    picked = codec.pick(said, Draws(0, np.zeros(1, f"S{KEY_BYTES}"), one))
    decode = codec.decoder(Path(), width, torch.device("cpu"))
    labels = HardLabels(torch.zeros(1).long(), torch.zeros(1).bool(), task.per_example)
    targets = decode(payload(codec.encode(picked, one), one))
    for part in loss.summands:
        if not part.looks_inside:
            part(said, targets, labels)


def _listed(temperatures: Any) -> str:
    return " and ".join(f"{t:g}" for t in sorted(temperatures))
