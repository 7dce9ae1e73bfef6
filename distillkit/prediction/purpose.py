"""What a student's folder is for: its task, its labels, the columns that it was trained on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from glob import glob
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from distillkit.console.progress import say
from distillkit.console.wording import brief, listed
from distillkit.errors import ModelError
from distillkit.models.folders import check_folder
from distillkit.tasks import (
    Classification,
    MultiLabel,
    QuestionAnswering,
    Regression,
    SequenceTask,
    TokenClassification,
)
from distillkit.types import LabelSpace

RECORD, MANIFEST, CONFIG = "distillkit.json", "manifest.json", "config.json"
INSIDE = ("student", "model")  # where a report, and an artifact, have the student
HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
WRITES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "DoubleHeadsModel")
OF_PROBLEM: dict[str | None, type[SequenceTask]] = {
    "regression": Regression,
    "multi_label_classification": MultiLabel,
}
CLASSES: dict[str, type[SequenceTask]] = {
    it.__name__: it
    for it in (Classification, MultiLabel, QuestionAnswering, Regression, TokenClassification)
}
COLUMNS = ("text", "text_pair", "question", "context", "tokens", "prompt", "messages")  # of data
OF_SCORES = ("headline", "class_weights", "entities")  # settings that play no part here
USUAL_LENGTH = 512  # tokens, where nothing says how long a text may be


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a student predicts: `columns` (text, text_pair, …) are those of its training data.

    `file_columns` are the names that the columns of its files had there, in their order.
    """

    task: SequenceTask
    labels: LabelSpace
    columns: dict[str, str] = field(default_factory=dict)
    file_columns: tuple[str, ...] = ()


def newest(spec: str) -> str:
    """The last, by name, of the folders that a pattern stands for, as outputs/run/*/student.

    What is no pattern, or matches none, stays as it is. Which one was taken is said.
    """
    if Path(spec).exists() or not any(mark in spec for mark in "*?["):
        return spec
    candidates = sorted(path for path in glob(spec) if Path(path).is_dir())  # noqa: PTH207
    if candidates:
        say(f"student.path = {spec}: {candidates[-1]}")
    return candidates[-1] if candidates else spec


def student_folder(folder: str) -> str:
    """The folder itself, or the student in it where it is a report's or an artifact's.

    Of a folder with a GGUF file, and no other weights, it is the file.
    """
    path = Path(folder)
    if not path.is_dir():
        return folder
    inner = [path / name for name in INSIDE if _is_student(path / name)]
    path = inner[0] if inner and not (path / CONFIG).is_file() else path
    files = [] if any(path.glob("*.safetensors")) else [*path.glob("*.gguf")]
    return str(files[0]) if len(files) == 1 else str(path) if inner else folder


def _is_student(path: Path) -> bool:
    return (path / CONFIG).is_file() or any(path.glob("*.gguf"))


def has_other_names(folder: str, names: Sequence[str]) -> bool:
    """Whether the outputs of a folder's model have none of these names, in whatever case."""
    own = _json(Path(folder) / CONFIG).get("id2label")
    own_names = own.values() if isinstance(own, dict) else ()
    folded = {str(name).strip().casefold() for name in own_names}
    return folded.isdisjoint(name.casefold() for name in names)


def is_language_model(folder: str) -> bool:
    """Whether what a folder or file holds writes text, and predicts no labels."""
    path = Path(folder)
    if path.suffix == ".gguf" or (not (path / CONFIG).is_file() and any(path.glob("*.gguf"))):
        return True
    config = _json(path / CONFIG)
    return _architecture(config).endswith(WRITES) and not config.get("is_encoder_decoder")


def check_writes(folder: str, *, key: str) -> None:
    """Raise `ModelError` where a folder's model is known to be no causal language model."""
    path = Path(folder)
    if is_language_model(folder) or not (path / CONFIG).is_file():
        check_folder(folder, key=key, weights=False)
        return
    name = _architecture(_json(path / CONFIG)) or "a model without an architecture"
    predicts = any(head in name for head in HEADS)
    way = f"; `distillkit predict student.path={folder}` predicts with it" if predicts else ""
    raise ModelError(f"{key} = {folder}: {name} is no causal language model{way}")


