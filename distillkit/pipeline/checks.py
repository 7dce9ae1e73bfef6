"""What a run shows to be wrong before any work is done, beyond what the config check sees."""

import math
from typing import Any

import torch

from distillkit.artifacts.homes import expanded
from distillkit.compression.checks import check_formats, formats_of
from distillkit.config.build import refusal
from distillkit.data import MaskAndRefill, hub
from distillkit.data.folders import model_folder
from distillkit.data.hub import HubSource
from distillkit.data.sources import LocalSource, expand, parse
from distillkit.errors import ConfigError, TargetsError
from distillkit.evaluation import lm_eval as harness
from distillkit.losses import HardLabelLoss, Loss
from distillkit.models.configs import check_config, config_of
from distillkit.models.execution import check_machine
from distillkit.models.folders import check_folder, check_tokenizer_files, is_config_alone
from distillkit.models.vocabularies import same_ids
from distillkit.pipeline import run_folder, slices, tokenizers
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.text import TextArtifacts
from distillkit.ranks.accelerate_config import shares_out
from distillkit.stages import corpus as corpora
from distillkit.targets.average import no_hidden_states
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.codec import check_outputs as check_distribution
from distillkit.tasks import SequenceTask, Task
from distillkit.training.distributed import compute_device
from distillkit.training.gradients import parameter_groups
from distillkit.training.trainer import check_batch_size

UNFIT = {  # why a loss does not fit what outputs mean, and what does
    "real": "a softmax over one real-valued output is constant, and so is its order; regression "
    "takes loss=logit_mse",
    "bernoulli": "a softmax has labels compete of which several may hold; multi_label takes "
    "loss=bernoulli_kl or loss=logit_mse",
    "choice": "compares all outputs, and here some are ruled out; question_answering takes "
    "loss=forward_kl or another divergence of two softmaxes",
    "softmax": "takes each output by itself, and here only one of them holds; choose "
    "loss=forward_kl or another divergence of two softmaxes",
}


def check_optimizer(context: RunContext) -> None:
    """Raise `ConfigError` for settings that the optimizer refuses, tried on a small layer."""
    for name, value in context.cfg.optimizer.items():
        if isinstance(value, float) and not math.isfinite(value):  # torch takes these
            raise ConfigError(f"optimizer.{name} = {value}: must be a number, and a finite one")
    layer = torch.nn.utils.skip_init(torch.nn.Linear, 1, 1)  # draws no random numbers
    try:
        context.optimizer(parameter_groups(layer))
    except (TypeError, ValueError, RuntimeError) as error:
        raise refusal(context.cfg.optimizer, error, key="optimizer") from error


def check_execution(context: RunContext) -> None:
    """Raise `ConfigError` for a way to run the student that the machine or the loss cannot take."""
    trainer = context.trainer
    if not (trainer.compile or trainer.attn_implementation):
        return
    check_machine(trainer, compute_device())
    if trainer.compile and context.loss.needs_activations:
        raise ConfigError(
            f"trainer.compile = true: loss = {type(context.loss).__name__} looks inside the "
            "student, which a compiled one does not show; set it to false"
        )
    if trainer.compile and shares_out():
        raise ConfigError(
            "trainer.compile = true: FSDP2 gathers each layer as it runs, and the student is "
            "compiled as a whole; set it to false, or have it trained by DDP"
        )


def check_fit(context: RunContext) -> None:
    """Raise where the groups of a config do not go together."""
    loss, student = context.loss, context.student
    corpora.check_fit(context.data, context.task)
    corpora.check_augmented(context.data, context.augmentation)
    check_activations(context)
    check_averaged(context)
    if isinstance(loss, HardLabelLoss) and context.given_store:
        raise ConfigError("targets.path: set, but loss=hard_labels looks at no soft targets")
    check_outputs(context.task, loss)
    check_texts_compared(context)
    if context.targets.keeps_store and not context.given_store:
        check_codec(context.task, context.store_settings.codec)
    if "student" in context.makes:
        student.check_is_new()
        student.check_data(has_pairs=context.data.has_pairs)
    check_evaluation(context)
    check_distilled(context)
    if "compressed" not in context.makes or "student" in context.makes:
        check_formats(formats_of(context.cfg), context.task.auto_class)
    if context.given_store and not expanded(context.given_store).is_dir():
        raise TargetsError(f"targets.path = {context.given_store}: no such folder")


