"""What is composed for a check is what Hydra composes for the run."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from distillkit.config import entries
from distillkit.config.compose import composing

LINES = [
    [],
    ["loss=forward_kl", "loss.temperature=3"],
    ["loss=reverse_kl", "++loss.rest=tail", "seed=3", "run_name=a b"],
    ["+recipe=bert-tiny", "optimizer.lr=1e-3", "optimizer=sgd", "~optimizer.momentum"],
    ["student=scratch", "student.config={model_type: bert, hidden_size: 12}", "teacher.path=./x"],
    ["+recipe=bert-tiny", "data.label_names=[bad,'good one']", "workspace=${oc.env:HOME}/w"],
    ["student.config.hidden_size=16", "++student.config.new.deeper=[1,{a: null}]"],
    ["control=false", "hydra.run.dir=here", "trainer.epochs=1"],
    ["+trainer.other=1", "trainer.epochs=1", "~trainer.epochs"],
]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_values_are_written_as_hydra_writes_them(words: list[str]) -> None:
    entries.register(None, words)
    with composing(None) as composer:
        expected, _ = composer._composed(words)
        for _ in range(2):  # of what is kept, nothing is changed
            found, _ = composer.compose(words)
            assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)
            assert found == expected


@pytest.mark.parametrize(
    "key", ["loss.temprature=1", "seed.deeper=1", "nothing.at.all=1", "~optimizer.nothing"]
)
def test_what_hydra_refuses_is_refused(key: str) -> None:
    with composing(None) as composer:
        with pytest.raises(Exception) as expected:
            composer._composed([key])
        with pytest.raises(type(expected.value)) as found:
            composer.compose([key])
        assert str(found.value) == str(expected.value)


def test_a_file_that_says_something_else_is_composed_anew(tmp_path: Path) -> None:
    for seed in (3, 4):
        for name in "ab":  # two folders at a time, each with a file of that name
            folder = tmp_path / name
            (folder / "recipes").mkdir(parents=True, exist_ok=True)
            (folder / "recipes" / "mine.yaml").write_text(f"seed: {seed}\nabout: {{what: {name}}}")
            entries.register(folder, ["+recipe=mine"])
            with composing(folder) as composer:
                cfg, _ = composer.compose(["+recipe=mine"])
            assert (cfg.seed, cfg.about.what) == (seed, name)
    entries.register(None, [])
    with composing(None) as composer, pytest.raises(Exception, match="mine"):
        composer.compose(["+recipe=mine"])


def test_what_was_refused_once_is_refused_in_the_same_words() -> None:
    with composing(None) as composer:
        errors = []
        for _ in range(3):
            with pytest.raises(Exception, match="nothing") as refused:
                composer.compose(["~nothing.at.all"])
            errors.append(str(refused.value))
    assert len(set(errors)) == 1