def purpose_of(
    folder: str, *, key: str, settings: Mapping[str, Any], labels: list[str] | None = None
) -> Purpose:
    """What the student of a folder is for; `settings` are the task's that a user gives.

    `labels` names its outputs where its own config does not. Raises `ModelError` for what predicts
    no labels, before any weight is read.
    """
    at = f"{key} = {folder}"
    if is_language_model(folder):
        raise ModelError(
            f"{at}: a language model, which writes text and predicts no labels; `distillkit "
            f'generate student.path={folder} --prompt "…"` has it write'
        )
    check_folder(folder, key=key, weights=False)
    config = _json(Path(folder) / CONFIG)
    kind = _task_of(config, at)
    recorded = read_record(Path(folder))
    settings_of_task = _usable(kind, recorded.get("task") or {}) | dict(settings)
    names = {it.name for it in fields(kind)} - {*OF_SCORES}
    unknown = next((name for name in settings if name not in names), None)
    if unknown is not None:
        raise ModelError(
            f"task.{unknown}: {at} is for {_words(kind)}, which takes {listed(sorted(names))}"
        )
    if "max_length" not in settings_of_task:
        settings_of_task["max_length"] = _longest(Path(folder), config)
        if issubclass(kind, QuestionAnswering) and "stride" not in settings_of_task:
            settings_of_task["stride"] = min(kind.stride, settings_of_task["max_length"] // 3)
    if issubclass(kind, TokenClassification):
        settings_of_task["entities"] = False  # how they are scored plays no part here
    columns = recorded.get("columns")
    named = columns if isinstance(columns, dict) else {}
    space = _labels(kind, config, labels, at)
    file_columns = recorded.get("file_columns")
    return Purpose(
        kind(**settings_of_task),
        space,
        {str(k): str(v) for k, v in named.items() if v},
        tuple(map(str, file_columns)) if isinstance(file_columns, list) else (),
    )


def record_of(task: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """What a student's folder records: its task's settings, and the columns it was trained on."""
    columns = {name: data[name] for name in COLUMNS if isinstance(data.get(name), str)}
    template = data.get("template")
    extra: dict[str, Any] = {"template": template} if isinstance(template, str) else {}
    if data.get("columns"):  # of a column file, or of a table without a header
        extra["file_columns"] = list(data["columns"])
    return {"task": dict(task), "columns": columns, **extra}


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def _task_of(config: Mapping[str, Any], at: str) -> type[SequenceTask]:
    name = _architecture(config)
    if "ForSequenceClassification" in name:
        outputs = len(config.get("id2label") or ()) or config.get("num_labels")
        kind = config.get("problem_type") or ("regression" if outputs == 1 else None)
        return OF_PROBLEM.get(kind, Classification)
    if "ForTokenClassification" in name:
        return TokenClassification
    if "ForQuestionAnswering" in name:
        return QuestionAnswering
    if name.endswith(("ForMaskedLM", "ForPreTraining")):
        kind_of_model = f"a masked language model ({name}), which fills gaps and predicts no labels"
    elif name:
        kind_of_model = f"{name} has no head that predicts labels"
    else:
        kind_of_model = "its config.json names no architecture"
    raise ModelError(
        f"{at}: {kind_of_model}; a student of `distillkit train` has one, as has any "
        "AutoModelForSequenceClassification, …TokenClassification or …QuestionAnswering"
    )


def _labels(
    kind: type[SequenceTask], config: Mapping[str, Any], listed_names: list[str] | None, at: str
) -> LabelSpace:
    if issubclass(kind, QuestionAnswering):
        return LabelSpace(("start", "end"))
    if issubclass(kind, Regression):
        return LabelSpace(())
    names = config.get("id2label")
    own = names if isinstance(names, dict) and names else {0: "LABEL_0", 1: "LABEL_1"}
    count = len(own)
    if listed_names and len(listed_names) != count:
        raise ModelError(
            f"student.labels = [{listed(listed_names)}]: {len(listed_names)} names, and {at} has "
            f"{count} outputs ([{listed(own.values())}]); name each, in its order"
        )
    candidates = listed_names or [
        str(own.get(str(i), own.get(i, f"LABEL_{i}"))) for i in range(count)
    ]
    return LabelSpace(tuple(candidates))


def read_record(folder: Path) -> dict[str, Any]:
    """What the folder, or the artifact that it stands in, records of its training."""
    folder = folder.parent if folder.suffix == ".gguf" else folder
    own = _json(folder / RECORD)
    if own or folder.name not in INSIDE:
        return own
    inputs = _json(folder.parent / MANIFEST).get("inputs")
    return {"task": inputs} if isinstance(inputs, dict) else {}


def _usable(kind: type[SequenceTask], listed_names: Any) -> dict[str, Any]:
    """The settings of a task among those recorded: of its fields, and of their types."""
    types = get_type_hints(kind, include_extras=True)
    candidates = {}
    for it in fields(kind) if isinstance(listed_names, dict) else ():
        if it.name not in listed_names or it.name in OF_SCORES:
            continue
        adapter = TypeAdapter(types[it.name], config=ConfigDict(strict=True))
        try:
            candidates[it.name] = adapter.validate_python(listed_names[it.name])
        except ValidationError:
            say(
                f"{RECORD}: its task.{it.name} is none ({brief(listed_names[it.name], 60)}); left "
                "out"
            )
    return candidates


def _longest(folder: Path, config: Mapping[str, Any]) -> int:
    """The most tokens of a text: what its tokenizer says, within the positions that it has."""
    listed_names = _json(folder / "tokenizer_config.json").get("model_max_length")
    positions = config.get("max_position_embeddings")
    own = (
        int(listed_names)
        if isinstance(listed_names, (int, float)) and 0 < listed_names < 1e6
        else USUAL_LENGTH
    )
    limit = positions if isinstance(positions, int) and positions > 0 else own
    # RoBERTa's kind counts positions from the padding's id on
    first = int(config.get("pad_token_id") or 0) + 1 if own >= limit else 0
    return max(1, min(own, limit - (first if first > 1 else 0)))


def _words(kind: type[SequenceTask]) -> str:
    return kind.pipeline if kind is not Regression else "regression"


def _json(file: Path) -> dict[str, Any]:
    try:
        candidates = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        return {}
    return candidates if isinstance(candidates, dict) else {}
