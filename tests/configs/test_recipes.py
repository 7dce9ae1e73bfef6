"""Every recipe: it composes, passes the check, builds, and says what it is."""

from pathlib import Path

import pytest
import yaml

from distillkit.cli.commands.recipes import FIELDS
from distillkit.config import overrides, phases
from distillkit.config.build import build
from distillkit.config.compose import load_yaml
from distillkit.config.paths import CONF, RECIPES, recipe_files
from distillkit.config.settings import GROUPS, RunSettings
from distillkit.config.signatures import signature
from distillkit.errors import ConfigError

OURS = ("bert-tiny", "smollm2-mini")  # one an encoder's, one a language model's
each_recipe = pytest.mark.parametrize("name", recipe_files())
ours = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in OURS else [pytest.mark.slow]) for n in recipe_files()]
)


def test_there_are_recipes_and_all_lie_flat() -> None:
    assert recipe_files()
    assert sorted(RECIPES.rglob("*.yaml")) == sorted(recipe_files().values())


@each_recipe
def test_it_composes_passes_the_check_and_builds(name: str) -> None:
    cfg = overrides.check([f"recipe={name}"]).cfg
    assert cfg.run_name == name
    every = [cfg, *(p.cfg for p in phases.settled([f"recipe={name}"], phases.declared(cfg)))]
    for settled in every:
        for group in GROUPS:
            build(settled[group], key=group, partial=group == "optimizer")


@each_recipe
def test_it_says_teacher_student_data_what_it_expects_and_who_says_so(name: str) -> None:
    about = load_yaml(recipe_files()[name])["about"]
    assert set(about) == set(FIELDS) == {"teacher", "student", "data", "expects", "source"}
    assert all(isinstance(about[field], str) and about[field].strip() for field in FIELDS)


@ours
def test_both_spellings_do_the_same(name: str) -> None:
    plain, added = overrides.check([f"recipe={name}"]), overrides.check([f"+recipe={name}"])
    assert plain.cfg == added.cfg
    assert plain.overrides == added.overrides


@each_recipe
def test_it_writes_only_groups_and_keys_of_a_run(name: str) -> None:
    known = {*GROUPS, *RunSettings.__dataclass_fields__, "defaults"}
    assert set(load_yaml(recipe_files()[name])) <= known


@ours
def test_the_command_line_wins_over_it(name: str) -> None:
    cfg = overrides.check(["optimizer.lr=0.125", "seed=7", f"recipe={name}"]).cfg
    assert (cfg.optimizer.lr, cfg.seed) == (0.125, 7)


@ours
@pytest.mark.parametrize(
    ("group", "choice", "needed"),
    [
        ("student", "pretrained", ["student.path=./body"]),
        ("loss", "hard_labels", []),
        ("scheduler", "constant", []),
        ("optimizer", "sgd", []),
        ("teacher", "local", ["teacher.path=./ready"]),
        ("data", "files", ["data.train=my.csv"]),
    ],
)
def test_another_choice_can_be_taken_with_it(
    name: str, group: str, choice: str, needed: list[str]
) -> None:
    settings = load_yaml(recipe_files()[name]).get(group, {})
    takes = signature(load_yaml(CONF / group / f"{choice}.yaml")["_target_"]).parameters
    checked = overrides.check([f"recipe={name}", f"{group}={choice}", *needed])
    cfg = checked.cfg
    # what the recipe set for its own choice, and the other one has no use for
    assert checked.left_out == sorted(f"{group}.{key}" for key in settings if key not in takes)
    build(cfg[group], key=group, partial=group == "optimizer")


def test_a_published_figure_without_its_source_is_refused(tmp_path: Path) -> None:
    block = load_yaml(recipe_files()["distilgpt2"])["published"][0]
    fields = ["paper", "metric", "number", "source", "status"]
    (tmp_path / "recipes").mkdir()
    mine = {"published": [{k: v for k, v in block.items() if k != field} for field in fields]}
    (tmp_path / "recipes" / "mine.yaml").write_text(yaml.safe_dump(mine))
    with pytest.raises(ConfigError) as refused:
        overrides.check(["recipe=mine"], user_folder=tmp_path)
    for place, field in enumerate(fields):
        assert f"published.{place}.{field}: missing" in str(refused.value)


def test_a_class_that_the_recipe_names_gives_way_to_a_choice() -> None:
    words = ["recipe=tang-bilstm-sst2", "optimizer=sgd", "optimizer.momentum=0.5"]
    checked = overrides.check(words)
    assert checked.left_out == ["optimizer._target_", "optimizer.rho"]
    assert checked.cfg.optimizer["_target_"] == "torch.optim.SGD"
    assert checked.cfg.optimizer.momentum == 0.5
    own = overrides.check([*words[:1], "optimizer=torch", "optimizer._target_=torch.optim.Adamax"])
    assert own.cfg.optimizer["_target_"] == "torch.optim.Adamax"


def test_pkd_of_3_layers_has_the_settings_that_its_table_has_for_sst_2() -> None:
    """pkd_3layer_mean.csv: kd.cls.True_SST-2_nlayer.3_lr.5e-05_T.20.0_alpha.0.2_beta.1.0_bs.32."""
    cfg = overrides.check(["recipe=pkd-3"]).cfg
    alpha, beta, pairs = 0.2, 1.0, 2  # teacher's layers 10 and 11 to the student's 1 and 2
    assert dict(cfg.loss.weights) == {"hard": 1 - alpha, "kl": alpha, "patience": beta / pairs}
    assert cfg.loss.terms.kl.temperature == 20.0 and cfg.loss.terms.patience.normalise
    assert (cfg.optimizer.lr, cfg.trainer.batch_size, cfg.trainer.epochs) == (5e-5, 32, 4)


def test_pkd_of_6_layers_has_the_settings_that_its_table_has_for_sst_2() -> None:
    """pkd_6layer_mean.csv, kd.cls.True_SST-2_nlayer.6_lr.5e-05_T.10.0_alpha.0.5_beta.100.0_bs.32"""
    cfg = overrides.check(["recipe=pkd-6"]).cfg
    assert dict(cfg.loss.weights) == {"hard": 0.5, "kl": 0.5, "patience": 100 / 5}
    assert cfg.loss.terms.kl.temperature == 10.0 and cfg.loss.terms.patience.normalise
    assert (cfg.optimizer.lr, cfg.trainer.batch_size, cfg.trainer.epochs) == (5e-5, 32, 4)


def test_minitron_drops_one_block() -> None:
    student = build(overrides.check(["recipe=minitron-depth"]).cfg.student, key="student")
    student.check_layers(32)
    assert sorted(set(range(1, 33)) - {i + 1 for i in student.layers}) == list(range(16, 32))
    assert not student.needs_text


def test_pre_training_distillation_weighs_the_teacher_as_it_rises_and_falls() -> None:
    loss = build(overrides.check(["recipe=pd-top-p"]).cfg.loss, key="loss")
    for progress, soft in ((0.0, 0.0), (0.005, 0.45), (0.5, 0.9), (0.95, 0.45)):
        loss.on_step_begin(progress)
        assert loss.weights == pytest.approx({"soft": soft, "hard": 1 - soft})
    assert not loss.scale_by_t2
