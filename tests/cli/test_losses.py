"""Losses that a run makes of several, that change as it goes on, or that its store cannot give."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.cli.runs import assert_refused, with_overrides
from tests.conftest import Distillkit

LINEAR = "_target_:distillkit.schedules.Linear"
MIXTURE = [
    "loss=mixture",
    f"loss.weights.hard={{{LINEAR},start:1.0,end:0.0}}",
    "+loss.terms.moving={_target_:distillkit.losses.TAID,start:0.2}",
    "loss.weights.moving=1.0",
    "trainer.log_every=1",
]


def test_a_mixture_reports_its_terms_and_leaves_nothing_of_itself_in_the_student(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    there = set((tmp_path / "workspace").glob("student-*"))
    words = with_overrides(again, *MIXTURE, without="loss.")
    learnt = distillkit("train-student", *words)
    assert learnt.code == 0, learnt.err
    (student,) = set((tmp_path / "workspace").glob("student-*")) - there
    lines = (student / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for done, row in enumerate(rows):
        hard = 1.0 - done / len(rows)
        expected = 0.5 * row["kl"] + hard * row["hard"] + row["moving"]
        assert row["loss"] == pytest.approx(expected, rel=1e-4)
        assert row["hard_weight"] == pytest.approx(hard)
    interpolated = [row["moving.t"] for row in rows]
    assert interpolated[0] == pytest.approx(0.2)
    assert interpolated == sorted(interpolated) and interpolated[-1] > 0.2
    with safe_open(student / "model/model.safetensors", "pt") as weights:
        names = set(weights.keys())
    with safe_open(there.pop() / "model/model.safetensors", "pt") as weights:
        assert names == set(weights.keys())


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["loss=taid"], "TAID compares all logits, and the store holds a few entries"),
        (
            ["loss=forward_kl", f"loss.temperature={{{LINEAR},start:4,end:1}}"],
            "loss.temperature: goes through all from 1 to 4",
        ),
        (
            ["loss=mixture", "loss.terms.kl._target_=distillkit.losses.AKL"],
            "AKL compares all logits",
        ),
    ],
    ids=["taid", "schedule", "mixture"],
)
def test_what_a_store_of_a_few_entries_cannot_give_is_refused_before_any_work(
    distillkit: Distillkit, fresh: list[str], tmp_path: Path, words: list[str], fault: str
) -> None:
    sparse = with_overrides(fresh, "targets=top_k", "targets.codec.k=2", *words, without="loss.")
    assert_refused(distillkit("train", *sparse), fault)
    assert not list((tmp_path / "workspace").glob("teacher-*"))


@pytest.mark.slow
def test_a_softmax_inside_a_mixture_is_no_loss_for_one_real_value(
    distillkit: Distillkit, fresh: list[str]
) -> None:
    words = with_overrides(fresh, "task=regression", "loss=mixture", without="loss.")
    assert_refused(
        distillkit("train", *words), "loss = Mixture: a softmax over one real-valued output"
    )


def test_what_is_no_loss_of_ours_is_refused_in_one_line(
    distillkit: Distillkit, again: list[str]
) -> None:
    other = "torch.nn.modules.loss.MSELoss"
    words = [*with_overrides(again, without="loss."), "loss=hard_labels", f"loss._target_={other}"]
    assert_refused(distillkit("train", *words), f"loss._target_: {other} is outside the classes")
    words.append(f"trusted=[{other}]")  # as the line advises
    said = assert_refused(distillkit("train", *words), f"loss._target_ = {other}: no loss")
    assert "distillkit.losses.Loss" in said


def test_z_scores_of_two_classes_are_refused_before_the_teacher(
    distillkit: Distillkit, fresh: list[str], tmp_path: Path
) -> None:
    words = with_overrides(fresh, "loss=standardised_kl", without="loss.")
    fault = "learns nothing from 2 classes, it takes 3 or more"
    assert_refused(distillkit("plan", *words), fault)
    said = assert_refused(distillkit("train", *words), fault)
    assert "loss = StandardisedKL" in said and "choose loss=forward_kl" in said
    assert not list((tmp_path / "workspace").glob("teacher-*"))


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["task=regression", "loss=list_mle"], "loss = ListMLE: a softmax over one real-valued"),
        (["task=regression", "loss=bernoulli_kl"], "regression takes loss=logit_mse"),
        (
            ["task=regression", "loss=logit_mse", "targets=sampled"],
            "targets.codec = sampled: keeps entries of a softmax, and a model of Regression says "
            "one real value; choose targets=stored",
        ),
        (["loss=forward_kl", "targets=last_hidden"], "targets.codec = last_hidden: keeps the last"),
        (
            ["loss=contrast", "trainer.micro_batch_size=1"],
            "loss = Contrast: compares the texts of a micro-batch, and there is one alone",
        ),
        (["loss=dkd", "loss.alpha=0", "loss.beta=0"], "loss.alpha = 0, loss.beta = 0: nothing"),
    ],
    ids=["order", "bernoulli", "codec", "states", "contrast", "dkd"],
)
def test_what_a_loss_or_a_codec_cannot_be_for_is_refused_before_any_work(
    distillkit: Distillkit, fresh: list[str], tmp_path: Path, words: list[str], fault: str
) -> None:
    assert_refused(distillkit("train", *with_overrides(fresh, *words, without="loss.")), fault)
    assert not list((tmp_path / "workspace").glob("*-*"))
