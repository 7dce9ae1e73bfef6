"""A run as its parts, before and after something is made."""

import dataclasses

import pytest

from distillkit.config import overrides
from distillkit.pipeline.build_context import build_context
from distillkit.pipeline.run import Run
from tests.cli.runs import artifact_kinds


def test_a_run_makes_nothing_before_it_is_needed(words: list[str]) -> None:
    context = build_context(overrides.check(words).cfg, makes=("student",))
    run = Run(context)
    assert not artifact_kinds(context.workspace.root)
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.seed = 1  # type: ignore[misc]

    labels = run.text.corpus.labels
    assert labels.names == ("bad", "good")
    assert artifact_kinds(context.workspace.root) == ["data", "transfer"]


def test_a_phase_knows_the_ones_before_it(words: list[str]) -> None:
    cfg = overrides.check(words).cfg
    first = build_context(cfg, makes=(), phase="first")
    second = build_context(cfg, makes=(), phase="second", before=first)
    assert [it.phase for it in second.phases] == ["first", "second"]
    assert Run(second, Run(first)).students.before is not None