def check_distilled(context: RunContext) -> None:
    """Raise `ConfigError` for a format that is trained on soft targets, of a run without them."""
    name = next((form.name for form in formats_of(context.cfg) if form.distilled), None)
    if name is not None and not context.loss.needs_teacher:
        raise ConfigError(
            f"compression = {name}: learns from the teacher's soft targets, which loss = "
            f"{type(context.loss).__name__} does not look at; choose onnx_int8, or another loss"
        )


def check_activations(context: RunContext) -> None:
    """Raise `ConfigError` where a loss on activations has no one teacher, or other tokens of it."""
    name = type(context.loss).__name__
    if not context.loss.needs_activations:
        return
    if len(context.teacher.members) > 1:
        raise ConfigError(
            f"loss = {name}: looks inside the teacher, and an ensemble has no one inside; choose "
            "teacher=local, or a loss on logits"
        )
    if not reads_alike(context):
        _, student = tokenizers.student_source(context)
        raise ConfigError(
            f"loss = {name}: compares student and teacher token by token, and the student reads "
            f"with the tokenizer of {student}, the teacher with that of "
            f"{context.teacher.source_name}; set student.tokenizer=null, or choose a loss on "
            "logits"
        )


def check_texts_compared(context: RunContext) -> None:
    """Raise `ConfigError` for a loss that compares the texts of a micro-batch of one."""
    trainer = context.trainer
    rows = min(trainer.batch_size, trainer.micro_batch_size or trainer.batch_size)
    if context.loss.compares_texts and rows < 2:
        raise ConfigError(
            f"loss = {type(context.loss).__name__}: compares the texts of a micro-batch, and there "
            "is one alone; set trainer.batch_size to 2 or more, and trainer.micro_batch_size too"
        )


def reads_alike(context: RunContext) -> bool:
    """Whether student and teacher read the same ids: by what their tokenizers do, not by path."""
    key, spec = tokenizers.student_source(context)
    teacher = context.teacher
    if context.task.one_tokenizer or spec == teacher.source:
        return True
    sources = ((key, spec), (teacher.key, teacher.source))
    return same_ids(*(tokenizers.load(context, *source) for source in sources))


def check_averaged(context: RunContext) -> None:
    """Raise `ConfigError` for an ensemble whose average the codec cannot store."""
    if not context.targets.keeps_store or context.given_store:
        return
    codec = context.store_settings.codec
    if len(context.teacher.members) > 1 and codec.reads_hidden:
        raise ConfigError(no_hidden_states(codec.name))


def check_outputs(task: Task, loss: Any) -> None:
    """Raise `ConfigError` where a loss cannot be computed from what the outputs mean."""
    if task.distribution not in getattr(loss, "supported_outputs", (task.distribution,)):
        raise ConfigError(f"loss = {type(loss).__name__}: {UNFIT[task.distribution]}")


def check_least_outputs(context: RunContext, text: TextArtifacts) -> None:
    """Raise `ConfigError` for what does not fit the number of classes: the task, the loss.

    A loss may have no gradient since there are too few.
    """
    if isinstance(context.task, SequenceTask):
        context.task.check_labels(len(text.corpus.labels.names))
    if context.task.family == "language" or not isinstance(context.loss, Loss):
        return
    loss, classes = context.loss, context.task.width(None, text.corpus.labels)
    if classes < loss.least_outputs:
        raise ConfigError(
            f"loss = {type(loss).__name__}: learns nothing from {classes} classes, it takes "
            f"{loss.least_outputs} or more; choose loss=forward_kl"
        )


def check_codec(task: Task, codec: Codec) -> None:
    """Raise `ConfigError` where a codec cannot store the outputs of the task's models."""
    name = type(task).__name__
    check_distribution(codec, task.distribution, owner=f"a model of {name}")
    if codec.reads_hidden and task.family != "language":
        raise ConfigError(
            f"targets.codec = {codec.name}: keeps the last hidden states of language models, and "
            f"of a model of {name} there are logits alone; choose targets=stored"
        )


