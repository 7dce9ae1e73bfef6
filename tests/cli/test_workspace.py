"""`distillkit workspace` after a real run; see tests/faults/test_tidying.py for all others."""

import shutil
from pathlib import Path

from distillkit.artifacts.holdings import look
from tests.cli.runs import Finished
from tests.conftest import Distillkit


def test_a_real_run_is_recorded_and_all_that_it_used_is_needed(
    distillkit: Distillkit, finished: Finished, tmp_path: Path
) -> None:
    copy = shutil.copytree(finished.workspace, tmp_path / "workspace")
    holdings = look(copy, days=30)
    assert {it.group for it in holdings.entries} == {"artifact"}
    assert not [it.name for it in holdings.entries if it.is_unused or it.damage]
    # the run that made it all; other tests begin with the same workspace, and make nothing more
    (found,) = (record for record in holdings.records if record.outputs)
    assert found.name == "run"
    assert not found.is_under_way
    assert {it.name for it in holdings.entries} == found.outputs
    # without its record what the run has to do with is no longer needed but by others of it
    shutil.rmtree(copy / ".runs")
    unused = {it.kind for it in look(copy, days=30).entries if it.is_unused}
    assert unused == {"evaluation", "tokens"}
    assert distillkit("workspace", "verify", f"workspace={copy}").code == 0
