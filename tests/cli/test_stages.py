"""One stage at a time, from the same words; and what is there already is not made again."""

from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import Finished, artifact_kinds, assert_refused, report, results, with_overrides
from tests.conftest import Distillkit


def test_the_stages_alone_make_what_train_makes(
    distillkit: Distillkit, finished: Finished, fresh: list[str], tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    asked = distillkit("generate-targets", *fresh)
    assert asked.code == 0, asked.err
    assert artifact_kinds(workspace) == ["data", "targets", "teacher", *3 * ["tokens"], "transfer"]
    store = finished.artifact("targets").name
    assert asked.out == f"targets: workspace/{store}\n"
    assert (workspace / store / "targets.json").is_file()

    learnt = distillkit("train-student", *fresh)
    assert learnt.code == 0, learnt.err
    (student,) = workspace.glob("student-*")
    assert (finished.workspace / student.name).is_dir()
    assert learnt.out == f"student: workspace/{student.name}/model\n"
    weights = [
        f / student.name / "model/model.safetensors" for f in (workspace, finished.workspace)
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()

    measured = distillkit("evaluate", *fresh)
    assert measured.code == 0, measured.err
    assert list(results(tmp_path)["rows"]) == ["teacher", "student", "majority"]
    assert (report(tmp_path) / "report.md").is_file()
    assert "report: outputs/" in measured.out


@pytest.mark.slow
def test_evaluate_shows_what_train_showed(
    distillkit: Distillkit, finished: Finished, again: list[str], tmp_path: Path
) -> None:
    assert distillkit("evaluate", *again).code == 0
    assert results(tmp_path)["rows"] == results(finished.folder)["rows"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "missing", "makes"),
    [
        ("train-student", "no target store", "distillkit generate-targets"),
        ("evaluate", "no trained student", "distillkit train-student"),
    ],
)
def test_a_stage_names_the_command_that_makes_what_it_lacks(
    distillkit: Distillkit,
    fresh: list[str],
    tmp_path: Path,
    command: str,
    missing: str,
    makes: str,
) -> None:
    assert_refused(distillkit(command, *fresh), missing, f"`{makes}`", "`distillkit train`")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_train_again_makes_nothing_but_a_report(
    distillkit: Distillkit, finished: Finished, again: list[str], tmp_path: Path
) -> None:
    def files() -> dict[Path, int]:
        found = (tmp_path / "workspace").glob("*-*/**/*")
        return {path: path.stat().st_mtime_ns for path in found if path.is_file()}

    before = files()
    result = distillkit("train", *again)
    assert (result.code, result.err) == (0, "")
    assert files() == before
    assert results(tmp_path)["rows"] == results(finished.folder)["rows"]
    assert (report(tmp_path) / "student" / "model.safetensors").is_file()


def test_a_stage_alone_leaves_no_empty_folder(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    for command in ("generate-targets", "train-student"):
        assert distillkit(command, *again).code == 0
    assert [path for path in tmp_path.glob("outputs/*/*") if not any(path.iterdir())] == []


def test_a_change_of_the_loss_asks_the_teacher_nothing(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    before = artifact_kinds(tmp_path / "workspace")
    result = distillkit("train-student", *again, "loss.temperature=7")
    assert result.code == 0
    assert artifact_kinds(tmp_path / "workspace") == sorted([*before, "student"])
    assert "teacher" not in result.err
    assert "targets" not in result.err


# evaluate student.path=…


@pytest.mark.parametrize("where", ["again", "fresh"])
def test_evaluate_takes_any_folder_of_transformers(
    distillkit: Distillkit, tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    """In a workspace with this config's own student, and in one without."""
    folder = tiny.write_model(tmp_path / "mine", labels=("good", "bad"), hidden=48)
    words = request.getfixturevalue(where)
    result = distillkit("evaluate", *words, f"student.path={folder}")
    assert result.code == 0, result.err
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert results(tmp_path)["rows"]["student"]["parameters"] == model.num_parameters()
    assert ("teacher" in results(tmp_path)["rows"]) == (where == "again")
    assert ("its row is left out" in result.err) == (where == "fresh")


@pytest.mark.parametrize("where", ["again", "fresh"])
def test_evaluate_refuses_a_folder_with_another_label_set(
    distillkit: Distillkit, tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    folder = tiny.write_model(tmp_path / "mine", labels=("cat", "dog"))
    words = request.getfixturevalue(where)
    result = distillkit("evaluate", *words, f"student.path={folder}")
    assert_refused(result, "student.path", "[cat, dog]", "[bad, good]")


def test_evaluate_refuses_a_folder_that_is_not_there(
    distillkit: Distillkit, again: list[str]
) -> None:
    assert_refused(
        distillkit("evaluate", *again, "student.path=./nowhere"), "student.path = ./nowhere"
    )


@pytest.mark.parametrize("where", ["again", "fresh"])
def test_train_refuses_a_folder_for_a_student_of_a_config(
    distillkit: Distillkit, body: Path, tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    words = with_overrides(request.getfixturevalue(where), f"student.path={body}")
    assert_refused(distillkit("train", *words), "student.path", "student=pretrained")
    if where == "fresh":
        assert "teacher" not in artifact_kinds(tmp_path / "workspace"), (
            "found only after the teacher's work"
        )


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["optimizer.betas=[0.9,1.5]"], "AdamW refuses its settings (Invalid beta parameter"),
        (["optimizer=sgd", "optimizer.momentum=-1"], "SGD refuses its settings (Invalid momentum"),
        (["optimizer=torch", "optimizer._target_=torch.optim.LBFGS"], "LBFGS doesn't support"),
    ],
    ids=["betas", "momentum", "groups"],
)
def test_what_the_optimizer_refuses_is_refused_before_any_work(
    distillkit: Distillkit, fresh: list[str], tmp_path: Path, words: list[str], fault: str
) -> None:
    said = assert_refused(
        distillkit("train", *with_overrides(fresh, *words, without="optimizer.")), fault
    )
    assert "change them, as optimizer.NAME=VALUE" in said
    assert not list((tmp_path / "workspace").glob("teacher-*"))
