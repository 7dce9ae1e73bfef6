"""What configs show of teacher and student to be wrong, before any text is tokenised."""

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import torch

from distillkit.data.folders import model_folder
from distillkit.errors import DataError, ModelError
from distillkit.evaluation.responses import check_room
from distillkit.models.classifiers import output_order
from distillkit.models.configs import check_config, check_positions, config_of
from distillkit.models.folders import check_tokenizer_files
from distillkit.models.hardware import Machine, main_memory
from distillkit.models.sizes import check_memory
from distillkit.models.vocabularies import real_vocabulary
from distillkit.pipeline.checks import check_least_outputs
from distillkit.pipeline.meta_models import Outlines
from distillkit.students import FromTeacher, PretrainedStudent, ScratchStudent
from distillkit.students.from_teacher import may_depend_on_place, try_cut
from distillkit.targets import StoredTargets
from distillkit.tasks import SequenceTask

if TYPE_CHECKING:
    from distillkit.pipeline.road import Road

MOST_TRIED = 300_000_000  # parameters of a student that is made once more, to be tried


def check_configs(road: "Road") -> None:
    """Raise `ModelError` for a teacher or student of an architecture that the task cannot take.

    Of the models that this command is to load: their folders are looked at, and no weights.
    """
    auto_class = road.task.auto_class
    for key, spec in _sources(road):
        folder = model_folder(spec, key=key, cache=road.workspace.assets, weights=False)
        check_tokenizer_files(folder, key=key)
        if key != "student.tokenizer":
            config = config_of(folder, key=key, trust_remote_code=road.trust)
            check_config(config, auto_class, key=f"{key} = {spec}")


def _sources(road: "Road") -> list[tuple[str, str]]:
    """(setting, source) of the models and tokenizers that are to be loaded."""
    found = []
    asks = {"teacher", "targets"} & {*road.makes} and road.loss.needs_teacher
    if asks or isinstance(road.student, FromTeacher):
        found += [(member.key, member.source) for member in road.teacher.members]
    if "student" in road.makes and not road.before:
        if isinstance(road.student, PretrainedStudent):
            found.append(("student.path", road.student.path))
        elif isinstance(road.student, ScratchStudent) and road.student.tokenizer:
            found.append(("student.tokenizer", road.student.tokenizer))
    return found


def check_shapes(road: "Road", *, student: bool = True, memory: float | None = None) -> None:
    """Raise for what models without weights show: positions, layers, widths, heads, the codec's k.

    A student of new weights must fit into `memory` (bytes; None: this machine's).
    With `student`, one that is yet to be made is made once and tried: whether a text's answer
    changes with the texts beside it shows in no config.
    """
    outlines, longest = Outlines(road), road.task.max_length
    _check_labels(road)
    is_described = False
    with suppress(
        ModelError, DataError
    ):  # what cannot be described says what is wrong when it is loaded
        for member, model in zip(road.teachers, outlines.teachers, strict=True):
            if road.loss.needs_teacher:
                whose = f"the teacher ({member.key} = {member.source})"
                check_positions(model, longest, whose=whose)
            _check_room(road, model, whose="the teacher")
        is_described = True
    if is_described and road.task.family == "language" and road.loss.needs_teacher:
        for member, model in zip(road.teachers, outlines.teachers, strict=True):
            _check_rows(model, member.tokenizer(), key=f"{member.key} = {member.source}")
    _check_codec(road)
    if student:
        check_least_outputs(road)
    if not student or road.before:
        return
    must_be = is_described if isinstance(road.student, FromTeacher) else _is_new(road)
    if isinstance(road.student, ScratchStudent):
        check_memory(outlines.student.num_parameters(), memory or _memory(), key="student.config")
    with nullcontext() if must_be else suppress(ModelError):
        check_positions(outlines.student, longest, whose="the student")
        _check_room(road, outlines.student, whose="the student")
    if is_described:
        _try_cut(road, outlines)
    if road.task.family == "sequence":
        _try_student(road, outlines)


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


def _check_labels(road: "Road") -> None:
    """Raise `ModelError` where the outputs of a ready teacher are not the labels of the data."""
    task = road.task
    if not (isinstance(task, SequenceTask) and road.loss.needs_teacher) or (
        task.distribution == "choice"
    ):
        return
    for member in road.teachers:
        if member.teacher.is_ready:
            folder = model_folder(
                member.source, key=member.key, cache=road.workspace.assets, weights=False
            )
            config = config_of(folder, key=member.key, trust_remote_code=road.trust)
            at, given = f"{member.key} = {member.source}", member.teacher.labels
            output_order(config, road.corpus.labels, key=at, given=given, silent=True)


def _memory() -> float:
    """The machine's memory in bytes, or an accelerator's that is larger."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return max(main_memory(), Machine(device).memory)


def _check_room(road: "Road", model: Any, *, whose: str) -> None:
    """That responses fit into what a model reads, where the run ends with an evaluation."""
    if road.task.generates and (not road.makes or "control" in road.makes):
        check_room(model, road.evaluation, whose=whose)


def _is_new(road: "Road") -> bool:
    return isinstance(road.student, ScratchStudent)


def _check_codec(road: "Road") -> None:
    targets = road.targets
    if road.keeps_targets and isinstance(targets, StoredTargets) and not road.given_store:
        member = road.teachers[0]
        width = road.task.width(member.tokenizer(), road.corpus.labels)
        targets.codec.check(width)


def _try_cut(road: "Road", outlines: Outlines) -> None:
    """Try what is cut out of a teacher on new weights, which show if layers hang on their place."""
    student, role = road.student, road.untrained_role
    if not isinstance(student, FromTeacher) or role is None or road.find(role):
        return
    teacher = outlines.teacher
    if teacher.num_parameters() <= MOST_TRIED and may_depend_on_place(student, teacher):
        with torch.random.fork_rng(devices=[]):
            try_cut(student, outlines.new_teacher())


def _try_student(road: "Road", outlines: Outlines) -> None:
    student: Any = road.student
    labels = road.corpus.labels
    if isinstance(student, FromTeacher) or road.find(road.student_role):
        return  # an architecture that its teacher is tried with, or a student that is there
    loads = isinstance(student, PretrainedStudent) and bool(road.makes)  # a plan loads no weights
    if not loads and outlines.student.num_parameters() > MOST_TRIED:
        return
    key, spec = road.student_tokenizer()
    tokenizer = outlines.tokenizer
    with torch.random.fork_rng(devices=[]):
        if isinstance(student, PretrainedStudent) and not loads:
            model, at = outlines.pretrained(device="cpu"), f"{key} = {spec}"
        elif isinstance(student, PretrainedStudent):
            folder = model_folder(spec, key=key, cache=road.workspace.assets)
            model = road.task.load_body(folder, labels, key=key, trust_remote_code=road.trust)
            at = f"{key} = {spec}"
        else:
            model = road.task.new_model(student.config, labels, tokenizer, key="student.config")
            at = f"student.config.model_type = {student.config['model_type']}"
        road.task.agree_on_padding(model, tokenizer, key=at)
