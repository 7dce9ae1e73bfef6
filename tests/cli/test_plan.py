"""`distillkit plan`: what is there, what is to be made, what it costs, and what does not fit."""

import json
import re
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from distillkit.models import hardware
from tests import tiny, tiny_language
from tests.cli.runs import Finished, artifact_kinds, assert_refused, with_overrides
from tests.conftest import Distillkit, Result

Usage = namedtuple("Usage", "total used free")
TEXTS = {"data", "transfer", "tokens"}


@pytest.fixture(autouse=True)
def _quick_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here looks at the machine's speed."""
    monkeypatch.setattr(hardware, "probe", lambda *_, **__: 1e9)


@pytest.fixture(scope="module")
def language_words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("language")
    teacher = tiny_language.write_model(folder / "teacher", padded=9)
    texts = tiny_language.write_documents(folder)
    return tiny_language.small(teacher, texts, folder / "workspace")


def table(result: Result, title: str) -> dict[str, list[str]]:
    """The rows of a table by their first cell: cells are two spaces apart or more."""
    assert result.code == 0, result.err
    lines = iter(result.out.splitlines())
    assert any(line.startswith(title) for line in lines), result.out
    rows = {}
    for line in lines:
        if not line.startswith(" "):
            break
        cells = re.split(r" {2,}", line.strip())
        rows[cells[0]] = cells[1:]
    return rows


def states(result: Result) -> dict[str, str]:
    return {name: cells[0] for name, cells in table(result, "artifacts").items()}


# what is there


def test_before_anything_only_text_and_tokens_are_made(
    distillkit: Distillkit, fresh: list[str], tmp_path: Path
) -> None:
    result = distillkit("plan", *fresh)
    found = states(result)
    assert {name for name, state in found.items() if state == "made now"} == TEXTS
    assert {name for name, state in found.items() if state == "to be made"} == {
        *("teacher", "targets", "student", "control", "evaluation")
    }
    assert set(artifact_kinds(tmp_path / "workspace")) == TEXTS
    assert "plan: data: not there; fetched and made now" in result.err
    assert not (tmp_path / "outputs").exists()
    assert states(distillkit("plan", *fresh)) == {
        name: "there" if name in TEXTS else state for name, state in found.items()
    }


