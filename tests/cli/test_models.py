"""Models that a run cannot use are refused before any text is tokenised; decoders classify."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from tests import tiny, tiny_language
from tests.cli.runs import run, with_overrides
from tests.unit.models.test_padding import classifier
from tests.unit.models.tiny_configs import tiny_config
from tests.unit.models.tiny_lms import SHAPES, byte_tokenizer

ENCODER_DECODER = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8}


def made(folder: Path) -> set[str]:
    """The kinds of artifacts in the workspace."""
    return {path.name.partition("-")[0] for path in (folder / "workspace").glob("*-*")}


def refusal(folder: Path, *words: str, command: str = "train") -> str:
    """The one line of a run that stops before any text is tokenised."""
    result = run(folder, command, *words)
    assert result.code == 2, result.err + result.out
    line = result.err.strip().splitlines()[-1]
    assert line.startswith("distillkit: "), result.err
    assert "Traceback" not in result.err
    assert not made(folder) & {"tokens", "teacher", "targets", "student"}
    return line


def written(folder: Path, kind: str, **fields: Any) -> Path:
    """A folder of random weights of any architecture of transformers, with a tokenizer."""
    from transformers import AutoConfig, AutoModel

    tiny.write_tokenizer(folder)
    config = AutoConfig.for_model(kind, vocab_size=200, **fields)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


COMMANDS = ["train", "generate-targets", "plan"]


@pytest.mark.parametrize("role", ["teacher.body", "teacher.path", "student.path"])
def test_an_encoder_decoder_is_refused(fresh: list[str], tmp_path: Path, role: str) -> None:
    folder = written(tmp_path / "t5", "t5", **ENCODER_DECODER)
    more = ["student=pretrained"] if role == "student.path" else []
    words = with_overrides([w for w in fresh if not (more and "student.config" in w)], *more)
    line = refusal(tmp_path, *with_overrides(words, f"{role}={folder}"))
    assert f"{role} = {folder}: an encoder-decoder (t5)" in line


def test_a_new_encoder_decoder_is_refused(fresh: list[str], tmp_path: Path) -> None:
    words = [word for word in fresh if "student.config" not in word]
    config = "{model_type: t5, d_model: 16, num_layers: 1, num_heads: 2}"
    line = refusal(tmp_path, *words, "student=scratch", f"student.config={config}")
    assert "student.config.model_type = t5: an encoder-decoder" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_positions_of_the_teacher_are_counted_too(
    fresh: list[str], tmp_path: Path, command: str
) -> None:
    """RoBERTa's kind takes the padding's id and one more off: here 34 - 0 - 1."""
    folder = written(
        tmp_path / "roberta",
        "roberta",
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=34,
        pad_token_id=0,
    )
    words = with_overrides(fresh, f"teacher.body={folder}", "task.max_length=34")
    result = run(tmp_path, command, *words)
    assert result.code == 2
    assert (
        f"task.max_length = 34: the teacher (teacher.body = {folder}) has positions for 33 tokens; "
        "set task.max_length=33 or less" in result.err
    )
    assert not made(tmp_path) & {"teacher", "targets", "student"}
    if command == "train":  # what it advises
        done = run(tmp_path, "generate-targets", *with_overrides(words, "task.max_length=33"))
        assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["task.max_length=65", "teacher.path=null"], "the teacher (teacher.body"),
        (
            ["student.config.max_position_embeddings=20"],
            "task.max_length = 24: the student has positions for 20 tokens; set task.max_length=20",
        ),
        (["student.config.num_attention_heads=3"], "student.config = bert"),
        (["targets=top_k", "targets.codec.k=3"], "targets.codec.k = 3: the teacher has only 2"),
        (["loss=hidden_mse", "loss.layers=[[1,9]]"], "9"),
    ],
    ids=["teacher", "student", "heads", "k", "layers"],
)
def test_what_configs_show_is_refused_before_the_teacher_is_fitted(
    fresh: list[str], tmp_path: Path, change: list[str], said: str
) -> None:
    assert said in refusal(tmp_path, *with_overrides(fresh, *change))


@pytest.mark.parametrize("command", ["plan", "train"])
@pytest.mark.parametrize(
    "change", ["data.label_names=[x,y]", "teacher.labels=[bad,x]", "teacher.labels=[bad]"]
)
def test_other_labels_of_a_ready_teacher_are_refused_by_a_plan_too(
    fresh: list[str], tmp_path: Path, command: str, change: str
) -> None:
    teacher = tiny.write_model(tmp_path / "ready", labels=("good", "bad"))
    words = [
        *with_overrides(fresh, without="teacher."),
        f"teacher.path={teacher}",
        "teacher.check=off",
    ]
    line = refusal(tmp_path, *with_overrides(words, change), command=command)
    assert line.startswith(f"distillkit: teacher.path = {teacher}: its labels are [")


def test_a_student_that_cannot_be_cut_is_refused_before_the_teacher_is_fitted(
    fresh: list[str], tmp_path: Path
) -> None:
    words = [word for word in fresh if "student.config" not in word]
    line = refusal(tmp_path, *words, "student=from_teacher", "student.layers=5")
    assert "student.layers = 5: the teacher has 2 layers" in line


@pytest.mark.parametrize("command", ["train", "plan"])
@pytest.mark.parametrize("key", ["teacher.body", "student.path"])
@pytest.mark.parametrize(
    ("pad", "said"),
    [
        (
            33,
            "has positions for no text: its config.json has max_position_embeddings 34, and a rob",
        ),
        (40, "its config.json has pad_token_id 40, for which not all of its embeddings have a row"),
        (999, "its config.json has pad_token_id 999, for which not all of its embeddings have a"),
    ],
)
def test_a_pad_token_beyond_what_a_model_has_rows_for_is_refused(
    fresh: list[str], tmp_path: Path, key: str, pad: int, said: str, command: str
) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape = {**sizes, "intermediate_size": 16, "max_position_embeddings": 34, "pad_token_id": 0}
    folder = written(tmp_path / "roberta", "roberta", **shape)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": pad}))
    words = with_overrides(fresh, f"{key}={folder}")
    if key == "student.path":
        words = with_overrides(words, "student=pretrained", without="student.config")
    assert said in refusal(tmp_path, *words, command=command)


@pytest.mark.parametrize("command", ["train", "plan"])
def test_layers_that_depend_on_their_place_are_refused_before_the_teacher_is_fitted(
    fresh: list[str], tmp_path: Path, command: str
) -> None:
    """What SqueezeBERT's layers hand on has its dimensions in another order."""
    sizes = {"hidden_size": 16, "embedding_size": 16, "intermediate_size": 32}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}
    body = written(tmp_path / "squeeze", "squeezebert", **sizes, **heads)
    words = [word for word in fresh if "student.config" not in word]
    words = with_overrides(
        words, f"teacher.body={body}", "student=from_teacher", "student.layers=1"
    )
    line = refusal(tmp_path, *words, command=command)
    assert "SqueezeBertForSequenceClassification without its layers [1] does not say" in line


