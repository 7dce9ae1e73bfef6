"""The screen before the first step of `distillkit train`, and what its report says of the run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from distillkit.data.corpus import Corpus
from distillkit.pipeline import summary
from tests import tiny
from tests.cli.runs import Finished, artifact_kinds, report, results, run, with_overrides
from tests.conftest import Distillkit


def screen(err: str, name: str = "run") -> dict[str, str]:
    """The rows of the screen: what stands left -> right."""
    lines = err.splitlines()
    begin = lines.index(f"{name}:") + 1
    rows: dict[str, str] = {}
    last = ""
    for line in lines[begin:]:
        if not line.startswith("  "):
            break
        left, right = re.fullmatch(r"  (\S*(?: \S+)*) {2,}(.*)", line).groups()  # type: ignore[union-attr]
        last = left or last
        rows[last] = f"{rows[last]} | {right}" if last in rows else right
    return rows


def test_it_says_what_will_be_done_before_the_first_step(finished: Finished) -> None:
    err = finished.result.err
    rows = screen(err)
    (data,) = finished.workspace.glob("data-*")
    labels = Corpus.open(data, None).split("train").labels
    assert labels is not None
    good, bad = int((labels == 1).sum()), int((labels == 0).sum())
    assert f"{len(labels)} train" in rows["data"]
    assert "60 transfer" in rows["data"]
    assert "reviews.csv" in rows["data"]
    assert f"good {good} ({good / (good + bad):.0%})" in rows["classes"]
    assert f"bad {bad} ({bad / (good + bad):.0%})" in rows["classes"]
    found = results(finished.folder)
    for row in ("teacher", "student"):
        assert f"{found['rows'][row]['parameters']:,} parameters" in rows[row]
    assert "fitted" in rows["teacher"]
    assert rows["training"].startswith(f"{found['run']['student steps']} steps of ForwardKL (temp")
    assert "AdamW (lr 0.003" in rows["training"]
    assert "schedule Linear" in rows["training"]
    assert rows["targets"].startswith("dense, dtype float32; ")
    assert "this machine" in rows["expected"]
    assert err.index("expected ") < err.index("teacher: ")
    assert "\x1b" not in err


def test_of_what_is_there_it_says_so(distillkit: Distillkit, again: list[str]) -> None:
    result = distillkit("train", *again)
    assert result.code == 0, result.err
    assert result.err.startswith("run: all is there already, in ")
    assert "expected" not in result.err


def test_many_classes_are_bounded() -> None:
    names = [f"class_{i}" for i in range(77)]
    shown = summary.counts(names, range(1, 78))
    assert shown == "class_76 77, class_75 76, class_74 75, class_73 74 … class_0 1"
    assert len(summary.counts(["x" * 500] * 3, [1, 1, 1])) < 150


@pytest.mark.parametrize(("task", "label"), [("regression", "label"), ("multi_label", "classes")])
def test_labels_of_other_tasks(
    distillkit: Distillkit, words: list[str], tmp_path: Path, task: str, label: str
) -> None:
    if task == "regression":
        rng = np.random.default_rng(0)
        rows = [(text, round(float(rng.random()), 3)) for text, _ in tiny.labelled(80)]
        file = tiny.write_csv(tmp_path / "real.csv", ("text", "label"), rows)
        more = ["loss=logit_mse"]
    else:
        file = tiny.write_several(tmp_path, 80)
        more = ["loss=bernoulli_kl", "data.label=labels", "'data.label_separator=|'".strip("'")]
    changed = with_overrides(
        words, f"task={task}", f"data.train={file}", "trainer.epochs=1", without="data."
    )
    result = distillkit("train", *changed, "data=files", "data.text=text", *more)
    if task == "multi_label":
        assert result.code == 0, result.err
        assert "3 in training: any " in screen(result.err)[label]
    else:
        assert result.code == 0, result.err
        assert re.fullmatch(r"0\.\d+ to 0\.\d+, mean 0\.[45]\d*", screen(result.err)[label])


def test_the_report_and_the_card_name_what_made_the_student(finished: Finished) -> None:
    folder = report(finished.folder)
    for text in ((folder / "report.md").read_text(), (folder / "student/README.md").read_text()):
        for line in (
            "- teacher: ",
            "- data: train: ",
            "- loss: ForwardKL (temperature 2.0, ",
            "- targets: dense, dtype float32",
            "- optimizer: AdamW (lr 0.003, ",
            "- command: `distillkit train ",
        ):
            assert f"\n{line}" in text


def test_the_command_of_a_report_makes_the_same_again(finished: Finished, tmp_path: Path) -> None:
    """Also of a run over one job's settings: nothing is made a second time."""
    text = (report(finished.folder) / "report.md").read_text()
    command = text.partition("- command: `distillkit train ")[2].partition("`\n")[0]
    before = artifact_kinds(finished.workspace)
    done = run(tmp_path, "train", *shlex.split(command))
    assert done.code == 0, done.err
    assert artifact_kinds(finished.workspace) == before
    assert "all is there already" in done.err
