"""The vocabulary of a student, pruned to its data: by a run, of a folder, refused in a line."""

import json
from pathlib import Path

import pytest

from tests import tiny, tiny_language
from tests.cli.runs import artifact_kinds, assert_refused, report, results
from tests.conftest import Distillkit
from tests.unit.compression import models
from tests.unit.compression.language import save

PRUNED = "student pruned_vocabulary"


def test_a_run_prunes_its_student_and_says_what_that_costs(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    words = [*again, "compression=[pruned_vocabulary]"]
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    rows = results(tmp_path)["rows"]
    facts = results(tmp_path)["compression"][PRUNED]["vocabulary"]
    assert facts["tokens"] < facts["of"]
    assert facts["unknown"] == rows[PRUNED]["unknown_tokens"]
    line = f"{facts['tokens']} of {facts['of']} tokens; of the held-out text's tokens "
    assert f"compression: pruned_vocabulary: {line}" in result.err
    out = report(tmp_path)
    for page in ("report.md", "report.html"):
        assert line in (out / page).read_text().replace("&#39;", "'")
    # the held-out texts have no word that the training texts have not
    assert facts["spelt_otherwise"] == 0
    for column in ("accuracy", "nll", "agreement", "kl_to_teacher"):
        assert rows[PRUNED][column] == pytest.approx(rows["student"][column], abs=1e-6)
    assert rows[PRUNED]["parameters"] < rows["student"]["parameters"]
    assert rows[PRUNED]["megabytes"] < rows["student"]["megabytes"]
    planned = distillkit("plan", *words)
    assert "to be made" not in planned.out

    folder = out / "student-pruned_vocabulary"
    onnx = distillkit(
        "compress", f"student.path={folder}", "compression=[onnx_int8]", f"workspace={tmp_path}/w"
    )
    assert onnx.code == 0, onnx.err
    (int8,) = tmp_path.glob("outputs/*/*/student-onnx_int8")
    predicted = distillkit("predict", f"student.path={int8}", "--text", "a great film")
    assert predicted.code == 0, predicted.err


def test_other_data_or_lengths_make_another_vocabulary(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    model = tiny.write_model(tmp_path / "mine", labels=("bad", "good"))
    workspace = tmp_path / "w"
    few = tiny.write_csv(tmp_path / "few.csv", ("text", "label"), tiny.labelled(30, seed=5))
    words = ["data=files", f"data.train={few}", "data.label_names=[bad,good]"]
    words += [f"student.path={model}", "compression=[pruned_vocabulary]"]
    for more in (["task.max_length=24"], ["task.max_length=6"], ["task.max_length=6", "seed=3"]):
        result = distillkit("compress", *words, *more, f"workspace={workspace}")
        assert result.code == 0, result.err
    assert artifact_kinds(workspace).count("compressed") == 2
    sizes = [
        json.loads((it / "config.json").read_text())["vocab_size"]
        for it in sorted(tmp_path.glob("outputs/*/*/student-pruned_vocabulary"))
    ]
    assert sizes[0] > sizes[1] == sizes[2]


def test_a_folder_without_data_is_refused(distillkit: Distillkit, tmp_path: Path) -> None:
    model = tiny.write_model(tmp_path / "mine", labels=("no", "yes"))
    words = (f"student.path={model}", "compression=[pruned_vocabulary]", f"workspace={tmp_path}/w")
    assert_refused(
        distillkit("compress", *words),
        "compression = pruned_vocabulary: reads the data that a student learnt from, and none is "
        "named; name the run's recipe",
    )
    tagger = (
        "data=tagged",
        f"data.train={tiny.write_tagged(tmp_path)}",
        "task=token_classification",
    )
    assert_refused(
        distillkit("compress", *words, *tagger),
        "compression = pruned_vocabulary: reads texts as the student does, and student.path",
        "set task to the student's",
    )


@pytest.mark.parametrize("form", ["pruned_vocabulary", "onnx_int8_static"])
def test_texts_longer_than_a_folder_has_positions_for_are_refused_before_any_work(
    distillkit: Distillkit, tmp_path: Path, form: str
) -> None:
    model = tiny.write_model(tmp_path / "mine", labels=("no", "yes"))
    rows = [(f"{'good film ' * 40}{i % 9}", ("no", "yes")[i % 2]) for i in range(9)]
    train = tiny.write_csv(tmp_path / "long.csv", ("text", "label"), rows)
    result = distillkit(
        "compress",
        f"student.path={model}",
        f"compression=[{form}]",
        "data=files",
        f"data.train={train}",
        f"workspace={tmp_path}/w",
    )
    assert_refused(
        result,
        f"task.max_length = 128: student.path = {model} has positions for 64 tokens; set "
        "task.max_length=64 or less",
    )
    assert not artifact_kinds(tmp_path / "w")


def test_a_language_model_is_held_against_others_on_the_same_text(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    save("llama", tmp_path / "teacher", num_hidden_layers=2)
    texts = tiny_language.write_documents(tmp_path, 20)
    few = tmp_path / "few.jsonl"  # of some of the words alone
    lines = [f"the film is {a} and the plot {b}" for a in "abcdefgh" for b in "stuvwxyz"]
    few.write_text("\n".join(json.dumps({"text": line}) for line in lines))
    words = tiny_language.small(tmp_path / "teacher", few, tmp_path / "workspace")
    words += ["control=false", "task.max_length=24", "compression=[pruned_vocabulary]"]
    words += [f"data.test={texts}", "trainer.batch_size=2"]
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    rows = results(tmp_path)["rows"]
    student, pruned = rows["student"], rows[PRUNED]
    facts = results(tmp_path)["compression"][PRUNED]["vocabulary"]
    assert facts["unknown"] is None
    assert facts["tokens"] < facts["of"] and facts["spelt_otherwise"] > 0.1
    assert pruned["positions"] == student["positions"]
    # new weights are as unsure of each piece as of a whole word, and a word may be several
    assert pruned["perplexity"] > 2 * student["perplexity"]
    assert "kl_to_teacher" not in pruned
    assert "kl_to_teacher" in student
    folder = report(tmp_path) / "student-pruned_vocabulary"
    model = f"student.path={folder}"
    written = distillkit("generate", model, "--prompt", "the film is", "--max-new-tokens", "4")
    assert written.code == 0, written.err


def test_a_language_model_of_whole_words_is_refused_before_any_work(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    teacher = tiny_language.write_model(tmp_path / "teacher")
    texts = tiny_language.write_documents(tmp_path)
    words = tiny_language.small(teacher, texts, tmp_path / "workspace")
    result = distillkit("train", *words, "compression=[pruned_vocabulary]")
    assert_refused(result, "compression = pruned_vocabulary: a language model's row is of the same")
    assert not {"teacher", "targets", "student"} & {*artifact_kinds(tmp_path / "workspace")}
    own = [f"student.path={teacher}", "data=documents", f"data.train={texts}", "task=causal_lm"]
    own += ["teacher=local", f"teacher.path={teacher}", "task.max_length=24"]
    result = distillkit("compress", *own, "compression=[pruned_vocabulary]")
    assert result.code == 0, result.err


def test_answers_are_compared_where_the_windows_are_the_same(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    """Held-out words that are spelt otherwise give a pruned student windows of its own."""
    models.save("QuestionAnswering", tmp_path / "student")
    train = tiny.write_questions(tmp_path, 40)
    words = ["task=question_answering", "task.max_length=30", "task.stride=4", "data=questions"]
    words += [f"workspace={tmp_path}/w", "data.validation_fraction=0.2"]
    pruned = [f"student.path={tmp_path / 'student'}", "compression=[pruned_vocabulary]"]
    result = distillkit(
        "compress", *words, f"data.train={train}", "data.test_fraction=0.2", *pruned
    )
    assert result.code == 0, result.err
    (folder,) = tmp_path.glob("outputs/*/*/student-pruned_vocabulary")
    small = ["evaluation.latency_examples=2", "evaluation.throughput_batches=1"]
    for name, words_of_text in (("same", tiny.PLAIN), ("other", tiny.BAD)):
        context = " ".join(words_of_text[:12])
        answers = {"text": [words_of_text[3]], "answer_start": [context.index(words_of_text[3])]}
        rows = [
            {"question": f"the film {i}", "context": context, "answers": answers} for i in "123"
        ]
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        models_ = f"models=[{tmp_path / 'student'},{folder}]"
        result = distillkit("evaluate", *words, models_, f"data.test={file}", *small)
        assert result.code == 0, result.err
        scores = results(tmp_path)["rows"]["student-pruned_vocabulary"]
        assert ("kl_to_teacher" in scores) == (name == "same")
        assert {"f1", "exact_match"} <= scores.keys()
