"""What a run shows to be wrong before any work is done, beyond what the config check sees."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from distillkit.commands import output
from distillkit.data import Documents
from distillkit.data.sources import LocalSource, parse
from distillkit.engine.loop import check_batch_size
from distillkit.errors import ConfigError, TargetsError
from distillkit.losses import HardLabelLoss, Loss
from distillkit.records import KEY_BYTES, HardLabels, Outputs
from distillkit.stages import corpus as corpora
from distillkit.stages import harness
from distillkit.students import PretrainedStudent, ScratchStudent
from distillkit.targets import Draws, Sampled, StoreManifest, TopK, TopP
from distillkit.targets.codecs import from_settings
from distillkit.targets.packing import payload
from distillkit.tasks.models import check_folder

if TYPE_CHECKING:
    from distillkit.commands.road import Road

TRIED = 256  # classes of the trial


def check_fit(road: "Road") -> None:
    """What the groups show of each other, before any work."""
    corpora.check_fit(road.data, road.task)
    if isinstance(road.loss, HardLabelLoss) and road.targets.path:
        raise ConfigError("targets.path: set, but loss=hard_labels looks at no soft targets")
    if not isinstance(road.loss, Loss):
        raise ConfigError(
            f"loss._target_ = {road.cfg.loss['_target_']}: no loss; a loss is derived from "
            "distillkit.losses.Loss"
        )
    if road.task.headline == "pearson" and road.loss.needs_classes:
        raise ConfigError(
            f"loss = {type(road.loss).__name__}: a softmax over one real-valued output is "
            "constant; regression takes loss=logit_mse"
        )
    if "student" in road.makes and isinstance(road.student, ScratchStudent):
        road.student.check_is_new()
    check_evaluation(road)
    if road.targets.path and not Path(road.targets.path).expanduser().is_dir():
        raise TargetsError(f"targets.path = {road.targets.path}: no such folder")


def check_evaluation(road: "Road") -> None:
    """What is to be measured of language models, before there is one."""
    settings = road.evaluation
    if settings.rouge_examples and (
        road.task.family != "language" or isinstance(road.data, Documents)
    ):
        raise ConfigError(
            f"evaluation.rouge_examples = {settings.rouge_examples}: ROUGE-L is of responses to "
            "prompts; it takes data=conversations, or set it to 0"
        )
    if not settings.harness:
        return
    if road.task.family != "language":
        raise ConfigError(
            f"evaluation.harness = {settings.harness}: its tasks are for language models; it takes "
            "task=causal_lm, or set it to null"
        )
    if settings.harness_path and "evaluation.harness_path" not in output.overrides():
        raise ConfigError(
            f"evaluation.harness_path = {settings.harness_path}: task files can run code, and a "
            "file cannot grant itself trust; give it on the command line"
        )
    harness.check_tasks(settings.harness, settings.harness_path)


def check_loss(road: "Road") -> None:
    """A loss that cannot be had from what the codec keeps, tried on one position."""
    codec, loss = road.targets.codec, road.loss
    if road.targets.path:
        codec = from_settings(StoreManifest.open(Path(road.targets.path).expanduser()).codec)
    if not loss.needs_teacher or not isinstance(codec, (TopK, TopP, Sampled)):
        return
    width = max(TRIED, getattr(codec, "k", 0))
    one = np.ones(1, np.int64)
    said = Outputs(torch.zeros(1, width))
    picked = codec.pick(said, Draws(0, np.zeros(1, f"S{KEY_BYTES}"), one))
    kept = codec.decoder(Path(), width, torch.device("cpu"))(
        payload(codec.encode(picked, one), one)
    )
    labels = HardLabels(torch.zeros(1).long(), torch.zeros(1).bool(), road.task.per_example)
    loss(said, kept, labels)


def check_sources(road: "Road") -> None:
    """Local files and folders that are not there, or cannot be models, before any work."""
    for role in ("train", "validation", "test", "transfer"):
        spec = getattr(road.data, role)
        if spec:
            parse(spec, key=f"data.{role}")
    models = {road.teacher.key: road.teacher.source}
    if isinstance(road.student, PretrainedStudent):
        models["student.path"] = road.student.path
    for key, spec in models.items():
        source = parse(spec, key=key)
        if isinstance(source, LocalSource) and source.path.suffix != ".gguf":
            check_folder(str(source.path), key=key)


def check_batches(road: "Road") -> None:
    """Batches that the data cannot fill, before the teacher is fitted or asked.

    Documents are cut into windows and packed: how many there are is known when they are.
    """
    if road.task.family == "language":
        return
    examples = road.labelled.facts()["counts"]["train"]
    if not road.teacher.path:
        check_batch_size(road.teacher.batch_size, examples, key="teacher.batch_size")
    if road.transfer:
        examples += road.transfer.facts()["counts"]["transfer"]
    if "student" in road.makes:
        check_batch_size(road.trainer.batch_size, examples, key="trainer.batch_size")