def test_after_a_run_all_is_there_and_nothing_is_left(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    def paths() -> list[Path]:  # but for the memory of what has been verified
        found = sorted((tmp_path / "workspace").rglob("*"))
        return [path for path in found if ".verified" not in path.parts]

    before = paths()
    result = distillkit("plan", *again)
    assert set(states(result).values()) == {"there"}
    assert table(result, "work")["all"] == ["-"]
    assert "nothing is left to compute" in result.out
    assert paths() == before
    assert "about" not in table(result, "targets")["dense, dtype float32"]


@pytest.mark.parametrize(
    ("word", "again_made"),
    [
        ("loss.temperature=9", {"student", "evaluation"}),
        ("control=false", {"evaluation"}),
        ("targets.codec.dtype=float16", {"targets", "student", "evaluation"}),
        ("teacher.lr=1e-5", {"teacher", "targets", "student", "evaluation"}),
        ("teacher.head=random", {"teacher", "targets", "student", "evaluation"}),
        ("teacher.patience=3", {"teacher", "targets", "student", "evaluation"}),
        ("teacher.max_steps=3", {"teacher", "targets", "student", "evaluation"}),
        ("teacher.check=warn", set()),
        ("evaluation.resamples=6", {"evaluation"}),
    ],
)
def test_what_a_change_makes_anew_is_what_the_run_would_make(
    distillkit: Distillkit, again: list[str], word: str, again_made: set[str], tmp_path: Path
) -> None:
    found = states(distillkit("plan", *with_overrides(again, word)))
    assert {name for name, state in found.items() if state != "there"} == again_made


def test_the_names_are_those_that_a_run_gives(
    distillkit: Distillkit, finished: Finished, again: list[str]
) -> None:
    rows = table(distillkit("plan", *again), "artifacts")
    named = {cells[1] for cells in rows.values() if "-" in cells[1] and " " not in cells[1]}
    there = {path.parent.name for path in finished.workspace.glob("*/manifest.json")}
    assert named == {name for name in there if not name.startswith("tokens")}


def test_what_was_begun_is_said(
    distillkit: Distillkit, again: list[str], finished: Finished, tmp_path: Path
) -> None:
    name = finished.artifact("targets").name
    shutil.rmtree(tmp_path / "workspace" / name)
    begun = tmp_path / "workspace" / ".partial" / name
    begun.mkdir(parents=True)
    (begun / "shard-00000.arrow").write_bytes(b"")
    assert states(distillkit("plan", *again))["targets"] == "begun"


def test_without_soft_targets_no_teacher_is_planned(
    distillkit: Distillkit, fresh: list[str]
) -> None:
    words = with_overrides(fresh, "loss=hard_labels", without="loss.")
    result = distillkit("plan", *words)
    assert states(result)["teacher"] == "not needed"
    assert {"targets", "control"}.isdisjoint(states(result))
    assert {"teacher", "targets", "control"}.isdisjoint(table(result, "work"))


# what it costs


def test_parameters_and_steps_are_those_of_the_run(
    distillkit: Distillkit, finished: Finished, fresh: list[str]
) -> None:
    result = distillkit("plan", *fresh)
    work = table(result, "work")
    report = json.loads(next(finished.folder.glob("outputs/*/*/results.json")).read_text())
    for row in ("teacher", "student", "control"):
        assert f"{report['rows'][row]['parameters']:,}" in work[row]
    assert f"{report['run']['student steps']:,} steps" in work["student"]
    manifest = json.loads((finished.artifact("targets") / "targets.json").read_text())
    asked = table(result, "text")["asked of the teacher"]
    counts = [manifest["examples"], manifest["tokens"], manifest["positions"]]
    assert asked[:3] == [f"{n:,}" for n in counts]


def test_the_targets_are_as_large_as_told(
    distillkit: Distillkit, fresh: list[str], finished: Finished
) -> None:
    told = table(distillkit("plan", *fresh), "targets")["dense, dtype float32"]
    written = sum(path.stat().st_size for path in finished.artifact("targets").glob("*.arrow"))
    value, unit = told[1].removeprefix("about ").split()
    assert unit == "kB"
    assert float(value) * 1e3 == pytest.approx(written, rel=0.35)  # shards of a few examples


def test_a_language_model_is_planned_from_its_config(
    distillkit: Distillkit, language_words: list[str], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    teacher = next(w for w in language_words if w.startswith("teacher.path=")).partition("=")[2]
    words = with_overrides(language_words, f"workspace={tmp_path / 'workspace'}")
    result = distillkit("plan", *words)
    found = states(result)
    assert found["teacher"] == "there"
    assert found["untrained"] == "to be made"
    parameters = AutoModelForCausalLM.from_pretrained(teacher).num_parameters()
    assert f"{parameters:,}" in table(result, "work")["targets"]
    assert "about" in str(table(result, "targets"))
    assert "The size of targets that keep some ids" in result.out
    assert set(artifact_kinds(tmp_path / "workspace")) == {"data", "tokens"}


@pytest.mark.parametrize(
    "student",
    [
        ["student=from_teacher", "student.hidden_size=16", "student.num_attention_heads=2"],
        ["student=bert_tiny", "student.config.model_type=llama", "student.config.hidden_size=16"],
    ],
    ids=["narrower", "new"],
)
def test_other_students_of_a_language_model(
    distillkit: Distillkit, language_words: list[str], student: list[str]
) -> None:
    words = with_overrides(language_words, *student, without="student")
    assert table(distillkit("plan", *words), "work")["student"][1].replace(",", "").isdigit()


def test_a_teacher_that_cannot_be_described_is_said_and_the_rest_is_told(
    distillkit: Distillkit, fresh: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from distillkit.errors import ModelError
    from distillkit.pipeline import meta_models

    def undescribed(*_: Any, **__: Any) -> None:
        raise ModelError("teacher.body = x: it has a secret")

    monkeypatch.setattr(meta_models, "meta_model", undescribed)
    result = distillkit("plan", *fresh)
    work = table(result, "work")
    assert "cannot be told" in work["teacher"]
    assert work["student"][1].replace(",", "").isdigit()
    assert work["all"] == ["cannot be told"]
    assert "not described without loading it (teacher.body = x: it has a secret)" in result.out


@pytest.mark.slow
def test_hardware_by_name(distillkit: Distillkit, language_words: list[str]) -> None:
    result = distillkit("plan", *language_words, "hardware=h100")
    work = table(result, "work, on one h100")
    assert "bfloat16" in work["targets"]
    assert "float32" in work["student"]
    assert "35% of h100's published dense peak" in result.out
    table(result, "memory at its peak, of 80.0 GB")


def test_unknown_hardware_is_told_all_there_is(distillkit: Distillkit, fresh: list[str]) -> None:
    line = assert_refused(distillkit("plan", *fresh, "hardware=h1000"), "hardware = h1000")
    assert all(name in line for name in hardware.HARDWARE)


# what does not fit


def test_a_disk_that_is_too_small_is_named_first(
    distillkit: Distillkit, fresh: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, 1234))
    result = distillkit("plan", *fresh)
    assert result.code == 0
    first = result.out.splitlines()[0]
    assert first.startswith("does not fit: disk: about ")
    assert "1.2 kB are free in " in first
    assert "workspace=FOLDER" in first


def test_memory_that_is_too_small_is_named_for_each_job(
    distillkit: Distillkit, fresh: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "main_memory", lambda: 5e8)
    result = distillkit("plan", *fresh)
    assert result.code == 0
    lines = [line for line in result.out.splitlines() if line.startswith("does not fit: ")]
    named = [line.split(":")[1].strip() for line in lines]
    assert named == ["teacher", "targets", "student", "control", "evaluation"]
    assert result.out.splitlines()[: len(lines)] == lines
    assert "this machine has 500 MB; set trainer.micro_batch_size" in lines[2]


# what is refused, as by the run


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("trainer.batch_size=100000", "trainer.batch_size = 100000"),
        ("student.path=./here", "student.path = ./here"),
        ("teacher.body=./nowhere", "teacher.body = ./nowhere"),
    ],
)
def test_what_a_run_would_refuse_is_refused(
    distillkit: Distillkit, fresh: list[str], word: str, said: str
) -> None:
    assert_refused(distillkit("plan", *with_overrides(fresh, word)), said)