def check_evaluation(context: RunContext) -> None:
    """Raise `ConfigError` for measurements that the task has not."""
    settings = context.evaluation
    for name in settings.metrics:
        if context.task.family == "language" or context.task.distribution == "choice":
            raise ConfigError(
                f"evaluation.metrics.{name}: is a score of outputs against labels, and "
                f"{type(context.task).__name__} has no label at each of its outputs; leave it out"
            )
    slices.check(context)
    if settings.rouge_examples and not (context.task.generates and context.data.has_prompts):
        raise ConfigError(
            f"evaluation.rouge_examples = {settings.rouge_examples}: ROUGE-L is of responses to "
            "prompts; it takes data=conversations, or set it to 0"
        )
    if not settings.harness:
        return
    if not context.task.generates:
        raise ConfigError(
            f"evaluation.harness = {settings.harness}: its tasks are for language models; it takes "
            "task=causal_lm, or set it to null"
        )
    if settings.harness_path and "evaluation.harness_path" not in run_folder.overrides():
        raise ConfigError(
            f"evaluation.harness_path = {settings.harness_path}: task files can run code, and a "
            "file cannot grant itself trust; give it on the command line"
        )
    harness.check_tasks(settings.harness, settings.harness_path)


def check_has_training(context: RunContext) -> None:
    """Raise `ConfigError` where there is no training text: models alone are evaluated without."""
    if getattr(context.data, "train", "") is None:
        raise ConfigError("data.train: required, but not set; add data.train=…")


def check_sources(context: RunContext) -> None:
    """Raise for sources that are not there, or cannot be models.

    Of the hub's models the small files are fetched, of its data sets the commit.
    """
    sources = context.data.sources
    if context.makes or not context.cfg.models:
        check_has_training(context)
    for split, spec in sources.items():
        key = f"data.{split}"
        for item in expand(spec, key=key):
            source = parse(item, key=key)
            if isinstance(source, HubSource):
                hub.commit(source, key=key, spec=item, repo_type="dataset")
    uses_teacher = context.loss.needs_teacher or tokenizers.student_source(context)[0].startswith(
        "teacher"
    )
    models = [
        (member.key, member.source)
        for member in context.teacher.members
        if uses_teacher or member.is_ready
    ]
    if context.student.weights_source:
        models.append(context.student.weights_source)
    if isinstance(context.augmentation, MaskAndRefill):
        models.append(("augmentation.model", context.augmentation.model))
    for key, spec in models:
        source = parse(spec, key=key)
        if isinstance(source, HubSource):
            folder = hub.model_files(source, key=key, spec=spec, weights=False)
            check_folder(folder, key=key, weights=False)
        elif isinstance(source, LocalSource) and source.path.suffix != ".gguf":
            # what is only planned may be a config alone, of a model that lies elsewhere
            has_weights = bool(context.makes) or not is_config_alone(source.path)
            check_folder(str(source.path), key=key, weights=has_weights)


def check_configs(context: RunContext) -> None:
    """Raise `ModelError` for a teacher or student of an architecture that the task cannot take.

    Of the models that this command is to load: their folders are looked at, and no weights.
    """
    auto_class = context.task.auto_class
    for key, spec in _sources(context):
        folder = model_folder(spec, key=key, cache=context.workspace.assets, weights=False)
        check_tokenizer_files(folder, key=key)
        if (key, spec) != context.student.tokenizer_source or context.student.weights_source:
            config = config_of(folder, key=key, trust_remote_code=context.trust_remote_code)
            check_config(config, auto_class, key=f"{key} = {spec}")


def _sources(context: RunContext) -> list[tuple[str, str]]:
    """(setting, source) of the models and tokenizers that are to be loaded."""
    sources = []
    needs = {"teacher", "targets"} & {*context.makes} and context.loss.needs_teacher
    if needs or context.student.is_cut:
        sources += [(member.key, member.source) for member in context.teacher.members]
    if "student" in context.makes and not context.before:
        own = (context.student.weights_source, context.student.tokenizer_source)
        sources += dict.fromkeys(source for source in own if source)
    return sources


def check_batches(context: RunContext, text: TextArtifacts) -> None:
    """Raise `ConfigError` for batches that the data cannot fill.

    Documents are cut into windows and packed: how many there are is known when they are.
    """
    if context.task.family == "language":
        return
    examples = text.labelled.facts()["counts"]["train"]
    if not context.teacher.is_ready:
        check_batch_size(context.teacher.batch_size, examples, key="teacher.batch_size")
    if text.transfer:
        examples += text.transfer.facts()["counts"]["transfer"]
    if "student" in context.makes:
        check_batch_size(context.trainer.batch_size, examples, key="trainer.batch_size")
