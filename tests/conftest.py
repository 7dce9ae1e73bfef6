"""What all tests share: one thread, no hub, tiny models, and distillkit run in this process."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests import tiny

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.pop("DISTILLKIT_WORKSPACE", None)

# libyaml reads the same in a tenth of the time, and hundreds of tests have Hydra read all its files
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Distillkit = Callable[..., Result]


@pytest.fixture(autouse=True, scope="session")
def _signals_as_in_a_terminal() -> None:
    """Tests may run where nohup or a background shell has signals ignored; children inherit it."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _absl_keeps_its_hands_off() -> None:
    """rouge-score's logging takes the stderr of its import, and closes it when Hydra sets up its.

    Outside of tests that is the process's own, which it leaves open.
    """
    from absl import logging

    logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture
def distillkit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Distillkit]:
    """Run a command line in this process, in a folder of its own; never raises."""
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    from distillkit.cli import main as cli

    # Hydra composes once more to see whether a file sets hydra.mode: none does, and it takes long
    monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> Result:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["distillkit", *map(str, words)])
        capsys.readouterr()
        code: int | str | None = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Result(int(code or 0), captured.out, captured.err)

    yield call
    GlobalHydra.instance().clear()


@pytest.fixture(scope="session")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT body with a tokenizer."""
    return tiny.write_model(tmp_path_factory.mktemp("models") / "body")


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(labelled csv, transfer csv)."""
    return tiny.write_reviews(tmp_path_factory.mktemp("texts"))


@pytest.fixture
def words(body: Path, reviews: tuple[Path, Path], tmp_path: Path) -> list[str]:
    """Overrides of a whole run that takes seconds, with a workspace of its own."""
    return tiny.small(body, *reviews, tmp_path / "workspace")