@pytest.mark.slow
def test_a_store_of_another_teacher_is_refused(
    distillkit: Distillkit, fresh: list[str], finished: Finished
) -> None:
    path = finished.artifact("targets")
    assert states(distillkit("plan", *fresh, f"targets.path={path}"))["targets"] == "there"
    words = with_overrides(fresh, "teacher.lr=1e-5", f"targets.path={path}")
    assert_refused(distillkit("plan", *words), "made by another teacher")


@pytest.mark.slow
def test_a_sweep_is_planned_one_by_one(distillkit: Distillkit, fresh: list[str]) -> None:
    result = distillkit("plan", "-m", *fresh, "loss.temperature=1,2")
    assert result.code == 0, result.err
    assert sum(line.strip() == "artifacts" for line in result.out.splitlines()) == 2


@pytest.mark.slow
def test_other_texts_are_other_artifacts(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    train, _ = tiny.write_reviews(tmp_path, 130, 10)
    found = states(distillkit("plan", *with_overrides(again, f"data.train={train}")))
    assert found["data"] == "made now"
    assert found["student"] == "to be made"


# many processes


def test_many_processes_and_a_larger_corpus(
    distillkit: Distillkit, language_words: list[str]
) -> None:
    scale = ["hardware=h100", "processes=64", "tokens=1e9"]
    result = distillkit("plan", *language_words, *scale, "trainer.steps=null", "trainer.epochs=2")
    times = table(result, "time, on 64 x h100, 1e+09 tokens")
    assert {"targets", "student", "all"} <= times.keys()
    memory = table(result, "student: memory of a process at its peak, of 80.0 GB")
    sharded = [name + way for name in ("zero2", "fsdp2", "zero3") for way in ("", "+offload")]
    assert [*memory][1:] == ["ddp", *sharded]  # after the heads
    assert {cells[-1] for name, cells in memory.items() if name in sharded} == {"fits"}
    assert "token tables" in table(result, "bytes on disk")
    assert "None of it was run on a cluster" in " ".join(result.out.split())
    assert "raise trainer.batch_size" in result.out  # fewer rows than processes


def test_twice_the_corpus_is_twice_the_work(
    distillkit: Distillkit, language_words: list[str]
) -> None:
    scale = ["hardware=h100", "trainer.steps=null", "trainer.epochs=1", "trainer.batch_size=4"]
    first, second = (
        distillkit("plan", *language_words, *scale, f"tokens={tokens}")
        for tokens in ("1e10", "2e10")
    )

    def flops(result: Result, name: str) -> float:
        (cell,) = (c for c in table(result, "time, on 1 x h100")[name] if c.endswith("FLOP"))
        number, unit = cell.split()
        return float(number.replace(",", "")) * 1000 ** "MGTPE".index(unit[0])

    for name in ("targets", "student"):
        assert flops(second, name) == pytest.approx(2 * flops(first, name), rel=0.01)


@pytest.mark.parametrize("word", ["processes=0", "processes=-3", "processes=1.5", "tokens=0"])
def test_no_processes_and_no_tokens_are_refused(
    distillkit: Distillkit, fresh: list[str], word: str
) -> None:
    key, _, value = word.partition("=")
    assert_refused(distillkit("plan", *fresh, word), f"{key} = {value}")


def test_a_model_may_be_planned_by_its_config_alone(
    distillkit: Distillkit, language_words: list[str], tmp_path: Path
) -> None:
    (word,) = (word for word in language_words if word.startswith("teacher.path="))
    folder = shutil.copytree(word.partition("=")[2], tmp_path / "teacher")
    for path in folder.glob("*.safetensors"):
        path.unlink()
    words = with_overrides(language_words, f"teacher.path={folder}")
    assert table(distillkit("plan", *words), "work")["targets"]
    assert_refused(distillkit("generate-targets", *words), "no *.safetensors in it")


def test_streamed_text_is_the_artifact_of_text_read_whole(
    distillkit: Distillkit, language_words: list[str], tmp_path: Path
) -> None:
    words = with_overrides(language_words, f"workspace={tmp_path / 'workspace'}")
    streamed = states(distillkit("plan", *words, "data.streaming=true"))
    assert (streamed["data"], streamed["tokens"]) == ("made now", "made now")
    whole = states(distillkit("plan", *words))
    assert (whole["data"], whole["tokens"]) == ("there", "there")
