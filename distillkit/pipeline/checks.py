"""What a run shows to be wrong before any work is done, beyond what the config check sees."""

from typing import TYPE_CHECKING, Any

import torch

from distillkit.artifacts.homes import expanded
from distillkit.config.build import refusal
from distillkit.console.progress import say
from distillkit.data import Data, Documents, MaskAndRefill, hub
from distillkit.data.folders import model_folder
from distillkit.data.hub import HubSource
from distillkit.data.sources import LocalSource, expand, parse
from distillkit.errors import ConfigError, TargetsError
from distillkit.evaluation import lm_eval as harness
from distillkit.losses import HardLabelLoss, Loss
from distillkit.models.folders import check_folder
from distillkit.models.vocabularies import same_ids
from distillkit.pipeline import codec_choice
from distillkit.pipeline import run_folder as output
from distillkit.stages import corpus as corpora
from distillkit.students import FromTeacher, PretrainedStudent, ScratchStudent
from distillkit.targets import (
    AutoTargets,
    OnlineTargets,
    StoredTargets,
)
from distillkit.targets.average import no_hidden_states
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.codec import check_outputs as check_distribution
from distillkit.tasks import Task
from distillkit.training.gradients import parameter_groups
from distillkit.training.trainer import check_batch_size

if TYPE_CHECKING:
    from distillkit.pipeline.road import Road

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


def check_optimizer(road: "Road") -> None:
    """Raise `ConfigError` for settings that the optimizer refuses, tried on a small layer."""
    layer = torch.nn.utils.skip_init(torch.nn.Linear, 1, 1)  # draws no random numbers
    try:
        road.optimizer(parameter_groups(layer))
    except (TypeError, ValueError, RuntimeError) as error:
        raise refusal(road.cfg.optimizer, error, key="optimizer") from error


def settled_targets(
    road: "Road", targets: AutoTargets | StoredTargets | OnlineTargets
) -> StoredTargets | OnlineTargets:
    """Where the soft targets come from, chosen where the loss leaves no choice.

    Raises `ConfigError` where a store was asked for that cannot hold what the loss looks at, and
    for what is no loss.
    """
    loss = road.loss
    if not isinstance(loss, Loss):
        raise ConfigError(
            f"loss._target_ = {road.cfg.loss['_target_']}: no loss; a loss is derived from "
            "distillkit.losses.Loss"
        )
    if isinstance(targets, OnlineTargets) or not loss.looks_inside:
        return codec_choice.chosen(road, targets)
    name = type(loss).__name__
    asked = output.overrides().get("targets", "auto")
    asked = "" if asked == "auto" else asked
    wanted = bool(targets.path or asked)
    # the first token's states are as small as logits; those of all tokens are kept when asked for
    if loss.extent == "first" or (loss.extent == "last" and wanted):
        return codec_choice.chosen(road, targets)
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


def check_fit(road: "Road") -> None:
    """What the groups show of each other, before any work."""
    corpora.check_fit(road.data, road.task)
    corpora.check_augmented(road.data, road.augmentation)
    if road.loss.looks_inside:
        if len(road.teacher.members) > 1:
            raise ConfigError(
                f"loss = {type(road.loss).__name__}: looks inside the teacher, and an ensemble has "
                "no one inside; choose teacher=local, or a loss on logits"
            )
        if not reads_alike(road):
            _, student = road.student_tokenizer()
            raise ConfigError(
                f"loss = {type(road.loss).__name__}: compares student and teacher token by token, "
                f"and the student reads with the tokenizer of {student}, the teacher with that of "
                f"{road.teacher.source_name}; set student.tokenizer=null, or choose a loss on "
                "logits"
            )
    check_averaged(road)
    if isinstance(road.loss, HardLabelLoss) and road.given_store:
        raise ConfigError("targets.path: set, but loss=hard_labels looks at no soft targets")
    check_outputs(road.task, road.loss)
    rows = min(road.trainer.batch_size, road.trainer.micro_batch_size or road.trainer.batch_size)
    if road.loss.compares_texts and rows < 2:
        raise ConfigError(
            f"loss = {type(road.loss).__name__}: compares the texts of a micro-batch, and there is "
            "one alone; set trainer.batch_size to 2 or more, and trainer.micro_batch_size too"
        )
    if isinstance(road.targets, StoredTargets) and not road.given_store:
        check_codec(road.task, road.targets.codec)
    if "student" in road.makes and isinstance(road.student, FromTeacher | ScratchStudent):
        road.student.check_is_new()
    if "student" in road.makes and isinstance(road.student, ScratchStudent):
        check_siamese(road.student, road.data)
    check_evaluation(road)
    if road.given_store and not expanded(road.given_store).is_dir():
        raise TargetsError(f"targets.path = {road.given_store}: no such folder")


