"""What is taken where nothing is said: codecs, temperatures, settings of one's own class."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distillkit.config import overrides
from distillkit.errors import ConfigError
from distillkit.pipeline.build_context import build_context
from distillkit.pipeline.run import Run
from distillkit.targets import Dense, LastHidden, Sampled, TargetStore, TopK
from tests import tiny, tiny_language
from tests.cli.runs import assert_refused, with_overrides
from tests.conftest import Distillkit

LINEAR = "{_target_:distillkit.schedules.Linear,start:4,end:1}"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Words of a small language-model run that says nothing of targets and temperatures."""
    folder = tmp_path_factory.mktemp("spoken")
    model, texts = tiny_language.write_model(folder / "lm"), tiny_language.write_documents(folder)
    words = tiny_language.small(model, texts, folder / "workspace")
    return [w for w in words if not w.startswith(("targets=", "loss."))]


def run(words: list[str], *more: str) -> Run:
    return Run(build_context(overrides.check(with_overrides(words, *more)).cfg, makes=()))


@pytest.mark.parametrize(
    ("more", "codec", "temperature"),
    [
        ([], Sampled(temperature=1.0), 1.0),
        (["loss=soft_cross_entropy"], Sampled(temperature=1.0), 1.0),
        (["loss.temperature=2"], Sampled(temperature=2.0), 2.0),
        (["targets.codec.draws=9"], Sampled(draws=9, temperature=1.0), 1.0),
        (["targets.codec.temperature=3"], Sampled(temperature=3.0), 1.0),
        (["targets=sampled", "targets.codec.temperature=3"], Sampled(temperature=3.0), 3.0),
        (["targets=sampled", "loss.temperature=3"], Sampled(temperature=3.0), 3.0),
        (["targets=top_k"], TopK(), 1.0),
        (["targets=top_k", "loss.temperature=2"], TopK(temperatures=[1.0, 2.0]), 2.0),
        (["targets=stored"], Dense(), 1.0),
        (["loss=reverse_kl"], LastHidden(), 1.0),
        (["loss=reverse_kl", "targets.codec.dtype=int8"], LastHidden(dtype="int8"), 1.0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_language_model_is_sampled_at_the_temperature_of_its_loss(
    spoken: list[str], more: list[str], codec: Any, temperature: float
) -> None:
    if more == ["targets.codec.temperature=3"]:
        temperature = 3.0  # the loss follows a codec that says its own
    found = run(spoken, *more).context
    assert found.targets.codec == codec
    assert found.loss.temperatures["temperature"](0.0) == temperature


def test_a_temperature_that_moves_needs_all_of_the_teacher(spoken: list[str]) -> None:
    assert run(spoken, f"loss.temperature={LINEAR}").context.targets.codec == LastHidden()
    refusal = _refusal(spoken, "targets=top_k", f"loss.temperature={LINEAR}")
    assert str(refusal).startswith("loss.temperature: goes through all from 1 to 4")


def _refusal(words: list[str], *more: str) -> Exception:
    with pytest.raises(Exception, match="targets=last_hidden") as refusal:
        run(words, *more)
    return refusal.value


@pytest.mark.parametrize("codec", ["sampled", "top_k"])
def test_several_temperatures_of_a_mixture(spoken: list[str], codec: str) -> None:
    terms = [
        f"loss.terms.{name}={{_target_:distillkit.losses.ForwardKL,temperature:{t}}}"
        for name, t in (("warm", 2), ("hot", 4))
    ]
    words = ["loss=mixture", *terms, "loss.weights={kl:0,warm:1,hot:1}", f"targets={codec}"]
    if codec == "top_k":
        assert run(spoken, *words).context.targets.codec.supported_temperatures == (1.0, 2.0, 4.0)
    else:
        assert "temperatures 2 and 4" in str(_refusal(spoken, *words))


def test_classes_are_few_and_all_kept(words: list[str]) -> None:
    assert run(words).context.targets.codec == Dense()
    assert run(words, "targets.codec.dtype=float16").context.targets.codec == Dense(dtype="float16")
    assert run(words).context.loss.temperature == 2.0  # of a classifier: the file's


def test_what_a_recipe_says_stands() -> None:
    cfg = overrides.check(["recipe=distilgpt2"]).cfg
    assert (cfg.loss.temperature, cfg.targets.codec.temperature) == (2.0, 2.0)
    assert overrides.check(["recipe=smollm2-mini"]).defaults == []


def test_a_setting_of_another_codec_is_refused_by_name(spoken: list[str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        run(spoken, "targets.codec.k=9")
    assert "targets.codec.k: no such setting of distillkit.targets.Sampled" in str(refusal.value)
    assert "chosen by targets=auto; targets=NAME chooses another" in str(refusal.value)


def test_a_given_store_of_another_temperature_is_refused_and_the_advice_works(
    distillkit: Distillkit, spoken: list[str], tmp_path: Path
) -> None:
    words = with_overrides(spoken, f"workspace={tmp_path / 'workspace'}", "control=false")
    made = distillkit("generate-targets", *words, "loss.temperature=2")
    assert made.code == 0, made.err
    (store,) = (tmp_path / "workspace").glob("targets-*")
    assert TargetStore.open(store).manifest.codec["temperature"] == 2.0
    line = assert_refused(
        distillkit("train-student", *words, f"targets.path={store}"),
        "it was captured at temperature 2, and loss.temperature is 1; set loss.temperature=2, or",
    )
    advised = next(
        word.strip(",;") for word in line.split() if word.startswith("loss.temperature=")
    )
    learnt = distillkit("train-student", *words, f"targets.path={store}", advised)
    assert learnt.code == 0, learnt.err


OWN = """
from distillkit.losses import ForwardKL


class MyLoss(ForwardKL):
    def __init__(self, temperature: float = 5.0, strength: float = 1.0) -> None:
        super().__init__(temperature=temperature)
        self.strength = strength
"""
TRUST = ["loss._target_=my_package.MyLoss", "trusted=[my_package.]"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package of one's own, which is the current one."""
    (tmp_path / "my_package.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    return tmp_path


def test_ones_own_loss_trains_with_its_own_settings(
    distillkit: Distillkit, own: Path, words: list[str]
) -> None:
    made = distillkit(
        "train", *with_overrides(words, "trainer.epochs=1", "teacher.epochs=1"), *TRUST
    )
    assert made.code == 0, made.err
    (config,) = own.glob("outputs/run/*/config.yaml")
    assert "temperature: 2.0" not in config.read_text()
    assert "strength" not in config.read_text()  # nothing of forward_kl's file, nothing added


def test_settings_for_ones_own_class_are_checked_against_it(
    distillkit: Distillkit, own: Path, words: list[str]
) -> None:
    shown = distillkit("train", *words, *TRUST, "loss.strength=3", "--cfg", "job")
    assert "  strength: 3\n" in shown.out
    assert "scale_by_t2" not in shown.out
    assert_refused(
        distillkit("train", *words, *TRUST, "loss.strengh=3"), "did you mean loss.strength?"
    )


def test_another_optimizers_class_keeps_the_rate() -> None:
    cfg = overrides.check(["optimizer._target_=torch.optim.Adamax", "optimizer.lr=0.5"]).cfg
    assert cfg.optimizer.lr == 0.5
    plain = overrides.check(["optimizer._target_=torch.optim.SGD"]).cfg.optimizer
    assert set(plain) == {"_target_", "lr", "weight_decay", "fused"} & {*plain}
    assert plain.lr == overrides.check([]).cfg.optimizer.lr


def test_a_recipes_settings_that_ones_own_class_takes_are_kept(own: Path) -> None:
    sys.path.append(str(own))
    cfg = overrides.check(["recipe=bert-tiny", *TRUST]).cfg
    assert dict(cfg.loss) == {"_target_": "my_package.MyLoss", "temperature": 4.0}


def test_a_module_beside_the_command_is_found_without_python_path(own: Path) -> None:
    """`python -m` puts the current folder on the path; the console script does not."""
    code = "import sys; sys.path.pop(0); from distillkit.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *TRUST, "--cfg", "job"],
        cwd=own,
        capture_output=True,
        text=True,
        env=tiny.env(PYTHONPATH=str(Path(__file__).parents[2])),
    )
    assert done.returncode == 0, done.stderr
    assert "_target_: my_package.MyLoss" in done.stdout


@pytest.mark.parametrize(
    ("more", "patience", "below"),
    [
        ([], 6, 0.05),
        (["trainer.patience=2"], 2, 0.05),  # the control ends no sooner than it has learnt
        (["trainer.patience=2", "trainer.patience_below=0.5"], 2, 0.5),
        (["trainer.eval_every=2"], None, None),
    ],
)
def test_a_patience_of_one_s_own_is_the_control_s_once_it_has_learnt_its_labels(
    more: list[str], patience: int | None, below: float | None, fresh: list[str]
) -> None:
    words = with_overrides(fresh, without="trainer.eval_every")
    found = run(words, "control=true", *more).students.control
    assert found is not None
    assert (found.settings.patience, found.settings.patience_below) == (patience, below)
