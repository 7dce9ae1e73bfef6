"""A user's own --config-dir: its groups and recipes count, and a fault in them names the file."""

from pathlib import Path

import pytest

from distillkit.config import overrides
from tests.unit.config.conftest import Faults, write


def test_its_groups_and_recipes_are_taken(mine: Path) -> None:
    assert overrides.check(["loss=warm"], user_folder=mine).cfg.loss.temperature == 4.0
    cfg = overrides.check(["recipe=own"], user_folder=mine).cfg
    assert (cfg.run_name, cfg.seed, cfg.loss.temperature) == ("own", 7, 4.0)
    assert overrides.check(["recipe=bert-tiny"], user_folder=mine).cfg.run_name == "bert-tiny"


def test_without_it_they_are_unknown(faults: Faults) -> None:
    assert faults("loss=warm")[0].startswith("loss = warm: no such loss")
    assert faults("recipe=own")[0].startswith("recipe = own: no such recipe")


def test_its_choices_are_among_the_nearest_names(faults: Faults, mine: Path) -> None:
    assert "did you mean warm?" in faults("loss=wram", folder=mine)[0]
    assert "did you mean own?" in faults("recipe=onw", folder=mine)[0]


def test_the_command_line_wins(mine: Path) -> None:
    cfg = overrides.check(["recipe=own", "loss.temperature=8", "seed=1"], user_folder=mine).cfg
    assert (cfg.loss.temperature, cfg.seed) == (8, 1)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("temprature: 2", "loss.temprature: no such setting of distillkit.losses.ForwardKL"),
        ("temperature: -2", "loss.temperature = -2: must be greater than 0"),
        ("reduction: sum", "loss.reduction = sum: must be 'batchmean' or 'mean'"),
    ],
)
def test_a_fault_in_a_group_names_the_file(
    faults: Faults, mine: Path, line: str, fault: str
) -> None:
    write(mine / "loss" / "odd.yaml", f"_target_: distillkit.losses.ForwardKL\n{line}")
    (said,) = faults("loss=odd", folder=mine)
    assert fault in said
    assert "loss/odd.yaml" in said


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("sede: 7", "sede: no such setting; did you mean seed?"),
        ("trainr: {steps: 3}", "trainr: no such setting; did you mean trainer?"),
        ("trainer: {stpes: 3}", "trainer.stpes: no such setting"),
        ("trainer: {keep: worst}", "trainer.keep = worst: must be 'best' or 'last'"),
        ("optimizer: {lr: fast}", "optimizer.lr = fast: must be a number"),
        ("seed: one", "seed = one: must be an integer"),
        ("data: {text: 3}", "data.text = 3: must be a string"),
        ("defaults: [{override /loss: mse}]", "mse"),
        ("run_name: ${no.such}", "no.such"),
    ],
)
def test_a_fault_in_a_recipe_names_the_file(
    faults: Faults, mine: Path, line: str, fault: str
) -> None:
    write(mine / "recipes" / "odd.yaml", line)
    (said,) = faults("recipe=odd", folder=mine)
    assert fault in said
    assert "odd" in said
    assert "\n" not in said


def test_all_faults_of_a_recipe_and_the_words_are_reported(faults: Faults, mine: Path) -> None:
    write(mine / "recipes" / "odd.yaml", "sede: 7\nloss: {temprature: 3}\ntrainer: {keep: worst}")
    said = faults("recipe=odd", "optimizer.lr=fast", folder=mine)
    assert len(said) == 4
    assert sum("recipes/odd.yaml" in line for line in said) == 3


def test_a_word_that_mends_a_recipe_is_enough(faults: Faults, mine: Path) -> None:
    write(mine / "recipes" / "odd.yaml", "trainer: {keep: worst}")
    assert faults("recipe=odd", "trainer.keep=last", folder=mine) == []


@pytest.mark.parametrize("text", ["loss: {temperature: 2", "a: b: c", "- a\n- b", "\tseed: 3"])
def test_a_broken_recipe_is_named(faults: Faults, mine: Path, text: str) -> None:
    path = write(mine / "recipes" / "broken.yaml", text)
    (said,) = faults("recipe=broken", folder=mine)
    assert str(path) in said
    assert "\n" not in said


def test_a_broken_group_is_named(faults: Faults, mine: Path) -> None:
    path = write(mine / "loss" / "broken.yaml", "_target_: [distillkit")
    (said,) = faults("loss=broken", folder=mine)
    assert str(path) in said
    assert "\n" not in said


def test_a_group_without_a_target_is_told_so(faults: Faults, mine: Path) -> None:
    write(mine / "loss" / "odd.yaml", "temperature: 2")
    (said,) = faults("loss=odd", folder=mine)
    assert said.startswith("loss._target_: missing")


def test_an_entry_of_our_own_name_is_not_passed_over_in_silence(faults: Faults, mine: Path) -> None:
    write(
        mine / "loss" / "forward_kl.yaml", "_target_: distillkit.losses.ForwardKL\ntemperature: 9"
    )
    refused = faults("loss=forward_kl", folder=mine)
    assert refused or overrides.check([], user_folder=mine).cfg.loss.temperature == 9


@pytest.mark.parametrize("name", ["true", "1", "0.5"])
def test_names_that_are_no_text_hinder_no_hint(faults: Faults, mine: Path, name: str) -> None:
    text = f"_target_: distillkit.tasks.CausalLM\nstride: {{{name}: {{{name}: 2}}}}"
    write(mine / "task" / "odd.yaml", text)
    hinted, stride = faults("task=odd", "loss.temprature=1", folder=mine)
    assert hinted == "loss.temprature: no such key; did you mean loss.temperature?"
    assert stride.startswith("task.stride = {")


@pytest.mark.parametrize("phases", ["{a: 1}", "{a: {b: 1}}", "[a]", "3", "{a: x}"])
def test_an_entry_of_a_group_has_no_phases(faults: Faults, mine: Path, phases: str) -> None:
    write(mine / "data" / "odd.yaml", f"_target_: distillkit.data.TextData\nphases: {phases}")
    lines = faults("data=odd", folder=mine)
    assert any(line.startswith("data.phases: no such setting") for line in lines)
