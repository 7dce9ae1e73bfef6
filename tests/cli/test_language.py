"""Causal language models, from documents or conversations to a student that loads."""

import json
import shutil
from pathlib import Path

import pytest

from tests import tiny_language
from tests.cli.runs import artifact_kinds, assert_refused, results, with_overrides
from tests.conftest import Distillkit


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language.write_model(tmp_path_factory.mktemp("teacher"), layers=3, padded=7)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language.write_documents(tmp_path_factory.mktemp("documents"))


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language.write_conversations(tmp_path_factory.mktemp("conversations"))


@pytest.fixture
def words(teacher: Path, texts: Path, tmp_path: Path) -> list[str]:
    return tiny_language.small(teacher, texts, tmp_path / "workspace")


def test_documents_end_in_a_student_that_loads(
    distillkit: Distillkit, words: list[str], tmp_path: Path
) -> None:
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    (folder,) = (tmp_path / "outputs" / "run").iterdir()
    found = json.loads((folder / "results.json").read_text())
    assert list(found["rows"]) == ["teacher", "student", "control", "untrained", "unigram"]
    unigram = found["rows"]["unigram"]
    assert unigram["positions"] == found["rows"]["student"]["positions"]
    assert 10 < unigram["perplexity"] < found["rows"]["untrained"]["perplexity"]
    assert found["rows"]["teacher"]["kl_to_teacher"] == 0
    assert found["rows"]["student"]["parameters"] < found["rows"]["teacher"]["parameters"]
    assert found["protocol"] == "windows of 32 tokens, without overlap"
    report = (folder / "report.md").read_text()
    assert "## What they write" in report
    assert "Student - the same student untrained" in report
    for picture in ("learning_curves.png", "quality_size.png", "reliability.png"):
        assert (folder / picture).stat().st_size > 5000
    assert "AutoModelForCausalLM" in (folder / "student" / "README.md").read_text()

    from transformers import AutoModelForCausalLM, AutoTokenizer

    student = AutoModelForCausalLM.from_pretrained(folder / "student")
    tokenizer = AutoTokenizer.from_pretrained(folder / "student")
    assert student.config.num_hidden_layers == 2
    assert student(**tokenizer("a good film", return_tensors="pt")).logits.shape[1] == 3


