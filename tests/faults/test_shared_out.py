"""Models that are shared out: by the words of conf/scale.md, and where a process is killed.

pytest -m slow tests/faults/test_shared_out.py
"""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny, tiny_language
from tests.cli.runs import QUICK, with_overrides
from tests.faults.kills import weights
from tests.processes import FSDP2, ROOT, distillkit
from tests.tiny import env

pytestmark = pytest.mark.slow


def blocks() -> tuple[str, list[str]]:
    """The Accelerate config, and the words of the command that takes it, without its recipe."""
    text = (ROOT / "conf" / "scale.md").read_text()
    found = re.search(
        r"```yaml\n(# fsdp2\.yaml.*?)```\n```\n(accelerate launch .*?)\n```", text, re.S
    )
    assert found
    config, command = found.groups()
    return config, shlex.split(command)[:-1]


@pytest.mark.parametrize("targets", ["stored", "online"])
def test_the_words_of_the_page_share_a_model_out(targets: str, tmp_path: Path) -> None:
    config, words = blocks()
    (tmp_path / "fsdp2.yaml").write_text(config)
    model = tiny_language.write_model(tmp_path / "llama")
    documents = tiny_language.write_documents(tmp_path, 60)
    quick = [word for word in QUICK if not word.startswith("teacher")]
    run = with_overrides(tiny_language.small(model, documents, tmp_path / "w"), *quick)
    if targets == "online":
        run = [word for word in run if not word.startswith("targets")] + ["targets=online"]
    launcher = str(Path(sys.executable).parent / words[0])
    ended = subprocess.run(
        [launcher, *words[1:], *run, "control=false", "trainer.checkpoint_seconds=0"],
        cwd=tmp_path,
        env=env(DISTILLKIT_MEETING_SECONDS="240"),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr[-6000:]
    assert "Traceback" not in ended.stderr
    assert "passed over" not in ended.stderr
    assert "student: FSDP2 shares it out among 2 processes" in ended.stderr
    assert len(list(tmp_path.glob("w/student-*/metrics.jsonl"))) == 1
    assert not list(tmp_path.glob("w/.partial/*"))


def test_a_process_that_is_killed_takes_the_other_along_and_the_run_goes_on(
    body: Path, tmp_path: Path
) -> None:
    texts = tiny.write_reviews(tmp_path, 120, 60)
    often = ["trainer.checkpoint_seconds=0", "trainer.epochs=2", "control=false", "workspace=w"]
    words = with_overrides(tiny.small(body, *texts, tmp_path / "w"), *QUICK, *often)
    ended = []
    for name in ("undisturbed", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "killed":
            run = distillkit("train", *words, cwd=folder, **FSDP2)
            sign = "w/.partial/student-*/checkpoint-0000000[2-9]*/shard-00002-*"
            assert run.kill_when(1, folder, sign), "the run ended before"
            codes = [it.code for it in run.end(300)]
            assert codes == [75, -signal.SIGKILL]
        both = distillkit("train", *words, cwd=folder, **FSDP2).end(600)
        assert [it.code for it in both] == [0, 0], both[0].err
        assert "Traceback" not in both[0].err
        ended.append(weights(folder / "w"))
    assert len(ended[0]) == 2  # the teacher and the student
    assert ended[0] == ended[1]
