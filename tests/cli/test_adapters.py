"""LoRA students and teachers, as the command line makes and reads them."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests import tiny, tiny_language
from tests.cli.runs import assert_refused, report, run, with_overrides
from tests.conftest import Distillkit
from tests.faults.kills import kill_when, weights

pytestmark = [
    pytest.mark.skipif(find_spec("peft") is None, reason="of the extra `adapters`"),
    pytest.mark.filterwarnings("ignore"),  # PEFT's, of what transformers has renamed
]
LORA = ["student=pretrained", "student.adapter=lora", "control=false"]


def lora_words(words: list[str], start: Path, *more: str) -> list[str]:
    """A run whose student is the model of `start` with adapters."""
    own = with_overrides(words, *LORA, f"student.path={start}", *more, without="student.config.")
    return [word for word in own if not word.startswith("student.layers")]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("start"), hidden=16, seed=3)


def logits(model: Any, folder: Path, text: str) -> Any:
    import torch
    from transformers import AutoTokenizer

    batch = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        return model.eval()(**batch).logits


def test_a_student_is_merged_and_its_adapter_opens_on_its_base_and_is_a_teacher(
    distillkit: Distillkit, again: list[str], start: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    words = lora_words(again, start, "student.lora.save=both", "student.lora.r=4")
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    # r (inputs + outputs) of 2 layers' 6 and the pooler, and the head
    rank, body = 4, 2 * (4 * (16 + 16) + 2 * (16 + 32)) + 32
    assert f"LoRA of rank 4 in 13 layers; {rank * body + 2 * 16 + 2:,} of " in result.err
    folder = report(tmp_path)
    merged = AutoModelForSequenceClassification.from_pretrained(folder / "student")
    base = AutoModelForSequenceClassification.from_pretrained(start, num_labels=2)
    before = base.bert.encoder.layer[0].attention.self.query.weight.detach().clone()
    with_adapter = PeftModel.from_pretrained(base, folder / "student-adapter")
    text = "the film is good and warm"
    expected = logits(merged, folder / "student", text)
    torch.testing.assert_close(
        logits(with_adapter, folder / "student", text), expected, atol=1e-5, rtol=0
    )
    learnt = merged.bert.encoder.layer[0].attention.self.query.weight
    assert not torch.equal(learnt, before)
    assert torch.equal(
        merged.bert.embeddings.word_embeddings.weight, base.get_input_embeddings().weight
    )

    adapter = folder / "student-adapter"
    taught = with_overrides(
        [w for w in again if not w.startswith(("teacher.body", "teacher.lr", "teacher.epochs"))],
        f"teacher.path={adapter}",
        "teacher.labels=[bad,good]",
        "control=false",
    )
    result = distillkit("generate-targets", *taught)
    assert result.code == 0, result.err
    (merged_folder,) = tmp_path.glob("workspace/assets/merged/*/student-adapter")
    teacher = AutoModelForSequenceClassification.from_pretrained(merged_folder)
    torch.testing.assert_close(
        logits(teacher, folder / "student", text), expected, atol=1e-5, rtol=0
    )
    result = distillkit("compress", f"student.path={adapter}", "compression=[bf16]")
    assert result.code == 0, result.err
    (small,) = tmp_path.glob("outputs/**/student-bf16")
    model = AutoModelForSequenceClassification.from_pretrained(small, dtype=torch.float32)
    torch.testing.assert_close(logits(model, folder / "student", text), expected, atol=5e-3, rtol=0)
    moved = tmp_path / "moved"
    shutil.copytree(adapter, moved)
    settings = moved / "adapter_config.json"
    settings.write_text(settings.read_text().replace(json.dumps(str(start)), '"owner/nothing"'))
    gone = distillkit("generate-targets", *with_overrides(taught, f"teacher.path={moved}"))
    assert_refused(gone, "an adapter of owner/nothing, which is not there; put that model")
    (moved / "adapter_model.safetensors").rename(moved / "adapter_model.bin")
    pickled = distillkit("generate-targets", *with_overrides(taught, f"teacher.path={moved}"))
    assert_refused(pickled, "no adapter_model.safetensors in it")


def test_only_an_adapter_that_is_set_enters_the_name(
    distillkit: Distillkit, again: list[str], start: Path, tmp_path: Path
) -> None:
    plain = lora_words(again, start, "student.adapter=null")
    names = [set(weights(tmp_path / "workspace"))]
    for more in ([], ["student.lora.alpha=16.0"], ["student.adapter=lora"]):
        assert distillkit("train-student", *plain, *more).code == 0
        names.append(set(weights(tmp_path / "workspace")))
    assert [len(it) - len(names[0]) for it in names] == [0, 1, 1, 2]
    manifests = [
        json.loads(p.read_text()) for p in (tmp_path / "workspace").glob("*/manifest.json")
    ]
    students = [m["inputs"] for m in manifests if "student" in m["inputs"]]
    assert sum("adapter" in fields for fields in students) == 1
    assert all("lora" not in fields["student"] for fields in students)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["student.adapter=null", "student.lora.r=4"], "student.lora.r = 4: without an adapter"),
        (["student.lora.targets=[q_proj]"], "no linear layers of the student's body; it has query"),
        (["student.lora.dropout=1.0"], "student.lora.dropout = 1.0: must be less than 1"),
        (["student.adapter=ia3"], "student.adapter = ia3: must be 'lora'"),
    ],
)
def test_what_no_adapter_can_be_is_refused_first(
    words: list[str],
    line: str,
    distillkit: Distillkit,
    fresh: list[str],
    start: Path,
    tmp_path: Path,
) -> None:
    result = distillkit("train", *lora_words(fresh, start, *words))
    assert_refused(result, line)
    assert not [*tmp_path.glob("workspace/teacher-*"), *tmp_path.glob("workspace/.partial/*")]


def test_without_peft_the_extra_is_named(
    distillkit: Distillkit, fresh: list[str], start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distillkit.models.adapters.importlib.util.find_spec", lambda name: None)
    result = distillkit("train", *lora_words(fresh, start))
    assert_refused(result, "needs peft, which is not installed; pip install 'distillkit[adapters]'")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language.write_model(tmp_path_factory.mktemp("teacher"), layers=3, padded=7)


@pytest.mark.parametrize(
    "more",
    [
        ["targets=online", "loss=hidden_mse", "student.layers=2"],
        ["student.layers=2", "student.lora.targets=[q_proj,v_proj]", "student.lora.dropout=0.1"],
    ],
    ids=["online, hidden states", "cut, two targets"],
)
def test_a_language_model_learns_through_adapters(
    more: list[str], distillkit: Distillkit, teacher: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    documents = tiny_language.write_documents(tmp_path)
    words = tiny_language.small(teacher, documents, tmp_path / "workspace")
    words = with_overrides(words, "student.adapter=lora", "control=false", *more)
    if "targets=online" in more:
        others = ("targets.shard_tokens", "loss.temperature")
        words = [word for word in words if not word.startswith(others)]
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    folder = report(tmp_path)
    student = AutoModelForCausalLM.from_pretrained(folder / "student")
    (untrained,) = (
        it / "model"
        for it in (tmp_path / "workspace").glob("student-*")
        if json.loads((it / "manifest.json").read_text())["inputs"].get("untrained")
    )
    before = AutoModelForCausalLM.from_pretrained(untrained).state_dict()
    after = student.state_dict()
    assert before.keys() == after.keys()
    changed = {n.split(".")[-2] for n in after if not torch.equal(before[n], after[n])}
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert changed == ({"q_proj", "v_proj"} if "targets=online" not in more else linear)


@pytest.mark.slow
def test_a_student_that_was_killed_ends_with_the_same_bits(
    again: list[str], start: Path, tmp_path: Path
) -> None:
    slow = ["trainer.checkpoint_seconds=0", "trainer.epochs=4", "student.lora.dropout=0.1"]
    words = lora_words(again, start, *slow)
    alone = tmp_path / "alone"
    shutil.copytree(tmp_path / "workspace", alone)
    assert run(tmp_path, "train", *with_overrides(words, f"workspace={alone}")).code == 0
    assert kill_when(words, tmp_path, "workspace/.partial/student-*/checkpoint-0000001*")
    assert run(tmp_path, "train", *words).code == 0
    assert weights(tmp_path / "workspace") == weights(alone)
