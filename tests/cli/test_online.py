"""A loss on the inside of models: the teacher answers in the training loop."""

import json
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import QUICK, run

LOSSES = {
    "hidden_mse": ["loss.layers=uniform"],
    "attention_mse": [],
    "relations": ["loss.relation_heads=4"],
}


@pytest.fixture(scope="module")
def words(body: Path, reviews: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory):
    """A run whose teacher is there for every test."""
    workspace = tmp_path_factory.mktemp("online") / "workspace"
    every = [*tiny.small(body, *reviews, workspace), *QUICK, "control=false"]
    return [word for word in every if not word.startswith("targets.")]


@pytest.mark.parametrize(
    "loss",
    ["hidden_mse", *(pytest.param(n, marks=pytest.mark.slow) for n in LOSSES if n != "hidden_mse")],
)
def test_it_learns_what_the_teacher_has_inside(loss: str, words: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, "train", *words, f"loss={loss}", *LOSSES[loss])
    assert done.code == 0, done.err
    assert "targets: online, since" in done.err
    assert "teacher" in done.err and "│" in done.err  # the drawing
    (results,) = tmp_path.glob("outputs/*/*/results.json")
    assert json.loads(results.read_text())["layer_maps"]
    assert "```" in results.with_name("report.md").read_text()
    (workspace,) = (word.partition("=")[2] for word in words if word.startswith("workspace="))
    assert not list(Path(workspace).glob("targets-*"))


@pytest.mark.slow
def test_logits_may_be_had_online_and_are_those_of_a_store(
    words: list[str], tmp_path: Path
) -> None:
    """Only the order of the teacher's rows differs, so the students agree to rounding."""
    scores = []
    for targets in ("online", "stored"):
        folder = tmp_path / targets
        folder.mkdir()
        done = run(folder, "train", *words, f"targets={targets}")
        assert done.code == 0, done.err
        (results,) = folder.glob("outputs/*/*/results.json")
        scores.append(json.loads(results.read_text())["rows"]["student"]["nll"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["loss=hidden_mse", "targets=stored"], "targets = stored: HiddenMSE looks inside"),
        (["loss=hidden_mse", "loss.layers=[[2,1]]"], "the student has layers 0 to 1"),
        (["loss=hidden_mse", "loss.projection=none"], "are 16 wide and the teacher's 32"),
        (["loss=relations", "loss.relation_heads=5"], "does not divide the student's 16 channels"),
        (["loss=attention_kl", "student.config.num_attention_heads=4"], "has 4 attention heads"),
        (["loss=patience"], "leaves the last layer out"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    more: list[str], said: str, words: list[str], tmp_path: Path
) -> None:
    fresh = [w for w in words if not w.startswith("workspace=")] + [f"workspace={tmp_path / 'w'}"]
    done = run(tmp_path, "train", *fresh, *more)
    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("distillkit: ")]
    assert said in line
    assert not list((tmp_path / "w").glob("teacher-*"))


@pytest.mark.slow
def test_generate_targets_has_nothing_to_keep(words: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, "generate-targets", *words, "targets=online")
    assert done.code == 2
    assert "targets = online: nothing is kept" in done.err


def test_a_plan_has_the_teacher_in_the_loop(words: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, "plan", *words, "loss=hidden_mse")
    assert done.code == 0, done.err
    assert "teacher in the loop" in done.out
    assert "bytes per position" not in done.out


def test_tokenizers_are_compared_by_what_they_do_and_not_by_where_they_are(
    words: list[str], tmp_path: Path
) -> None:
    student = tiny.write_model(tmp_path / "student", seed=3)
    given = [word for word in words if not word.startswith("student")]
    change = ["student=pretrained", f"student.path={student}", "loss=hidden_mse"]
    same = run(tmp_path, "plan", *given, *change)
    assert same.code == 0, same.err
    config = student / "tokenizer_config.json"
    held = json.loads(config.read_text())
    config.write_text(json.dumps(held | {"do_lower_case": not held.get("do_lower_case", True)}))
    other = run(tmp_path, "plan", *given, *change)
    assert other.code == 2, other.err
    assert "compares student and teacher token by token" in other.err
