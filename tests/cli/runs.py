"""Runs of the command line that more than one test reads, and words that change a run."""

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.conftest import Result

QUICK = [
    "teacher.epochs=1",
    "trainer.epochs=1",
    "evaluation.latency_examples=2",
    "evaluation.throughput_batches=1",
    "evaluation.resamples=5",
]


@dataclass(frozen=True)
class Finished:
    """A run that is over: to be read only."""

    words: list[str]
    workspace: Path
    folder: Path  # the current folder it ran in
    result: Result

    def artifact(self, kind: str) -> Path:
        """The folder of the one artifact of this kind."""
        (found,) = self.workspace.glob(f"{kind}-*")
        return found


def run(folder: Path, *words: object) -> Result:
    """Run a command line in this process, in `folder`; never raises."""
    from hydra.core.global_hydra import GlobalHydra

    from distillkit.cli import main as cli

    GlobalHydra.instance().clear()
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["distillkit", *map(str, words)]),
        mock.patch.dict("os.environ", COLUMNS="200"),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    GlobalHydra.instance().clear()
    return Result(int(code or 0), out.getvalue(), err.getvalue())


def with_overrides(words: Sequence[str], *more: str, without: str = "-") -> list[str]:
    """These words with some keys given another value, and without the keys that begin so."""
    new = {word.partition("=")[0] for word in more}
    kept = [w for w in words if w.partition("=")[0] not in new and not w.startswith(without)]
    return [*kept, *more]


def artifact_kinds(workspace: Path) -> list[str]:
    """The kinds of the finished artifacts in a workspace, each as often as it is there."""
    return sorted(path.parent.name.split("-")[0] for path in workspace.glob("*/manifest.json"))


def results(folder: Path) -> dict[str, Any]:
    """results.json of the newest run below a current folder."""
    newest = max(folder.glob("outputs/*/*/results.json"), key=lambda path: path.parent.name)
    found: dict[str, Any] = json.loads(newest.read_text())
    return found


def report(folder: Path) -> Path:
    """The folder of the newest report below a current folder."""
    return max(folder.glob("outputs/*/*/report.md"), key=lambda path: path.parent.name).parent


def assert_refused(result: Result, *said: str) -> str:
    """That a command was refused as it should be, saying all this; return the line."""
    assert result.code == 2, result
    ours = [line for line in result.err.splitlines() if line.startswith("distillkit:")]
    assert len(ours) == 1, result.err
    assert result.err.splitlines()[-1] == ours[0]
    assert "Traceback" not in result.err + result.out
    for part in said:
        assert part in ours[0]
    return ours[0]
