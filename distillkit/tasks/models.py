"""Sequence classifiers in Hugging Face format: loaded safely, quietly, labels matched."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.errors import ModelError
from distillkit.records import LabelSpace

PICKLED = ("pytorch_model.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A trained classifier, not yet loaded.

    `folder` is a folder or hub id; `key` the setting it came from, for messages; `labels` names
    its outputs, in their order, where its own config does not.
    """

    folder: str
    key: str
    labels: list[str] | None = None
    trust_remote_code: bool = False

    def load(self, space: LabelSpace, *, problem_type: str) -> tuple[Any, Any, np.ndarray]:
        """(model in eval mode, tokenizer, where each of the data's labels stands in its output)."""
        model = load_classifier(
            self.folder,
            space,
            key=self.key,
            problem_type=problem_type,
            fresh_head=False,
            trust_remote_code=self.trust_remote_code,
        )
        order = label_order(model, space, key=f"{self.key} = {self.folder}", given=self.labels)
        tokenizer = load_tokenizer(
            self.folder, key=self.key, trust_remote_code=self.trust_remote_code
        )
        return model.eval(), tokenizer, order


def check_folder(folder: str, *, key: str) -> None:
    """Raise `ModelError` if a local model folder lacks a config or holds pickled weights only."""
    path = Path(folder)
    if not path.is_dir():
        return
    if not (path / "config.json").is_file():
        raise ModelError(
            f"{key} = {folder}: no config.json in it; it must be a Hugging Face model folder"
        )
    if not any(path.glob("*.safetensors")):
        pickled = sorted(p.name for pattern in PICKLED for p in path.glob(pattern))
        if pickled:
            raise ModelError(
                f"{key} = {folder}: its weights are pickled ({pickled[0]}), and unpickling runs "
                "code; save them as safetensors first (model.save_pretrained does)"
            )
        raise ModelError(f"{key} = {folder}: no *.safetensors in it")


def load_tokenizer(folder: str, *, key: str, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a folder or hub id."""
    from transformers import AutoTokenizer

    with _quiet(), _one_line(key, folder, "tokenizer"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)


def load_classifier(
    folder: str,
    labels: LabelSpace,
    *,
    key: str,
    problem_type: str,
    fresh_head: bool,
    trust_remote_code: bool = False,
) -> Any:
    """The classifier of a folder or hub id, in float32.

    With `fresh_head` the body is taken and a new head made for `labels` (seed torch before).
    Without, the head is kept as it is: `label_order` tells how its classes stand to the data's.
    """
    from transformers import AutoModelForSequenceClassification

    check_folder(folder, key=key)
    options: dict[str, Any] = {"dtype": "float32", "use_safetensors": True}
    if fresh_head:
        options |= head_options(labels, problem_type) | {"ignore_mismatched_sizes": True}
    with _quiet(), _one_line(key, folder, "model"):
        return AutoModelForSequenceClassification.from_pretrained(
            folder, trust_remote_code=trust_remote_code, **options
        )


def new_classifier(
    config: dict[str, Any], labels: LabelSpace, tokenizer: Any, *, key: str, problem_type: str
) -> Any:
    """A classifier of any transformers config, with new weights (seed torch before)."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    shape = dict(config)
    model_type = shape.pop("model_type", None)
    if not model_type:
        raise ModelError(f"{key}.model_type: not set; it names the architecture, as in `bert`")
    shape.setdefault("vocab_size", len(tokenizer))
    shape.setdefault("pad_token_id", tokenizer.pad_token_id)
    if shape["vocab_size"] < len(tokenizer):
        raise ModelError(
            f"{key}.vocab_size = {shape['vocab_size']}: the tokenizer has {len(tokenizer)} tokens"
        )
    with _quiet(), _one_line(key, model_type, "config"):
        made = AutoConfig.for_model(model_type, **shape, **head_options(labels, problem_type))
        return AutoModelForSequenceClassification.from_config(made)


def save_classifier(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model folder in Hugging Face format, as safetensors."""
    with _quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def head_options(labels: LabelSpace, problem_type: str) -> dict[str, Any]:
    """The config fields that name a head's classes."""
    if not labels.names:
        return {"num_labels": 1, "problem_type": problem_type}
    return {
        "num_labels": labels.outputs,
        "id2label": dict(enumerate(labels.names)),
        "label2id": {name: i for i, name in enumerate(labels.names)},
        "problem_type": problem_type,
    }


def label_order(
    model: Any, labels: LabelSpace, *, key: str, given: list[str] | None = None
) -> np.ndarray:
    """Where each label of the data stands among the model's outputs, [classes].

    Matched by name (`given` names the model's outputs where its config does not), never by
    position; LABEL_i is the number i. Raises `ModelError` that names both sets.
    """
    outputs = int(model.config.num_labels)
    if not labels.names:
        if outputs != 1:
            raise ModelError(f"{key}: it has {outputs} outputs, but the label is one real value")
        return np.zeros(1, np.int64)
    theirs = given or [str(model.config.id2label[i]) for i in range(outputs)]
    places = {name.casefold(): i for i, name in enumerate(theirs)}
    if labels.numeric and all(name.startswith("LABEL_") for name in theirs):
        places = {name.casefold(): i for i, name in enumerate(labels.names)}
    if len(theirs) == outputs == labels.outputs and {n.casefold() for n in labels.names} == set(
        places
    ):
        return np.array([places[name.casefold()] for name in labels.names], np.int64)
    raise ModelError(
        f"{key}: its labels are {_some(theirs)}, but the data's are {_some(list(labels.names))}; "
        "name its outputs in their order with teacher.labels=[…], or the data's with "
        "data.label_names=[…]"
    )


def _some(names: list[str], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return f"[{shown}, … {len(names)} in all]" if len(names) > most else f"[{shown}]"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' load report and bars off the terminal: a new head is no news here."""
    from transformers.utils import logging as hf_logging

    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


@contextlib.contextmanager
def _one_line(key: str, what: str, part: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{key} = {what}: its {part} cannot be made ready ({reason})") from error