@pytest.mark.parametrize("targets", ["sampled", "last_hidden", "online"])
def test_answers_that_are_not_finite_are_refused_whatever_keeps_them(
    distillkit: Distillkit, teacher: Path, texts: Path, tmp_path: Path, targets: str
) -> None:
    """A damaged row of the embeddings shows in the texts that have its token alone."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "damaged"
    shutil.copytree(teacher, folder)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    weights["model.embed_tokens.weight"][20] = float("nan")
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    words = tiny_language.small(folder, texts, tmp_path / "workspace")
    words = with_overrides(words, f"targets={targets}")
    if targets == "online":
        words = [word for word in words if not word.startswith("targets.shard_tokens")]
    assert_refused(distillkit("train", *words), "not finite (NaN or infinite) at")
    assert "targets" not in artifact_kinds(tmp_path / "workspace")


def test_a_student_of_the_teacher_is_evaluated_from_its_folder(
    distillkit: Distillkit, words: list[str], teacher: Path, tmp_path: Path
) -> None:
    """The command that trains it and one more word; the teacher itself as student says the same."""
    result = distillkit("evaluate", *words, f"student.path={teacher}")
    assert result.code == 0, result.err
    rows = results(tmp_path)["rows"]
    assert rows["student"]["kl_to_teacher"] == 0
    assert rows["student"]["nll"] == rows["teacher"]["nll"]
    for command in ("train", "plan"):
        assert_refused(distillkit(command, *words, f"student.path={teacher}"), "student=pretrained")


@pytest.mark.slow
def test_one_store_serves_other_batches_packings_seeds_and_losses(
    distillkit: Distillkit, words: list[str], tmp_path: Path
) -> None:
    made = distillkit("generate-targets", *words)
    assert made.code == 0, made.err
    for change in (
        ["trainer.batch_size=2"],
        ["trainer.micro_batch_size=1"],
        ["task.pack=false"],
        ["seed=3"],
        ["loss=soft_cross_entropy", "loss.temperature=1.0", "loss.hard_weight=0.5"],
    ):
        result = distillkit("train-student", *words, *change)
        assert result.code == 0, result.err
    assert artifact_kinds(tmp_path / "workspace").count("targets") == 1
    trained, starts = 5, 2  # another seed is another start, whatever is cut out of the teacher
    assert artifact_kinds(tmp_path / "workspace").count("student") == trained + starts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("targets", "more"),
    [
        pytest.param("stored", ["loss=reverse_kl", "loss.temperature=2"], marks=pytest.mark.slow),
        ("top_k", ["loss=jsd", "targets.codec.k=8", "loss.temperature=1"]),
        (
            "top_p",
            [
                "loss=total_variation",
                "loss.rest=renormalise",
                "loss.temperature=1",
                "targets.codec.k=20",
            ],
        ),
        (
            "sampled_logits",
            ["loss=soft_cross_entropy", "loss.rest=renormalise", "loss.temperature=1"],
        ),
        ("sampled", ["loss=distilbert", "loss.terms.kl.temperature=1"]),  # and hidden states
        ("last_hidden", ["loss=skew_kl", "loss.temperature=3"]),
    ],
)
def test_each_way_of_keeping_targets_trains_a_student(
    targets: str, more: list[str], distillkit: Distillkit, words: list[str]
) -> None:
    change = [f"targets={targets}", "trainer.epochs=1", "targets.shard_tokens=1024"]
    changed = [w for w in words if not w.startswith("loss.")]
    made = distillkit("generate-targets", *changed, *change, *more)
    assert made.code == 0, made.err
    learnt = distillkit("train-student", *changed, *change, *more)
    assert learnt.code == 0, learnt.err
    looked = distillkit("targets", "inspect", *Path("workspace").glob("targets-*"))
    assert looked.code == 0, looked.err
    assert "entropy" in looked.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        ["data.messages=messages"],
        ["data.prompt=prompt", "data.response=response"],
        ["data.prompt=prompt", "data.response=response", "data.template='user : {prompt} ? '"],
    ],
)
def test_conversations_are_learnt_from(
    data: list[str], distillkit: Distillkit, words: list[str], talks: Path, tmp_path: Path
) -> None:
    changed = [w for w in words if not w.startswith(("data", "task.max_length"))]
    talk = ["data=conversations", f"data.train={talks}", "task.max_length=64", *data]
    shares = ["data.validation_fraction=0.15", "data.test_fraction=0.2", "trainer.epochs=1"]
    result = distillkit("train", *changed, *talk, *shares, "evaluation.samples=2")
    assert result.code == 0, result.err
    (folder,) = (tmp_path / "outputs" / "run").iterdir()
    found = json.loads((folder / "results.json").read_text())
    assert len(found["comparison"]["samples"]) == 2
    tokens, counted = (
        json.loads(next(Path("workspace").glob("targets-*/targets.json")).read_text())[name]
        for name in ("tokens", "positions")
    )
    assert 0 < counted < 0.7 * tokens  # the prompts have no targets


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["targets=top_k", "targets.codec.k=1000"], "targets.codec.k = 1000"),
        (
            ["loss.temperature=2", "targets.codec.temperature=1"],
            "targets.codec.temperature = 1, and loss.temperature is 2; set loss.temperature=1, or "
            "targets.codec.temperature=2",
        ),
        (["loss=reverse_kl"], "cannot be estimated from entries drawn at random"),
        (["task=classification", "~task.max_length"], "data: Documents is not for Classification"),
        (["task.stride=32"], "task.stride = 32: must be less than task.max_length = 32"),
        (["student.layers=40"], "student.layers = 40: the teacher has 3 layers"),
        (["trainer.batch_size=9999"], "trainer.batch_size = 9999: larger than the data"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    change: list[str], said: str, distillkit: Distillkit, words: list[str]
) -> None:
    changed = [w for w in words if not any(w.split("=")[0] == c.split("=")[0] for c in change)]
    if change[0].startswith("task=c"):
        changed = [w for w in changed if not w.startswith("task.")]
        change = change[:1]
    result = distillkit("train", *changed, *change)
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("distillkit: ")]
    assert said in line


@pytest.mark.parametrize(
    ("length", "template", "said"),
    [
        (8, True, "task.max_length = 8: "),
        (64, False, "has no chat template; set data.template"),
    ],
)
def test_conversations_that_cannot_be_read_stop_before_the_teacher_is_asked(
    length: int, template: bool, said: str, distillkit: Distillkit, talks: Path, tmp_path: Path
) -> None:
    teacher = tiny_language.write_model(tmp_path / "teacher", layers=2)
    if not template:
        tiny_language.write_tokenizer(teacher, template=None)
        (teacher / "chat_template.jinja").unlink(missing_ok=True)
    words = tiny_language.small(teacher, talks, tmp_path / "workspace")
    changed = [w for w in words if not w.startswith(("data", "task.max_length"))]
    talk = ["data=conversations", f"data.train={talks}", "data.messages=messages"]
    result = distillkit("train", *changed, *talk, f"task.max_length={length}")
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("distillkit: ")]
    assert said in line
    assert "targets" not in artifact_kinds(tmp_path / "workspace")


@pytest.mark.slow
def test_a_store_captured_at_another_temperature_is_refused_before_any_work(
    distillkit: Distillkit, words: list[str], tmp_path: Path
) -> None:
    made = distillkit("generate-targets", *words)
    assert made.code == 0, made.err
    (store,) = (tmp_path / "workspace").glob("targets-*")
    before = artifact_kinds(tmp_path / "workspace")
    given = [w for w in words if not w.startswith("loss.temperature")]
    result = distillkit("train-student", *given, f"targets.path={store}", "loss.temperature=2")
    assert result.code == 2, result.err
    assert "loss.temperature = 2: the store was captured at 1; capture it with" in result.err
    assert artifact_kinds(tmp_path / "workspace") == before


def test_a_student_with_another_tokenizer_is_refused_with_the_first_token_that_differs(
    distillkit: Distillkit, words: list[str], tmp_path: Path
) -> None:
    folder = tiny_language.write_model(tmp_path / "other", layers=1)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["film"], vocabulary["story"] = vocabulary["story"], vocabulary["film"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    changed = [w for w in words if not w.startswith("student")]
    result = distillkit("train", *changed, "student=pretrained", f"student.path={folder}")
    assert result.code == 2, result.err
    assert "tokenizer is not the teacher's: token" in result.err
    assert "'story'" in result.err
