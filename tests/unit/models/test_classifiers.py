"""Model folders: read safely, refused in one line, labels matched by name."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from distillkit.errors import ModelError
from distillkit.models.classifiers import (
    TEXTS,
    label_order,
    load_classifier,
    load_complete,
    load_saved,
    load_tokenizer,
    new_classifier,
)
from distillkit.models.folders import check_folder
from distillkit.models.saved import SavedModel
from distillkit.models.saving import save_folder
from distillkit.types import LabelSpace
from tests import tiny
from tests.unit.models.tiny_lms import SHAPES

CLASSES = LabelSpace(("bad", "good"))
SHAPE: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
SINGLE = "single_label_classification"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("model") / "it", labels=("good", "bad"))


# folders


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.ckpt", "model.pkl"])
def test_pickled_weights_alone_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        ModelError, match=rf"teacher\.path = .*: its weights are pickled \({name}\)"
    ):
        check_folder(str(tmp_path), key="teacher.path")


def test_pickled_weights_beside_safe_ones_do_no_harm(classifier: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(classifier, tmp_path / "both")
    (folder / "pytorch_model.bin").write_bytes(b"not a model")
    check_folder(str(folder), key="teacher.path")
    load_saved(SavedModel(str(folder), "teacher.path"), CLASSES)


@pytest.mark.parametrize(("files", "said"), [([], "no config.json"), (["config.json"], "no *.saf")])
def test_a_folder_without_a_model_is_refused(tmp_path: Path, files: list[str], said: str) -> None:
    for file in files:
        (tmp_path / file).write_text("{}")
    with pytest.raises(ModelError) as caught:
        check_folder(str(tmp_path), key="student.path")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [("model.safetensors", "is no safetensors file"), ("config.json", "cannot be read")],
)
def test_a_damaged_model_is_one_line(
    classifier: Path, tmp_path: Path, spoilt: str, said: str
) -> None:
    folder = shutil.copytree(classifier, tmp_path / "spoilt")
    (folder / spoilt).write_text("{ no")
    with pytest.raises(ModelError, match=f"{spoilt} {said}") as caught:
        load_saved(SavedModel(str(folder), "teacher.path"), CLASSES)
    assert "\n" not in str(caught.value)


def test_a_saved_classifier_says_the_same_again(classifier: Path, tmp_path: Path) -> None:
    first = load_saved(SavedModel(str(classifier), "k"), CLASSES)
    model, tokenizer = first.model, first.tokenizer
    save_folder(model, tokenizer, tmp_path / "again", max_length=24)
    saved = SavedModel(str(tmp_path / "again"), "k")
    again = load_saved(saved, CLASSES).model
    inputs = tokenizer(["a good film", "a dull film"], return_tensors="pt", padding=True)
    torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits, rtol=0, atol=0)
    assert not list((tmp_path / "again").glob("*.bin"))


# new ones


def test_a_new_classifier_has_the_tokenizers_size_and_the_labels_names(body: Path) -> None:
    tokenizer = load_tokenizer(str(body), key="k")
    model = new_classifier(SHAPE, CLASSES, tokenizer, key="student.config", problem_type=SINGLE)
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert model.config.pad_token_id == tokenizer.pad_token_id


@pytest.mark.parametrize("kind", ["distilbert", "roberta", "electra", "modernbert"])
def test_any_config_of_transformers_makes_a_student(body: Path, kind: str) -> None:
    small = {"distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}}
    shape = small.get(kind, {k: v for k, v in SHAPE.items() if k != "model_type"})
    tokenizer = load_tokenizer(str(body), key="k")
    special = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    config = {"model_type": kind, **shape, **(special if kind == "modernbert" else {})}
    model = new_classifier(config, CLASSES, tokenizer, key="student.config", problem_type=SINGLE)
    inputs = tokenizer(["a good film"], return_tensors="pt", return_token_type_ids=False)
    assert model(**inputs).logits.shape == (1, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": None}, "student.config.model_type: not set"),
        ({"model_type": "brt"}, "student.config = brt"),
        ({"vocab_size": 5}, "student.config.vocab_size = 5: the tokenizer has ids up to"),
        ({"num_attention_heads": 3}, "cannot be made ready"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(body: Path, change: dict[str, Any], said: str) -> None:
    tokenizer = load_tokenizer(str(body), key="k")
    with pytest.raises(ModelError) as caught:
        new_classifier(
            SHAPE | change, CLASSES, tokenizer, key="student.config", problem_type=SINGLE
        )
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_body_gets_a_new_head_of_the_labels(body: Path) -> None:
    three = LabelSpace(("a", "b", "c"))
    model = load_classifier(str(body), three, key="k", problem_type=SINGLE)
    assert model.classifier.out_features == 3
    assert model.config.label2id == {"a": 0, "b": 1, "c": 2}


@pytest.mark.parametrize("kind", ["SequenceClassification", "TokenClassification"])
@pytest.mark.parametrize("names", [("good", "meh", "bad"), ("Good", "MEH", "bad")])
def test_a_folders_head_of_the_same_labels_is_kept_in_the_datas_order(
    kind: str, names: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.write_model(tmp_path / "it", labels=names)
    source = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    if kind.startswith("Token"):
        source = transformers.BertForTokenClassification(source.config)
        source.save_pretrained(folder)
    made = load_classifier(
        str(folder),
        LabelSpace(("bad", "good", "meh")),
        key="student.path",
        problem_type=SINGLE,
        auto_class=f"AutoModelFor{kind}",
    )
    ids = torch.arange(1, 9)[None]
    with torch.inference_mode():
        before, after = source.eval()(input_ids=ids).logits, made.eval()(input_ids=ids).logits
    assert torch.equal(after, before[..., [2, 0, 1]])
    assert made.config.id2label == {0: "bad", 1: "good", 2: "meh"}
    assert f"its head of {', '.join(names)} is kept, for bad, good, meh" in capfd.readouterr().err


def test_a_folders_head_of_other_labels_is_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.write_model(tmp_path / "it", labels=("sports", "politics"))
    source = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    torch.manual_seed(3)
    made = load_classifier(str(folder), CLASSES, key="student.path", problem_type=SINGLE)
    assert not torch.equal(made.classifier.weight, source.classifier.weight)
    body = made.base_model.state_dict()
    for name, weight in source.base_model.state_dict().items():
        assert torch.equal(body[name], weight), name
    assert made.config.id2label == {0: "bad", 1: "good"}
    said = "its head is of other labels (sports, politics); the labels get a new one"
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("id2label", {"0": "a", "1": "b", "2": "c"}, "classifier.bias is [2] there, and [3]"),
        ("intermediate_size", 48, "intermediate.dense.bias is [64] there, and [48]"),
    ],
)
def test_weights_of_other_sizes_than_the_config_says_are_named(
    tmp_path: Path, field: str, value: object, fault: str
) -> None:
    folder = tiny.write_model(tmp_path / "it", labels=("bad", "good"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(ModelError, match=re.escape(fault)) as caught:
        load_complete(str(folder), key="student.path", auto_class=TEXTS)
    assert str(caught.value).startswith(f"student.path = {folder}: its config.json and its weights")
    assert "\n" not in str(caught.value)


# labels


class Outputs:
    """A model, as far as its label names go."""

    def __init__(self, *names: str) -> None:
        self.config = type(
            "Config", (), {"num_labels": len(names), "id2label": dict(enumerate(names))}
        )


@pytest.mark.parametrize(
    ("theirs", "ours", "given", "order"),
    [
        (("bad", "good"), LabelSpace(("bad", "good")), None, [0, 1]),
        (("good", "bad"), LabelSpace(("bad", "good")), None, [1, 0]),
        (("NEGATIVE", "POSITIVE"), LabelSpace(("positive", "negative")), None, [1, 0]),
        (("LABEL_0", "LABEL_1"), LabelSpace(("bad", "good"), numeric=True), None, [0, 1]),
        (("LABEL_0", "LABEL_1"), LabelSpace(("bad", "good")), ["good", "bad"], [1, 0]),
    ],
)
def test_labels_are_matched_by_name_never_by_position(
    theirs: tuple[str, ...], ours: LabelSpace, given: list[str] | None, order: list[int]
) -> None:
    found = label_order(Outputs(*theirs), ours, key="teacher.path", output_names=given)
    np.testing.assert_array_equal(found, order)


@pytest.mark.parametrize(
    ("theirs", "ours", "given"),
    [
        (("cat", "dog"), LabelSpace(("bad", "good")), None),
        (("LABEL_0", "LABEL_1"), LabelSpace(("bad", "good")), None),
        (("bad", "good", "so-so"), LabelSpace(("bad", "good")), None),
        (("LABEL_0", "LABEL_1"), LabelSpace(("bad", "good")), ["good", "bad", "so-so"]),
    ],
)
def test_other_labels_are_refused_and_both_sets_named(
    theirs: tuple[str, ...], ours: LabelSpace, given: list[str] | None
) -> None:
    with pytest.raises(ModelError) as caught:
        label_order(Outputs(*theirs), ours, key="teacher.path", output_names=given)
    assert f"[{', '.join(given or theirs)}]" in str(caught.value)
    assert "[bad, good]" in str(caught.value)


def test_another_number_of_labels_is_refused_with_both_numbers() -> None:
    fault = r"k: it has 3 outputs .*a, b, c.*, but the data has 2 labels .*a, b.* teacher=minilm"
    with pytest.raises(ModelError, match=fault):
        label_order(Outputs("a", "b", "c"), LabelSpace(("a", "b")), key="k")


def test_a_real_label_needs_one_output() -> None:
    assert label_order(Outputs("LABEL_0"), LabelSpace(()), key="k").tolist() == [0]
    with pytest.raises(ModelError, match="2 outputs, but the label is one real value"):
        label_order(Outputs("a", "b"), LabelSpace(()), key="k")


@pytest.mark.parametrize(
    ("theirs", "ours", "order"),
    [
        # by case alone: each its own
        (("pos", "Pos"), LabelSpace(("Pos", "pos")), [1, 0]),
        (("POS", "neg"), LabelSpace(("neg", "pos")), [1, 0]),
        ((" pos", "neg "), LabelSpace(("neg", "pos")), [1, 0]),
        (("LABEL_1", "LABEL_0"), LabelSpace(("0", "1"), numeric=True), [1, 0]),
        (("LABEL_0", "LABEL_1"), LabelSpace(("1", "0"), numeric=True), [1, 0]),
        (("LABEL_0", "LABEL_1"), LabelSpace(("False", "True"), numeric=True), [0, 1]),
        (("LABEL_0", "LABEL_1"), LabelSpace(("LABEL_1", "LABEL_0")), [1, 0]),
        (("LABEL_0", "LABEL_1"), LabelSpace(("0.0", "1.0"), numeric=True), [0, 1]),
    ],
)
def test_names_are_matched_exactly_first(
    theirs: tuple[str, ...], ours: LabelSpace, order: list[int]
) -> None:
    assert label_order(Outputs(*theirs), ours, key="k").tolist() == order


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (("POS", "neg"), LabelSpace(("Pos", "pos"))),
        (("POS", "pos", "neg"), LabelSpace(("Pos", "pos", "neg"))),
        (("LABEL_1", "LABEL_2"), LabelSpace(("0", "1"), numeric=True)),
        (("1", "2"), LabelSpace(("01", "02"), numeric=True)),
    ],
)
def test_names_that_leave_a_doubt_are_refused(theirs: tuple[str, ...], ours: LabelSpace) -> None:
    with pytest.raises(ModelError, match="but the data's are"):
        label_order(Outputs(*theirs), ours, key="k")


def test_numbers_from_one_on_have_their_order_and_it_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    space = LabelSpace(("1", "2", "3"), numeric=True)
    assert label_order(Outputs("LABEL_0", "LABEL_1", "LABEL_2"), space, key="k").tolist() == [
        0,
        1,
        2,
    ]
    assert "taken for the data's in their order: 1, 2, 3" in capsys.readouterr().err


def test_many_names_make_a_short_message() -> None:
    ours = LabelSpace(tuple(f"a rather long name of intent {i}" for i in range(150)))
    with pytest.raises(ModelError) as caught:
        label_order(Outputs(*(f"LABEL_{i}" for i in range(150))), ours, key="k")
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("given", [None, ["a", "a"]])
def test_outputs_of_one_name_are_refused(given: list[str] | None) -> None:
    model = Outputs("a", "a") if given is None else Outputs("LABEL_0", "LABEL_1")
    with pytest.raises(ModelError, match=r"two of its 2 outputs are named 'a'.*teacher\.labels"):
        label_order(model, LabelSpace(("a", "b")), key="teacher.path", output_names=given)


QUESTIONS = "AutoModelForQuestionAnswering"


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2", "qwen2"])
@pytest.mark.parametrize("saved", ["AutoModelForCausalLM", "AutoModelForTokenClassification"])
def test_a_body_is_read_whatever_the_saved_class_calls_it(
    tmp_path: Path, kind: str, saved: str
) -> None:
    """LlamaForQuestionAnswering has as `transformer` what the others have as `model`."""
    import transformers

    config = transformers.AutoConfig.for_model(kind, vocab_size=50, **SHAPES[kind])
    made = getattr(transformers, saved).from_config(config)
    made.save_pretrained(tmp_path / "body")
    space = LabelSpace(("start", "end"))
    loaded = load_classifier(
        str(tmp_path / "body"), space, key="k", problem_type=None, auto_class=QUESTIONS
    )
    expected = dict(made.base_model.named_parameters())
    for name, weight in loaded.base_model.named_parameters():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0)
    loaded.save_pretrained(tmp_path / "fitted")
    again, report = getattr(transformers, QUESTIONS).from_pretrained(
        tmp_path / "fitted", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    torch.testing.assert_close(again.state_dict(), loaded.state_dict())
