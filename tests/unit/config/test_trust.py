"""What `_target_` may be built from: trust comes from the command line, and from nowhere else."""

import contextlib
from pathlib import Path

import pytest

from distillkit.config import overrides
from distillkit.config.build import build
from distillkit.config.classes import refusal
from distillkit.config.signatures import NotFound, located
from tests.unit.config.conftest import Faults, write

OUTSIDE = "is outside the classes that may stand here"
MODULE = """
from pathlib import Path

from torch import nn


class Mine(nn.Module):
    needs_teacher = True

    def __init__(self, alpha: float = 0.5) -> None:
        super().__init__()
        self.alpha = alpha


def leave_a_mark(path: str = "mark") -> str:
    Path(path).touch()
    return "text"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's that can be imported."""
    name = f"own_{tmp_path.name}"
    write(tmp_path / f"{name}.py", MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.fixture
def folder(mine: Path, module: str) -> Path:
    """The user's folder, with a loss out of the module."""
    write(mine / "loss" / "own.yaml", f"_target_: {module}.Mine\nalpha: 0.25")
    return mine


@pytest.mark.parametrize(
    "target",
    ["os.system", "builtins.eval", "distillkit_evil.Loss", "torch.load", "torch.nn.Linear"],
)
def test_a_target_outside_is_refused(faults: Faults, target: str) -> None:
    (said,) = faults(f"loss._target_={target}")
    assert said.startswith(f"loss._target_: {target} {OUTSIDE}")
    assert f"add 'trusted=[{target}]' on the command line if you trust it" in said


def test_a_users_own_class_is_taken_where_the_command_line_trusts_it(
    faults: Faults, folder: Path, module: str
) -> None:
    (said,) = faults("loss=own", folder=folder)
    assert OUTSIDE in said
    assert "loss/own.yaml" in said
    cfg = overrides.check(["loss=own", f"trusted=[{module}.]"], user_folder=folder).cfg
    assert build(cfg.loss, key="loss").alpha == 0.25


def test_its_settings_are_checked_like_ours(faults: Faults, folder: Path, module: str) -> None:
    words = ["loss=own", f"trusted=[{module}.]"]
    assert faults(*words, "loss.alpha=x", folder=folder) == ["loss.alpha = x: must be a number"]
    assert faults(*words, "loss.beta=1", folder=folder)[0].startswith("loss.beta: no such key")
    assert faults(*words, "loss.alpha=1", folder=folder) == []


def test_another_module_is_not_trusted_with_it(faults: Faults, folder: Path) -> None:
    (said,) = faults("loss=own", "trusted=[other.]", folder=folder)
    assert OUTSIDE in said


@pytest.mark.parametrize("key", ["trusted: [own.]", "trust_remote_code: true"])
@pytest.mark.parametrize("words", [(), ("trusted=[]", "trust_remote_code=false")])
def test_a_recipe_cannot_widen_its_own_trust(
    faults: Faults, mine: Path, key: str, words: tuple[str, ...]
) -> None:
    write(mine / "recipes" / "greedy.yaml", key)
    (said,) = faults("recipe=greedy", *words, folder=mine)
    assert said.startswith(key.split(":")[0])
    assert "a file cannot grant itself trust; give it on the command line" in said


@pytest.mark.parametrize("key", ["trusted: [own.]", "trust_remote_code: true"])
def test_nor_as_a_later_choice_of_a_sweep(faults: Faults, mine: Path, key: str) -> None:
    write(mine / "recipes" / "greedy.yaml", key)
    (said,) = faults("recipe=own,greedy", folder=mine)
    assert "a file cannot grant itself trust" in said


def test_nor_can_a_group(faults: Faults, mine: Path, module: str) -> None:
    text = f"# @package _global_\ntrusted: [{module}.]\nloss: {{_target_: {module}.Mine}}"
    write(mine / "loss" / "greedy.yaml", text)
    assert any("_target_" in said or "trust" in said for said in faults("loss=greedy", folder=mine))


@pytest.mark.parametrize(
    "place",
    [
        "loss: TARGET",
        "trainer: {steps: TARGET}",
        "student: {config: TARGET}",
        "student: {config: {hidden_act: TARGET}}",
        "student: {config: {a: {b: TARGET}}}",
        "student: {config: {a: [TARGET]}}",
        "data: {where: {source: TARGET}}",
        "optimizer: {betas: [TARGET, 0.9]}",
    ],
)
def test_no_target_of_a_recipe_runs_untrusted_however_deep_it_lies(
    faults: Faults, mine: Path, module: str, place: str
) -> None:
    target = f"{{_target_: {module}.leave_a_mark}}"
    write(mine / "recipes" / "deep.yaml", place.replace("TARGET", target))
    said = faults("recipe=deep", folder=mine)
    assert any(OUTSIDE in line and f"{module}.leave_a_mark" in line for line in said)
    assert not Path("mark").exists()


def test_a_recipe_does_not_set_up_hydra_itself(faults: Faults, mine: Path, module: str) -> None:
    text = f"hydra: {{callbacks: {{mark: {{_target_: {module}.leave_a_mark}}}}}}"
    write(mine / "recipes" / "deep.yaml", text)
    assert any("hydra" in line for line in faults("recipe=deep", folder=mine))


@pytest.mark.parametrize(
    "target", ["distillkit.losses.Nope", "distillkit.nope.Loss", "torch.optim.Nope"]
)
def test_a_target_of_ours_that_does_not_exist_is_said(faults: Faults, target: str) -> None:
    (said,) = faults(f"loss._target_={target}")
    assert said.startswith(f"loss._target_: {target} does not exist")


@pytest.mark.parametrize("name", ["pickle.loads", "operator.add", "_json.scanstring"])
def test_a_name_that_comes_from_compiled_code_is_refused_in_a_line(name: str) -> None:
    line = refusal(name, "loss", is_part=False)
    assert line is not None and line.startswith(f"{name} is outside the classes")
    trusted = refusal(name, "loss", is_part=False, trusted=[name])
    assert trusted is None
    with contextlib.suppress(NotFound):  # what is written in Python is found
        located(name)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"def f(:", "invalid syntax"),
        (b"\x7fELF\x00\x98", "broken.py is no Python that can be read"),
        (b"x = '\xff'", "broken.py is no Python that can be read"),
        (b"x = " + 100_000 * b"(", "broken.py is no Python that can be read"),
    ],
)
def test_a_module_that_is_no_python_is_named(
    content: bytes, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NotFound) as refused:
        located("broken.L")
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_a_module_is_read_in_the_encoding_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "# -*- coding: latin-1 -*-\nNAME = 'é'\nclass L: pass\n"
    (tmp_path / "latin.py").write_bytes(source.encode("latin-1"))
    monkeypatch.syspath_prepend(tmp_path)
    assert located("latin.L")[0] == tmp_path / "latin.py"
