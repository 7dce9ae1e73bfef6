"""A student that is trained further in int8 arithmetic, and ends as a file of that."""

import shutil
from pathlib import Path

import pytest

from distillkit.compression.onnx_int8 import TOLERANCE
from tests.cli.runs import artifact_kinds, assert_refused, results, with_overrides
from tests.conftest import Distillkit
from tests.faults.kills import kill_when, weights

ROW = "student onnx_int8_distilled"


WORDS = [
    "compression=[onnx_int8_distilled]",
    "trainer.checkpoint_seconds=0",
    "quantization.steps=12",
    "trainer.keep=last",
    "control=false",
]


def test_a_run_trains_its_student_in_int8(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    words = [*again, *WORDS]
    planned = distillkit("plan", *words).out
    assert "training the quantized" in planned and "12 steps" in planned
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    rows = results(tmp_path)["rows"]
    assert rows[ROW]["megabytes"] < rows["student"]["megabytes"]
    assert rows[ROW]["nll"] == pytest.approx(rows["student"]["nll"], rel=0.2)
    assert results(tmp_path)["compression"][ROW]["difference"] < TOLERANCE
    assert artifact_kinds(tmp_path / "workspace").count("quantized") == 1
    trained = weights(tmp_path / "workspace")
    assert len({*trained.values()}) == len(trained)
    assert "to be made" not in distillkit("plan", *words).out


@pytest.mark.slow
def test_one_that_is_killed_ends_with_the_same_weights(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    words = [*again, *WORDS, "quantization.steps=40"]
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    workspace = tmp_path / "workspace"
    trained = weights(workspace)
    for path in (*workspace.glob("quantized-*"), *workspace.glob("compressed-*")):
        shutil.rmtree(path)
    begun = "workspace/.partial/quantized-*/checkpoint-0000002*"
    assert kill_when(words, tmp_path, begun), "it was over before"
    assert list(tmp_path.glob(begun))
    assert weights(workspace).keys() < trained.keys()
    done = distillkit("compress", *words)
    assert done.code == 0, done.err
    assert weights(workspace) == trained


def test_what_decides_it_is_in_its_name(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    def planned(*more: str) -> list[str]:
        words = with_overrides(again, "compression=[onnx_int8_distilled]", *more)
        names = [line.split()[-1] for line in distillkit("plan", *words).out.splitlines() if line]
        kinds = ("student-", "compressed-")
        return [next(name for name in names if name.startswith(kind)) for kind in kinds]

    own, distilled = planned()
    assert planned("quantization.steps=3") == [own, planned("quantization.steps=3")[1]]
    assert planned("quantization.steps=3")[1] != distilled
    assert planned("quantization.lr_factor=0.2")[1] != distilled
    assert planned("trainer.log_every=7") == [own, distilled]


def test_a_folder_alone_or_a_run_without_soft_targets_is_refused(
    distillkit: Distillkit, fresh: list[str], tmp_path: Path
) -> None:
    from tests import tiny

    model = tiny.write_model(tmp_path / "mine", labels=("no", "yes"))
    words = (f"student.path={model}", "compression=[onnx_int8_distilled]")
    assert_refused(
        distillkit("compress", *words, f"workspace={tmp_path / 'w'}"),
        "compression = onnx_int8_distilled: trains a student on the soft targets of its run, and "
        "student.path",
    )
    result = distillkit("train", *fresh, "compression=[onnx_int8_distilled]", "loss=hard_labels")
    assert_refused(
        result, "compression = onnx_int8_distilled: learns from the teacher's soft targets"
    )
    result = distillkit("train", *fresh, "compression=[onnx]", "quantization.lr_factor=-1")
    assert_refused(result, "quantization.lr_factor = -1: must be greater than 0")
    words = with_overrides(fresh, "compression=[onnx_int8_distilled]", "student=bilstm")
    words = [word for word in words if not word.startswith("student.config")]
    result = distillkit("train", *words)
    assert_refused(
        result, "compression = onnx_int8_distilled: the student: layers of the class LSTM"
    )
    assert "student" not in artifact_kinds(Path(fresh[-1].partition("=")[2]))