def test_a_student_is_cut_out_of_a_ready_teacher_before_that_is_asked(tmp_path: Path) -> None:
    """Of more parameters than are tried on new weights: refused before the capture all the same."""
    import transformers

    teacher = tmp_path / "teacher"
    tokenizer = tiny_language.write_tokenizer(teacher)
    fields = {**tiny_config("minicpm3"), "vocab_size": len(tokenizer), "num_hidden_layers": 4}
    config = transformers.AutoConfig.for_model("minicpm3", **fields)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(teacher)
    texts = tiny_language.write_documents(tmp_path)
    words = tiny_language.small(teacher, texts, tmp_path / "workspace")
    with mock.patch("distillkit.pipeline.model_checks.MOST_TRIED", 0):
        result = run(tmp_path, "train", *words)
    assert result.code == 2 and "depend on their place" in result.err
    assert "targets" not in made(tmp_path)


@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_language_model_without_rows_for_its_tokens_is_refused(
    tmp_path: Path, command: str
) -> None:
    teacher = tiny_language.write_model(tmp_path / "teacher", padded=-3)
    texts = tiny_language.write_documents(tmp_path)
    line = refusal(
        tmp_path, *tiny_language.small(teacher, texts, tmp_path / "workspace"), command=command
    )
    assert "teacher.path = " in line and "tokenizer has ids up to 48, and the model 46 rows" in line


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("bert", "bert sees the words on both sides, so it is no causal language model"),
        ("xlnet", "xlnet sees the words on both sides"),
        ("vit", "vit (it reads images or sound) cannot be a causal language model"),
    ],
)
def test_what_is_no_language_model_is_refused(tmp_path: Path, kind: str, said: str) -> None:
    teacher = tiny_language.write_model(tmp_path / "teacher")
    texts = tiny_language.write_documents(tmp_path)
    words = tiny_language.small(teacher, texts, tmp_path / "workspace")
    words = [w for w in words if not w.startswith("student")]
    config = f"student.config={{model_type: {kind}}}"
    assert said in refusal(tmp_path, *words, "student=scratch", config)