def reads_alike(road: "Road") -> bool:
    """Whether student and teacher read the same ids: by what their tokenizers do, not by path."""
    key, spec = road.student_tokenizer()
    teacher = road.teacher
    if road.task.one_tokenizer or spec == teacher.source:
        return True
    loaded = [
        road.task.load_tokenizer(
            model_folder(where, key=setting, cache=road.workspace.assets, weights=False),
            key=setting,
            trust_remote_code=road.trust,
        )
        for setting, where in ((key, spec), (teacher.key, teacher.source))
    ]
    return same_ids(*loaded)


def check_averaged(road: "Road") -> None:
    """An ensemble whose average cannot be kept as the codec would."""
    if not isinstance(road.targets, StoredTargets) or road.given_store:
        return
    if len(road.teacher.members) > 1 and road.targets.codec.files:
        raise ConfigError(no_hidden_states(road.targets.codec.name))


def check_siamese(student: ScratchStudent, data: Data) -> None:
    """A student that compares two texts, where the data has one."""
    if student.config.get("siamese") and getattr(data, "text_pair", None) is None:
        raise ConfigError(
            "student.config.siamese = true: it compares the texts of a pair, but data.text_pair is "
            "not set; name its column, or set student.config.siamese=false"
        )


def check_outputs(task: Task, loss: Any) -> None:
    """Raise `ConfigError` where a loss cannot be had from what the task's outputs mean."""
    if task.distribution not in getattr(loss, "takes", (task.distribution,)):
        raise ConfigError(f"loss = {type(loss).__name__}: {UNFIT[task.distribution]}")


def check_least_outputs(road: "Road") -> None:
    """Raise `ConfigError` where a loss has no gradient since there are too few classes."""
    if road.task.family == "language" or not isinstance(road.loss, Loss):
        return
    classes = road.task.width(None, road.corpus.labels)
    if classes < road.loss.least_outputs:
        raise ConfigError(
            f"loss = {type(road.loss).__name__}: learns nothing from {classes} classes, it takes "
            f"{road.loss.least_outputs} or more; choose loss=forward_kl"
        )


def check_codec(task: Task, codec: Codec) -> None:
    """Raise `ConfigError` where a codec cannot keep what the task's models say."""
    name = type(task).__name__
    check_distribution(codec, task.distribution, whose=f"a model of {name}")
    if codec.files and task.family != "language":
        raise ConfigError(
            f"targets.codec = {codec.name}: keeps the last hidden states of language models, and "
            f"of a model of {name} there are logits alone; choose targets=stored"
        )


def check_evaluation(road: "Road") -> None:
    """What is to be measured of language models, before there is one."""
    settings = road.evaluation
    if settings.rouge_examples and (not road.task.generates or isinstance(road.data, Documents)):
        raise ConfigError(
            f"evaluation.rouge_examples = {settings.rouge_examples}: ROUGE-L is of responses to "
            "prompts; it takes data=conversations, or set it to 0"
        )
    if not settings.harness:
        return
    if not road.task.generates:
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


def check_sources(road: "Road") -> None:
    """Sources that are not there, or cannot be models, before any work.

    Of the hub's models their small files are looked at, of its data sets whether they are there.
    """
    for role, spec in road.data.sources.items():
        key = f"data.{role}"
        for item in expand(spec, key=key):
            source = parse(item, key=key)
            if isinstance(source, HubSource):
                hub.commit(source, key=key, spec=item, repo_type="dataset")
    asked = road.loss.needs_teacher or road.student_tokenizer()[0].startswith("teacher")
    models = [(it.key, it.source) for it in road.teacher.members if asked or it.is_ready]
    if isinstance(road.student, PretrainedStudent):
        models.append(("student.path", road.student.path))
    if isinstance(road.augmentation, MaskAndRefill):
        models.append(("augmentation.model", road.augmentation.model))
    for key, spec in models:
        source = parse(spec, key=key)
        if isinstance(source, HubSource):
            folder = hub.model_files(source, key=key, spec=spec, weights=False)
            check_folder(folder, key=key, weights=False)
        elif isinstance(source, LocalSource) and source.path.suffix != ".gguf":
            check_folder(str(source.path), key=key)


def check_batches(road: "Road") -> None:
    """Batches that the data cannot fill, before the teacher is fitted or asked.

    Documents are cut into windows and packed: how many there are is known when they are.
    """
    if road.task.family == "language":
        return
    examples = road.labelled.facts()["counts"]["train"]
    if not road.teacher.is_ready:
        check_batch_size(road.teacher.batch_size, examples, key="teacher.batch_size")
    if road.transfer:
        examples += road.transfer.facts()["counts"]["transfer"]
    if "student" in road.makes:
        check_batch_size(road.trainer.batch_size, examples, key="trainer.batch_size")
