"""What the models of a run show to be wrong, before anything is trained."""

import json
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from distillkit.artifacts.workspace import read_json
from distillkit.compression.checks import formats_of
from distillkit.compression.fake_quantization import check_quantizable
from distillkit.compression.gguf_architectures import architecture_of
from distillkit.compression.gguf_tokenizer import word_splitting
from distillkit.compression.onnx_export import check_architecture
from distillkit.compression.tokenizer_pruning import content_of, spells_everything
from distillkit.console.progress import say
from distillkit.data.folders import model_folder
from distillkit.errors import ConfigError, DataError, ModelError
from distillkit.evaluation.responses import check_room
from distillkit.models import adapters
from distillkit.models.classifiers import output_order
from distillkit.models.configs import check_positions, config_of
from distillkit.models.execution import executing
from distillkit.models.hardware import Machine, main_memory
from distillkit.models.sizes import check_memory
from distillkit.models.vocabularies import (
    check_reads_back,
    check_same_tokenizer,
    real_vocabulary,
    same_ids,
)
from distillkit.pipeline import tokenizers
from distillkit.pipeline.checks import check_least_outputs
from distillkit.pipeline.meta_models import MetaModels
from distillkit.pipeline.run import Run

MOST_TRIED = 300_000_000  # parameters of a student that is made once more, to be tried


def check_models(run: Run, *, memory: float | None = None) -> None:
    """All checks of the models of a run that trains a student; see `check_shapes`."""
    check_shapes(run, memory=memory)
    check_adapter(run)
    check_tokenizers(run)
    check_gguf(run)
    check_onnx(run)
    check_pruning(run)
    check_distilled(run)
    check_layers(run)


def check_adapter(run: Run) -> None:
    """Raise `ConfigError` for an adapter that the student cannot have, or that PEFT is not for."""
    student: Any = run.context.student
    if student.adapter_fields():
        adapters.check_installed("student.adapter = lora")
        adapters.check_targets(MetaModels(run.context, run.text).student, student.lora.targets)


def check_tokenizers(run: Run) -> None:
    """Say in what the student's own tokenizer differs from the teacher's, with which it learns.

    Raises `ModelError` where their ids do not mean the same.
    """
    context = run.context
    key, spec = tokenizers.student_source(context)
    teacher_key, teacher_spec = context.teacher.key, context.teacher.source
    if context.before or tokenizers.learning_source(context) == (key, spec) or spec == teacher_spec:
        return
    if not (context.task.one_tokenizer and context.loss.needs_teacher):
        return
    own = tokenizers.load(context, key, spec)
    teacher = tokenizers.load(context, teacher_key, teacher_spec)
    check_same_tokenizer(own, teacher, key=f"{key} = {spec}")
    folder = model_folder(spec, key=key, cache=context.workspace.assets, weights=False)
    config = Path(folder) / "config.json"
    if config.is_file() and not same_ids(own, teacher):
        architecture = str(read_json(config).get("model_type"))
        check_reads_back(architecture, teacher, key=f"{key} = {spec}: its model_type")
    reads_chats = run.text.corpus.holds_messages
    differences = tokenizers.differences(own, teacher, reads_chats=reads_chats)
    if differences:
        say(
            "student: reads, and is saved with, the teacher's tokenizer; its own differs in "
            + "; ".join(differences)
        )


def check_gguf(run: Run) -> None:
    """Raise `ModelError` for a student that is to be a GGUF file, and cannot be written as one."""
    context = run.context
    name = next((it.name for it in formats_of(context.cfg) if it.name.startswith("gguf")), None)
    if name is None:
        return
    at = f"compression = {name}: the student"
    tokenizer = tokenizers.load(context, *tokenizers.learning_source(context))
    word_splitting(json.loads(tokenizer.backend_tokenizer.to_str()), at=at)
    architecture_of(MetaModels(context, run.text).student.config, at=at)


def check_pruning(run: Run) -> None:
    """Raise `ModelError` for a student whose vocabulary is to be pruned, and cannot be."""
    context = run.context
    name = next((form.name for form in formats_of(context.cfg) if form.reads_data), None)
    if name is None:
        return
    tokenizer = tokenizers.load(context, *tokenizers.learning_source(context))
    content = content_of(tokenizer, at=f"compression = {name}: the student")
    if context.task.family == "language" and not spells_everything(content):
        raise ConfigError(
            f"compression = {name}: a language model's row is of the same text as the others', and "
            "its tokenizer has no bytes to spell all of it; leave it out, and then `distillkit "
            f"compress` with compression=[{name}]"
        )


def check_distilled(run: Run) -> None:
    """Raise `ModelError` for a student that is to be trained in int8, and cannot be."""
    name = next((form.name for form in formats_of(run.context.cfg) if form.distilled), None)
    if name is not None:
        student = MetaModels(run.context, run.text).student
        check_quantizable(student, at=f"compression = {name}: the student")


def check_onnx(run: Run) -> None:
    """Raise `ModelError` for a student that is to be an ONNX file, and cannot be exported."""
    name = next((it.name for it in formats_of(run.context.cfg) if it.name.startswith("onnx")), None)
    if name is not None:
        config = MetaModels(run.context, run.text).student.config
        check_architecture(config, at=f"compression = {name}: the student")