def test_an_evaluated_model_has_positions_for_the_texts(fresh: list[str], tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "student", labels=("bad", "good"))
    words = [w for w in fresh if "student.config" not in w]
    words = with_overrides(
        words, "student=pretrained", f"student.path={folder}", "task.max_length=70"
    )
    result = run(tmp_path, "evaluate", *words)
    assert result.code == 2
    assert f"student.path = {folder} has positions for 64 tokens" in result.err


def test_a_folder_without_a_tokenizer_is_refused(
    body: Path, fresh: list[str], tmp_path: Path
) -> None:
    folder = shutil.copytree(body, tmp_path / "bare")
    for file in [*folder.glob("tokenizer*"), folder / "vocab.txt"]:
        file.unlink()
    line = refusal(tmp_path, *with_overrides(fresh, f"teacher.body={folder}"))
    assert f"teacher.body = {folder}: it has no tokenizer" in line


def test_an_architecture_that_nobody_knows_is_named(
    body: Path, fresh: list[str], tmp_path: Path
) -> None:
    folder = shutil.copytree(body, tmp_path / "unknown")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "berd"}))
    line = refusal(tmp_path, *with_overrides(fresh, f"teacher.body={folder}"))
    assert "model_type berd" in line and len(line) < 500
    del config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))
    assert "no model_type" in refusal(tmp_path, *with_overrides(fresh, f"teacher.body={folder}"))


def logits_of_texts(folder: Path, texts: list[str]) -> np.ndarray:
    """What a user's own code makes of each text by itself."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [model(**tokenizer(text, return_tensors="pt")).logits for text in texts]
    return torch.cat(rows).numpy()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_decoder_teaches_and_learns(fresh: list[str], tmp_path: Path, kind: str) -> None:
    """A ready teacher without a pad token, a new student of its kind: from both to a report."""
    tokenizer = byte_tokenizer()
    model = classifier(kind, tokenizer)
    model.config.id2label = {0: "bad", 1: "good", 2: "fair"}
    folder = tmp_path / "teacher"
    model.config.num_labels = 3
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = [(text, ("bad", "good", "fair")[i % 3]) for i, (text, _) in enumerate(tiny.labelled(90))]
    data = tiny.write_csv(tmp_path / "three.csv", ("text", "label"), rows)
    shape = ", ".join(f"{k}: {v}" for k, v in SHAPES[kind].items())
    words = [w for w in fresh if not w.startswith(("student.config", "data.", "teacher"))]
    result = run(
        tmp_path,
        "train",
        *words,
        f"data.train={data}",
        "teacher=local",
        f"teacher.path={folder}",
        "teacher.check=off",
        "student=scratch",
        f"student.config={{model_type: {kind}, {shape}}}",
    )
    assert result.code == 0, result.err
    (student,) = (tmp_path / "outputs").glob("*/*/student")
    texts = [text for text, _ in rows[:9]]
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(student).pad_token == "</s>"
    batch = AutoTokenizer.from_pretrained(student)(texts, padding=True, return_tensors="pt")
    from transformers import AutoModelForSequenceClassification

    loaded = AutoModelForSequenceClassification.from_pretrained(student).eval()
    with torch.no_grad():
        together = loaded(**batch).logits.numpy()
    np.testing.assert_allclose(together, logits_of_texts(student, texts), rtol=1e-4, atol=1e-5)


def test_a_plan_loads_no_weights_of_a_pretrained_student(
    fresh: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a text's answer changes with the texts beside it is tried with new weights."""
    from distillkit.models import classifiers as models

    folder = tiny.write_model(tmp_path / "student")
    words = [w for w in fresh if "student.config" not in w]
    words = with_overrides(words, "student=pretrained", f"student.path={folder}")

    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("weights are loaded")

    with monkeypatch.context() as patch:
        patch.setattr(models, "load_model", load)
        planned = run(tmp_path, "plan", *words)
        assert planned.code == 0, planned.err
        assert "student" in planned.out
        with pytest.raises(AssertionError, match="weights are loaded"):
            run(tmp_path, "train", *words)
    assert run(tmp_path, "train", *words).code == 0
