"""Every architecture of transformers that reads text: it does what it should, or is refused.

A few run by default, all with `-m slow`. A new student of each says of a padded text what it says
of it alone; a packed row is told from one that leaks; a student with fewer layers runs, and plain
transformers reads it as it was saved. What cannot be is a `ModelError` in one line.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from distillkit.errors import ConfigError, ModelError
from distillkit.models.packing import keeps_packed_apart
from distillkit.students.from_teacher import (
    FromTeacher,
    make,
    may_depend_on_place,
    outline,
    try_cut,
)
from distillkit.tasks import CausalLM, Classification
from distillkit.types import LabelSpace
from tests.unit.models.tiny_configs import is_of_text, tiny_config
from tests.unit.models.tiny_lms import byte_tokenizer

MOST = 20_000_000  # parameters of what is tried: some defaults have sizes of other names
CLOSE = 1e-5  # of the largest logit
SLIGHT = 0.02  # where `agree_on_padding` says so: convolutions that reach into the padding
LABELS = LabelSpace(("a", "b", "c"))
USUAL = {
    "AutoModelForCausalLM": ("llama", "qwen3_moe", "gemma3_text", "falcon_h1", "bart", "bert"),
    "AutoModelForSequenceClassification": ("bert", "modernbert", "gpt2", "opt", "fnet", "t5"),
}


def model_types(auto_class: str) -> list[Any]:
    """All that transformers has such a head for, the unusual ones with `-m slow`."""
    from transformers.models.auto import modeling_auto as tables

    causal = tables.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    of_texts = tables.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    names, usual = causal if "Causal" in auto_class else of_texts, USUAL[auto_class]
    return [pytest.param(k, marks=[] if k in usual else pytest.mark.slow) for k in sorted(names)]


def new(task: Any, kind: str, tokenizer: Any) -> Any:
    """A student of new weights; None where it is refused in one line, or too large to be tried."""
    config = {"model_type": kind, **(tiny_config(kind) if is_of_text(kind) else {})}
    try:
        with torch.device("meta"):
            outlined = task.new_model(config, LABELS, tokenizer, key="student.config")
        if outlined.num_parameters() > MOST:
            pytest.skip(f"{outlined.num_parameters():,} parameters")
        torch.manual_seed(0)
        made = task.new_model(config, LABELS, tokenizer, key="student.config").eval()
        task.agree_on_padding(made, tokenizer, key=f"student.config.model_type = {kind}")
    except ModelError as error:
        assert kind in str(error) and "\n" not in str(error) and len(str(error)) < 600
        return None
    return made


def gap(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-9))


def ids(length: int, seed: int) -> Tensor:
    return torch.randint(3, 80, (1, length), generator=torch.Generator().manual_seed(seed))


def fault(work: Any) -> str:
    """What is refused; "": nothing."""
    try:
        work()
    except (ModelError, ConfigError) as error:
        return str(error)
    return ""


def check_cut_early(model: Any, layers: int) -> None:
    """What is refused of a cut is refused of shapes and new weights, as of the model's own."""
    student = FromTeacher(layers=layers)
    with torch.device("meta"):
        shapes = type(model)(model.config)
    early = fault(lambda: outline(student, shapes))
    if not early and may_depend_on_place(student, shapes):
        torch.manual_seed(1)
        early = fault(lambda: try_cut(student, type(model)(model.config)))
    assert early == fault(lambda: make(student, model, ()))


def check_saved(task: Any, model: Any, tokenizer: Any, inputs: dict[str, Any], out: Path) -> None:
    """Plain transformers says what the model says, and what one of fewer layers says."""
    import transformers

    auto = getattr(transformers, task.auto_class)
    try:
        layers = max(1, model.config.get_text_config(decoder=True).num_hidden_layers // 2)
        check_cut_early(model, layers)
        cut = make(FromTeacher(layers=layers), model, lambda: iter([])).eval()
    except (ModelError, ConfigError) as error:
        assert str(error).startswith("student")
        cut = None
    for name, made in (("whole", model), ("cut", cut)):
        if made is not None:
            task.save(made, tokenizer, out / name)
            again = auto.from_pretrained(out / name, dtype="float32").eval()
            assert gap(again(**inputs).logits, made(**inputs).logits) <= CLOSE


@pytest.mark.parametrize("kind", model_types("AutoModelForCausalLM"))
@torch.no_grad()
def test_a_language_model_of_any_architecture(kind: str, tmp_path: Path) -> None:
    task, tokenizer = CausalLM(max_length=24), byte_tokenizer(pad="<pad>")
    model = new(task, kind, tokenizer)
    if model is None:
        return
    short, long = ids(7, 1), ids(12, 2)
    alone = [model(input_ids=row, use_cache=False).logits for row in (short, long)]
    padding = torch.full((1, 5), tokenizer.pad_token_id)
    rows = torch.cat([torch.cat([short, padding], dim=1), long])
    mask = (torch.arange(12) < torch.tensor([[7], [12]])).long()
    both = model(input_ids=rows, attention_mask=mask, use_cache=False).logits
    assert gap(both[:1, :7], alone[0]) <= CLOSE and gap(both[1:], alone[1]) <= CLOSE
    if keeps_packed_apart(model):
        places = torch.cat([torch.arange(7), torch.arange(12)])[None]
        row = torch.cat([short, long], dim=1)
        packed = model(input_ids=row, position_ids=places, use_cache=False).logits
        assert gap(packed[:, :7], alone[0]) <= CLOSE and gap(packed[:, 7:], alone[1]) <= CLOSE
    check_saved(task, model, tokenizer, {"input_ids": short}, tmp_path)


@pytest.mark.parametrize("kind", model_types("AutoModelForSequenceClassification"))
@torch.no_grad()
def test_a_classifier_of_any_architecture(kind: str, tmp_path: Path) -> None:
    task, tokenizer = Classification(max_length=24), byte_tokenizer(pad="<pad>")
    model = new(task, kind, tokenizer)
    if model is None:
        return
    texts = ["a b", "the cat sat on the mat"]
    names = ("input_ids", "attention_mask")
    alone = [tokenizer(text, return_tensors="pt") for text in texts]
    expected = [model(**{name: row[name] for name in names}).logits for row in alone]
    padded = tokenizer(texts, padding=True, return_tensors="pt")
    inputs = {name: padded[name] for name in names}
    assert gap(model(**inputs).logits, torch.cat(expected)) <= (
        SLIGHT if kind in ("convbert", "nystromformer", "yoso") else CLOSE
    )
    check_saved(task, model, tokenizer, inputs, tmp_path)
