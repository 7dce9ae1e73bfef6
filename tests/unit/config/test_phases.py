"""The phases of a run: whose settings count in which, and what is refused."""

import pytest

from distillkit.config import overrides, phases
from distillkit.config.compose import composing
from distillkit.errors import ConfigError

TWO = {"layers": ["loss=hidden_mse"], "labels": ["loss=forward_kl", "loss.hard_weight=0.5"]}


def settled(*words: str, declared: dict[str, list[str]] | None = None) -> list[phases.Phase]:
    return phases.settled([*words], declared or TWO)


def faults(*words: str, declared: dict[str, list[str]] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        settled(*words, declared=declared)
    return refused.value.problems


def test_each_phase_has_the_runs_config_and_its_own_overrides() -> None:
    layers, labels = settled("optimizer.lr=1e-3")
    assert layers.cfg.loss["_target_"].endswith("HiddenMSE")
    assert labels.cfg.loss.hard_weight == 0.5
    assert layers.cfg.optimizer.lr == labels.cfg.optimizer.lr == 1e-3
    assert layers.cfg.phases is None


def test_each_starts_where_the_one_before_ends() -> None:
    assert [phase.start for phase in settled()] == [None, "layers"]


def test_a_phase_may_start_anew_or_from_an_earlier_one() -> None:
    three = {"a": [], "b": ["start=new"], "c": ["start=a"]}
    assert [phase.start for phase in settled(declared=three)] == [None, None, "a"]


def test_a_setting_of_the_run_is_for_phases_that_keep_its_choice() -> None:
    one = {"layers": ["loss=hidden_mse"], "logits": []}
    layers, logits = settled("loss.temperature=3", declared=one)
    assert logits.cfg.loss.temperature == 3
    assert "temperature" not in layers.cfg.loss


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (
            ["start=frst"],
            "phases.second: start = frst: no such phase before it; did you mean first?",
        ),
        (["start=second"], "phases.second: start = second: no such phase before it"),
        (["loss=hiden_mse"], "phases.second: loss = hiden_mse: no such loss"),
        (["trainer.epochs=x"], "phases.second: trainer.epochs = x: must be a number"),
        (["student=bert_mini"], "starts from the student of phase first"),
        (["trainer.steps=1,2"], "only settings of the whole run can be swept"),
    ],
)
def test_a_fault_names_its_phase(own: list[str], said: str) -> None:
    (line,) = faults(declared={"first": [], "second": own})
    assert said in line


def test_a_setting_that_no_phase_takes_is_refused() -> None:
    (line,) = faults("loss.beta=0.5", declared={"only": ["loss=hidden_mse"]})
    assert line == (
        "loss.beta: every phase chooses its own loss; set it in one of them, as in "
        "phases.only.loss.beta=…"
    )


def test_the_command_line_speaks_to_one_phase() -> None:
    words = ["seed=1", "phases.layers.trainer.steps=7", "phases.layers.loss=hidden_cosine"]
    rest, own = phases.gathered(words)
    assert rest == ["seed=1"]
    cfg = overrides.check(["phases={layers:['loss=hidden_mse']}"]).cfg
    declared = phases.declared(cfg, own)
    assert declared == {"layers": ["trainer.steps=7", "loss=hidden_cosine"]}
    (line,) = phases.as_words(declared, own)
    with composing(None) as composer:
        again, _ = composer.compose(["phases={layers:['loss=hidden_mse']}", line])
    assert phases.declared(again) == declared


@pytest.mark.parametrize(
    ("words", "own", "said"),
    [
        (["phases={a:['seed=1']}"], {"b": ["seed=2"]}, "phases.b: no such phase; "),
        ([], {"b": ["seed=2"]}, "phases.b: no such phase; this run has none"),
        (["start=a"], {}, "start = a: only a phase starts from another"),
    ],
)
def test_phases_that_are_not_there_are_refused(
    words: list[str], own: dict[str, list[str]], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        phases.declared(overrides.check(words).cfg, own)