def check_layers(run: Run) -> None:
    """Say which layers learn from which; raises `ConfigError` for what the models do not have.

    Nothing happens if the student is there already, or if the loss looks at logits alone.
    """
    if not run.context.loss.needs_activations or run.students.find(run.students.student):
        return
    for term, drawing in run.activations.bound_loss().drawings.items():
        say(f"{term}: layers of the student under those of the teacher\n{drawing}")


def check_shapes(run: Run, *, student: bool = True, memory: float | None = None) -> None:
    """Raise for what models without weights show: positions, layers, widths, heads, the codec's k.

    A student of new weights must fit into `memory` (bytes; None: this machine's).
    With `student`, one that is yet to be made is made once and tried: whether a text's answer
    changes with the texts beside it shows in no config.
    """
    models, context = MetaModels(run.context, run.text), run.context
    _check_labels(run)
    is_described = False
    with suppress(
        ModelError, DataError
    ):  # what cannot be described says what is wrong when it is loaded
        _check_teachers(run, models)
        is_described = True
    if is_described and context.task.family == "language" and context.loss.needs_teacher:
        for member, model in zip(run.teachers.members, models.teachers, strict=True):
            _check_rows(model, member.tokenizer(), key=f"{member.key} = {member.source}")
    _check_codec(run)
    if student:
        check_least_outputs(context, run.text)
    if not student or context.before:
        return
    is_new = context.student.weights_source is None  # else loading it says what is wrong
    must_be = is_described if context.student.is_cut else is_new
    if key := context.student.size_key:
        check_memory(models.student.num_parameters(), memory or _memory(), key=key)
    with nullcontext() if must_be else suppress(ModelError):
        check_positions(models.student, context.task.max_length, owner="the student")
        with executing(models.student, replace(context.trainer, compile=False)):
            pass  # its architecture takes the settings
        _check_room(run, models.student, owner="the student")
    if is_described:
        _try_cut(run, models)
    if context.task.family == "sequence":
        _try_student(run, models)


def _check_teachers(run: Run, models: MetaModels) -> None:
    """That each teacher reads texts of the task's length, and has room for responses."""
    context = run.context
    for member, model in zip(context.teacher.members, models.teachers, strict=True):
        if context.loss.needs_teacher:
            owner = f"the teacher ({member.key} = {member.source})"
            check_positions(model, context.task.max_length, owner=owner)
        _check_room(run, model, owner="the teacher")


def _check_rows(model: Any, tokenizer: Any, *, key: str) -> None:
    """Raise `ModelError` where a language model has no rows for some tokens of its tokenizer."""
    rows = int(getattr(model.config.get_text_config(decoder=True), "vocab_size", 0) or 0)
    size = real_vocabulary(tokenizer)
    if rows and size > rows:
        raise ModelError(
            f"{key}: its tokenizer has ids up to {size - 1:,}, and the model {rows:,} rows; the "
            "two do not belong together, or the embeddings were not resized for added tokens "
            "(model.resize_token_embeddings)"
        )


def _check_labels(run: Run) -> None:
    """Raise `ModelError` where the outputs of a ready teacher are not the labels of the data."""
    context, task = run.context, run.context.task
    if not (task.family == "sequence" and context.loss.needs_teacher) or (
        task.distribution == "choice"
    ):
        return
    for teacher in context.teacher.members:
        if teacher.is_ready:
            folder = model_folder(
                teacher.source, key=teacher.key, cache=context.workspace.assets, weights=False
            )
            trust = context.trust_remote_code
            config = config_of(folder, key=teacher.key, trust_remote_code=trust)
            at, names = f"{teacher.key} = {teacher.source}", teacher.labels
            output_order(config, run.text.corpus.labels, key=at, output_names=names, silent=True)


def _memory() -> float:
    """The machine's memory in bytes, or an accelerator's that is larger."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return max(main_memory(), Machine(device).memory)


def _check_room(run: Run, model: Any, *, owner: str) -> None:
    """That responses fit into what a model reads, where the run ends with an evaluation."""
    context = run.context
    if context.task.generates and (not context.makes or "control" in context.makes):
        check_room(model, context.evaluation, owner=owner)


def _check_codec(run: Run) -> None:
    context = run.context
    if context.stores_targets and not context.given_store:
        tokenizer = run.teachers.members[0].tokenizer()
        context.store_settings.codec.check(context.task.width(tokenizer, run.text.corpus.labels))


def _try_cut(run: Run, models: MetaModels) -> None:
    """Try what is cut out of a teacher on new weights, which show if layers hang on their place."""
    student, initial = run.context.student, run.students.initial
    if initial is None or run.students.find(initial):
        return
    if models.teacher.num_parameters() <= MOST_TRIED:
        with torch.random.fork_rng(devices=[]):
            student.try_cut(models.teacher, models.new_teacher)


def _try_student(run: Run, models: MetaModels) -> None:
    """Raise for a student whose outputs for a text change with the padding of its batch."""
    context, student = run.context, run.context.student
    if student.is_cut or run.students.find(run.students.student):
        return  # an architecture that its teacher is tried with, or a student that is there
    loads = student.weights_source is not None and bool(context.makes)  # a plan loads no weights
    if not loads and models.student.num_parameters() > MOST_TRIED:
        return
    made_of = models.student_context(models.new_teacher, weights=loads)
    with torch.random.fork_rng(devices=[]):
        model = student.trial_model(made_of, weights=loads)
        context.task.agree_on_padding(model, models.tokenizer, key=student.label)
