"""The check of a command line: every fault is found and said; nothing good is refused."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from distillkit.config import overrides
from distillkit.config.paths import groups
from tests.unit.config.conftest import Faults

WHEEL = "pypi://some-package==1.0.2/data/all.csv#sha256=" + "0f" * 32


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("loss.temprature=2", "loss.temprature: no such key; did you mean loss.temperature?"),
        ("lss.temperature=2", "lss.temperature: no such key; did you mean loss.temperature?"),
        ("temperature=2", "temperature: no such key; did you mean loss.temperature?"),
        ("lss=logit_mse", "lss: no such key; did you mean loss?"),
        ("seeed=1", "seeed: no such key; did you mean seed?"),
        ("loss=forwardkl", "loss = forwardkl: no such loss; did you mean forward_kl?"),
        ("recipe=bert-tny", "recipe = bert-tny: no such recipe; did you mean bert-tiny?"),
        ("loss/x=forward_kl", "loss/x: no such group; did you mean loss?"),
        ("+loss.temprature=2", "loss.temprature: no such setting of distillkit.losses.ForwardKL"),
        ("data=files", "data.train: required, but not set; add data.train=…"),
        ("student=pretrained", "student.path: required, but not set; add student.path=…"),
        ("optimizer.lr=fast", "optimizer.lr = fast: must be a number"),
        ("optimizer.lr='1e-3'", "optimizer.lr = 1e-3: must be a number"),
        ("optimizer.amsgrad=3", "optimizer.amsgrad = 3: must be a boolean"),
        ("loss.temperature=0", "loss.temperature = 0: must be greater than 0"),
        ("loss.temperature=null", "loss.temperature = null: must be a number"),
        ("seed=-1", "seed = -1: must be greater than or equal to 0"),
        ("seed=true", "seed = True: must be an integer"),
        ("control=1", "control = 1: must be a boolean"),
        ("scheduler.warmup=1.0", "scheduler.warmup = 1.0: must be less than 1"),
        ("trainer.keep=worst", "trainer.keep = worst: must be 'best' or 'last'"),
        ("data.label_names=good", "data.label_names = good: must be a list"),
        ("data.where=imdb", "data.where = imdb: must be a mapping"),
        ("student.config=bert", "student.config = bert: must be a mapping"),
        ("hydra.run.dir=", "hydra.run.dir = '': needs a folder after it, as hydra.run.dir=FOLDER"),
        ("hydra.sweep.dir=' '", "hydra.sweep.dir = ' ': needs a folder after it, as hydra.sweep."),
        ("workspace=null", "workspace.path = null: must be a string"),
        (
            "workspace.verify=sometimes",
            "workspace.verify = sometimes: must be 'always', 'once' or 'never'",
        ),
        ("workspace.verfy=once", "workspace.verfy: no such key; did you mean workspace.verify?"),
        ("workspace={path:3}", "workspace.path = 3: must be a string"),
        ("train", "train: not an override; write key=value"),
        ("hydra.no_such=1", "hydra.no_such"),
    ],
)
def test_a_fault_is_said_in_one_line(faults: Faults, word: str, fault: str) -> None:
    (said,) = faults(word)
    assert fault in said
    assert "\n" not in said


@pytest.mark.parametrize(("one", "several"), [("path", "teachers"), ("seed", "seeds")])
def test_a_setting_of_one_teacher_leads_to_that_of_several(
    faults: Faults, one: str, several: str
) -> None:
    (said,) = faults("teacher=ensemble", "teacher.body=x", f"teacher.{one}=3")
    assert f"teacher.{one}: no such key; did you mean teacher.{several}?" in said


def test_where_no_name_is_near_some_are_listed_and_what_lists_all(faults: Faults) -> None:
    (said,) = faults("loss=mse")
    assert "logit_mse" in said
    assert f"… {len(groups()['loss'])} in all (`distillkit train --help` lists them)" in said
    (said,) = faults("loss=forwrd_kl")
    assert "did you mean forward_kl? (`distillkit train --help` lists them)" in said
    (said,) = faults("recipe=xyz")
    assert said.endswith("in all (`distillkit recipes` lists them)")
    assert len(said) < 250
    (said,) = faults("loss.x=1")
    assert "it takes temperature, soft_weight, hard_weight, scale_by_t2, reduction" in said


def test_a_key_below_a_setting_that_is_not_there_leads_back_to_its_group(faults: Faults) -> None:
    (said,) = faults("student=pretrained", "student.path=x", "student.config.hidden_size=3")
    assert said.startswith("student.config.hidden_size: no such key")
    assert "it takes path" in said


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["seed=SEED"], ["seed"]),
        (["data=files", "teacher=local", "teacher.seed=SEED", "targets.seed=SEED"], []),
        (["teacher=ensemble", "teacher.seeds=[1,SEED]", "evaluation.rouge_seeds=[SEED]"], []),
        (["augmentation=word_dropout", "augmentation.seed=SEED"], ["augmentation.seed"]),
    ],
)
def test_a_seed_is_one_that_generators_take(
    faults: Faults, words: list[str], keys: list[str]
) -> None:
    keys = keys or [word.partition("=")[0] for word in words if "SEED" in word]
    base = ["data.train=a.csv", "teacher.body=b", "targets=sampled"]
    for seed, bound in ((2**63, "must be less than 9223372036854775808"), (-1, "greater than or")):
        lines = faults(*base, *(word.replace("SEED", str(seed)) for word in words))
        for key in keys:
            assert any(line.startswith(f"{key} = ") and bound in line for line in lines), lines
    good = [word.replace("SEED", str(2**63 - 1)) for word in words]
    for line in faults(*base, *good):
        assert "9223372036854775807" not in line


@pytest.mark.parametrize("value", [".inf", "inf", "nan", "-inf"])
@pytest.mark.parametrize("key", ["loss.temperature", "loss.hard_weight", "trainer.max_grad_norm"])
def test_a_number_that_is_none_is_refused(faults: Faults, key: str, value: str) -> None:
    (line,) = (line for line in faults(f"{key}={value}") if line.startswith(key))
    assert "must be" in line


def test_all_faults_are_reported_at_once(faults: Faults) -> None:
    said = faults(
        "data=files",
        "student=huge",
        "loss.temprature=1",
        "loss.soft_weight=-1",
        "optimizer.lr=fast",
        "seeed=1",
        "trainer.keep=worst",
        "word",
    )
    keys = [line.split(":")[0].split(" = ")[0] for line in said]
    assert sorted(keys) == [
        "data.train",
        "loss.soft_weight",
        "loss.temprature",
        "optimizer.lr",
        "seeed",
        "student",
        "trainer.keep",
        "word",
    ]


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("optimizer.amsgrad=true", "optimizer.amsgrad", True),
        ("+optimizer.amsgrad=true", "optimizer.amsgrad", True),
        ("student.config.hidden_act=relu", "student.config.hidden_act", "relu"),
        ("student.config.id2label={0: no}", "student.config.id2label", {0: "no"}),
        ("data.drop_empty=true", "data.drop_empty", True),
        ("teacher.labels=[bad,good]", "teacher.labels", ["bad", "good"]),
        ("optimizer.lr=1e-3", "optimizer.lr", 1e-3),
        ("run_name=my run", "run_name", "my run"),
        ("trusted=[mine.]", "trusted", ["mine."]),
        ("trust_remote_code=true", "trust_remote_code", True),
    ],
)
def test_what_the_target_takes_is_accepted_written_in_its_file_or_not(
    word: str, key: str, value: Any
) -> None:
    assert OmegaConf.select(overrides.check([word]).cfg, key) == value


@pytest.mark.parametrize(
    "value",
    [
        WHEEL,
        "/tmp/my reviews/all texts.csv",
        "C:\\texts\\all.csv",
        "it's.csv",
        "a=b.csv",
        "~/texts.csv",
        "owner/name:config@revision",
        "owner/name#split=train[:100]",
        "größe.csv",
    ],
)
def test_a_source_needs_no_quotes(value: str) -> None:
    checked = overrides.check(["data=files", f"data.train={value}"])
    assert checked.cfg.data.train == value
    # Hydra reads the same out of what it is handed
    assert overrides.check(checked.overrides).cfg.data.train == value


def test_quotes_may_be_there_all_the_same() -> None:
    assert overrides.check(["data=files", f"data.train='{WHEEL}'"]).cfg.data.train == WHEEL


def test_a_setting_can_be_taken_out_again(faults: Faults) -> None:
    assert faults("~optimizer.fused") == []
    assert "fused" not in overrides.check(["~optimizer.fused"]).cfg.optimizer
    (said,) = faults("data=files", "data.train=x.csv", "~data.text")
    assert said.startswith("data.text: required, but not set")


def test_the_order_of_words_does_not_matter() -> None:
    words = ["loss=logit_mse", "loss.reduction=batchmean", "recipe=bert-tiny", "seed=3"]
    assert overrides.check(words).cfg == overrides.check(words[::-1]).cfg


def test_what_a_recipe_sets_for_a_choice_that_was_replaced_is_left_out() -> None:
    checked = overrides.check(["recipe=bert-tiny", "loss=logit_mse"])
    assert checked.left_out == ["loss.temperature"]
    assert "temperature" not in checked.cfg.loss
    assert overrides.check(checked.overrides).cfg == checked.cfg
    assert overrides.check(["recipe=bert-tiny", "loss=soft_cross_entropy"]).left_out == []


@pytest.mark.parametrize(
    ("words", "loss", "left_out"),
    [
        (["recipe=classify", "task=regression"], "LogitMSE", ["loss.temperature"]),
        (["recipe=classify", "task=multi_label"], "BernoulliKL", []),
        (["task=regression"], "LogitMSE", []),
        (["task=multi_label", "loss=logit_mse"], "LogitMSE", []),
        (["recipe=classify", "task=token_classification", "data=tagged"], "ForwardKL", [
            "data.transfer_spans", "data.transfer_spans_size",
        ]),
        (["recipe=classify"], "ForwardKL", []),
        (["recipe=tinybert-4", "task=regression"], None, []),
    ],
)  # fmt: skip
def test_a_task_brings_the_loss_that_it_takes(
    words: list[str], loss: str | None, left_out: list[str]
) -> None:
    checked = overrides.check([*words, "data.train=x.csv"])
    assert checked.left_out == left_out
    assert overrides.check(checked.overrides).cfg == checked.cfg
    if loss is None:  # the recipe's own stays, for its author to be told
        assert checked.brought == []
        return
    assert checked.cfg.loss["_target_"] == f"distillkit.losses.{loss}"
    is_brought = loss != "ForwardKL" and not any(word.startswith("loss=") for word in words)
    assert len(checked.brought) == is_brought


def test_spans_of_a_recipe_are_cut_of_pairs_too(faults: Faults) -> None:
    words = ["recipe=classify", "data.train=x.csv", "data.text_pair=other"]
    checked = overrides.check(words)
    assert (checked.left_out, checked.cfg.data.transfer_spans) == ([], 7)


def test_but_not_what_the_command_line_sets_itself(faults: Faults) -> None:
    (said,) = faults("recipe=bert-tiny", "loss=logit_mse", "loss.temperature=3")
    assert said.startswith("loss.temperature: no such setting of distillkit.losses.LogitMSE")


def test_what_is_checked_again_is_the_same() -> None:
    once = overrides.check(["recipe=bert-tiny", "optimizer.amsgrad=true", "seed=3"])
    assert overrides.check(once.overrides).cfg == once.cfg


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["loss.temperature=1,2,0"], "loss.temperature = 0: must be greater than 0"),
        (["loss.temperature=choice(1,-2)"], "loss.temperature = -2: must be greater than 0"),
        (["loss.temperature=range(2,-1,-1)"], "loss.temperature = 0"),
        (["loss=forward_kl,mse"], "loss = mse: no such loss"),
        (["loss=forward_kl,logit_mse", "loss.temperature=1"], "loss.temperature"),
        (["student=bert_tiny,pretrained"], "student.path: required, but not set"),
        (["optimizer.lr=1e-3,fast"], "optimizer.lr = fast: must be a number"),
        (["trainer.keep=best,worst", "seed=1,2"], "trainer.keep = worst"),
    ],
)
def test_every_choice_of_a_sweep_is_checked(faults: Faults, words: list[str], fault: str) -> None:
    (said,) = faults(*words)
    assert fault in said


@pytest.mark.parametrize(
    "word",
    [
        "loss=forward_kl,soft_cross_entropy",
        "loss.temperature=1,2,4",
        "loss.temperature=range(1,4)",
        "seed=range(3)",
        "scheduler=glob(*)",
        "optimizer.lr=interval(1e-4,1e-2)",  # for an optimising sweeper
        "optimizer.lr=tag(log,interval(1e-4,1e-2))",
        "recipe=bert-tiny",
    ],
)
def test_a_good_sweep_is_handed_on_as_it_stands(word: str) -> None:
    (handed,) = overrides.check([word]).overrides
    assert handed.lstrip("+") == word


def test_the_first_choice_of_a_sweep_makes_the_config() -> None:
    assert overrides.check(["loss.temperature=4,2"]).cfg.loss.temperature == 4


def test_settings_are_plain_data_with_all_references_followed(tmp_path: Path) -> None:
    data = overrides.plain(overrides.check([]).cfg)["data"]
    assert data["transfer"] == data["train"]
