"""Students in other formats: made by a run or of any folder, evaluated, refused in a line."""

import importlib.util
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from distillkit.data import wheels
from tests import tiny, tiny_language
from tests.cli.runs import artifact_kinds, assert_refused, report, results
from tests.conftest import Distillkit
from tests.unit.compression.language import save


def test_a_run_makes_and_measures_its_student_in_each_format(
    distillkit: Distillkit, again: list[str], tmp_path: Path
) -> None:
    words = [*again, "compression=[onnx,bf16,onnx_int8,onnx_int8_static]"]
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    rows = results(tmp_path)["rows"]
    formats = ["student onnx", "student bf16", "student onnx_int8", "student onnx_int8_static"]
    assert list(rows) == ["teacher", "student", "control", *formats, "majority"]
    student, onnx = rows["student"], rows["student onnx"]
    for column in ("accuracy", "nll", "agreement", "kl_to_teacher"):
        assert onnx[column] == pytest.approx(student[column], abs=1e-5)
    assert rows["student bf16"]["nll"] == pytest.approx(student["nll"], rel=0.02)
    assert rows["student bf16"]["megabytes"] < 0.6 * student["megabytes"]
    for row in formats[2:]:
        assert rows[row]["nll"] == pytest.approx(student["nll"], rel=0.05)
    for row in formats:
        # of what ONNX Runtime holds nothing is told that was not looked at
        assert ("peak_megabytes" in rows[row]) == (row == "student bf16")
        assert ("body_parameters" in rows[row]) == (row == "student bf16")
        assert rows[row]["parameters"] == student["parameters"]
        assert rows[row]["latency_p50_ms"] > 0

    others = [row for row in formats if row != "student bf16"]
    why = f"ONNX Runtime {version('onnxruntime')} tells no memory and no operations"
    assert results(tmp_path)["unmeasured"] == dict.fromkeys(others, why)

    out = report(tmp_path)
    assert f"; of {', '.join(others)} {why}" in (out / "report.md").read_text().replace("\\_", "_")
    folder = out / "student-onnx"
    size = (folder / "model.onnx").stat().st_size / 1e6
    assert onnx["megabytes"] == pytest.approx(size)
    assert f"student-onnx: {folder.relative_to(tmp_path)}" in result.out
    predicted = np.loadtxt(out / "predictions.csv", str, delimiter=",", usecols=range(1, 4))
    assert len(predicted) == results(tmp_path)["examples"] + 1
    kinds = artifact_kinds(tmp_path / "workspace")
    assert kinds.count("compressed") == 4

    planned = distillkit("plan", *words)
    assert planned.code == 0, planned.err
    assert "to be made" not in planned.out

    measured = distillkit("evaluate", *again, f"student.path={folder}")
    assert measured.code == 0, measured.err
    assert results(tmp_path)["rows"]["student"]["nll"] == pytest.approx(onnx["nll"], abs=1e-6)


def test_any_folder_is_compressed_without_data(
    distillkit: Distillkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the default teacher fetched."""
    monkeypatch.setattr(wheels, "take", lambda *_, **__: pytest.fail("a package is fetched"))
    model = tiny.write_model(tmp_path / "mine", labels=("no", "yes"))
    words = (f"student.path={model}", "compression=[bf16]", f"workspace={tmp_path / 'w'}")
    result = distillkit("compress", *words)
    assert result.code == 0, result.err
    (folder,) = tmp_path.glob("outputs/*/*/student-bf16")
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "no", "1": "yes"}
    assert config["dtype"] == "bfloat16"
    assert artifact_kinds(tmp_path / "w") == ["compressed"]

    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification

    before, after = (load_file(it / "model.safetensors") for it in (model, folder))
    assert {name: it.bfloat16().tolist() for name, it in before.items()} == {
        name: it.tolist() for name, it in after.items()
    }
    loaded = AutoModelForSequenceClassification.from_pretrained(folder, dtype="auto")
    assert str(loaded.dtype) == "torch.bfloat16"


def test_a_student_from_elsewhere_is_calibrated_on_its_own_tokens(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    model = tiny.write_model(tmp_path / "mine", labels=("no", "yes"))
    train, _ = tiny.write_reviews(tmp_path, 60, 1)
    words = [f"student.path={model}", "compression=[onnx_int8_static]", f"workspace={tmp_path}/w"]
    assert_refused(
        distillkit("compress", *words), "onnx_int8_static: reads the data that a student learnt"
    )
    data = ("data=files", f"data.train={train}", "task.max_length=64")
    result = distillkit("compress", *words, *data)
    assert result.code == 0, result.err
    (folder,) = tmp_path.glob("outputs/*/*/student-onnx_int8_static")
    assert (folder / "model.onnx").is_file()

    tokenizer = AutoTokenizer.from_pretrained(model)
    (table,) = (tmp_path / "w").glob("tokens-*")
    ids, offsets = np.load(table / "ids.npy"), np.load(table / "offsets.npy")
    texts = {text for text, _ in tiny.labelled(60)}
    read = [tokenizer.decode(it, skip_special_tokens=True) for it in np.split(ids, offsets[1:-1])]
    assert len(read) > 30
    assert {*read} <= texts


def test_a_format_of_a_run_that_has_no_student_yet_is_refused(
    distillkit: Distillkit, fresh: list[str]
) -> None:
    result = distillkit("compress", *fresh, "compression=[bf16]")
    assert_refused(
        result, "student: no trained student of this config", "`distillkit train-student`"
    )


@pytest.mark.parametrize("command", ["train", "compress", "plan"])
def test_a_name_that_is_no_format_is_refused(
    distillkit: Distillkit, fresh: list[str], command: str
) -> None:
    result = distillkit(command, *fresh, "compression=[onnxx]")
    assert_refused(result, "compression = ['onnxx']: must be 'bf16', 'int8', 'onnx'")


def test_a_package_that_is_not_installed_is_named_with_its_extra(
    distillkit: Distillkit, fresh: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "torchao" else find(name)
    )
    result = distillkit("train", *fresh, "compression=[onnx,int8]")
    assert_refused(
        result,
        "compression = int8: needs torchao, which is not installed; `pip install "
        "'distillkit[quantize]'`",
    )
    assert not artifact_kinds(Path(fresh[-1].partition("=")[2]))


def test_no_format_is_refused(distillkit: Distillkit, fresh: list[str]) -> None:
    assert_refused(distillkit("compress", *fresh), "compression: names no format; set", "onnx")


def test_a_format_that_a_task_cannot_have_is_refused_before_any_work(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    teacher = tiny_language.write_model(tmp_path / "teacher")
    texts = tiny_language.write_documents(tmp_path)
    words = tiny_language.small(teacher, texts, tmp_path / "workspace")
    result = distillkit("train", *words, "compression=[onnx]")
    assert_refused(
        result, "compression = onnx: is for a model of labels", "a causal language model", "bf16"
    )
    assert not artifact_kinds(tmp_path / "workspace")
    compressed = distillkit(
        "compress", f"student.path={teacher}", "compression=[onnx]", f"workspace={tmp_path / 'w'}"
    )
    assert_refused(compressed, "compression = onnx: is for a model of labels")


def test_a_language_model_becomes_files_of_llama_cpp(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    save("llama", tmp_path / "teacher", num_hidden_layers=2)
    texts = tiny_language.write_documents(tmp_path, 60)
    words = tiny_language.small(tmp_path / "teacher", texts, tmp_path / "workspace")
    more = ("control=false", "task.max_length=48", "evaluation.samples=0")
    result = distillkit("train", *words, *more, "compression=[gguf_f16,gguf_q4_0,bf16]")
    assert result.code == 0, result.err
    rows = results(tmp_path)["rows"]
    nll = {name: row["nll"] for name, row in rows.items()}
    assert nll["student gguf_f16"] == pytest.approx(nll["student"], abs=1e-3)
    assert nll["student bf16"] == pytest.approx(nll["student"], rel=0.01)
    assert nll["student gguf_q4_0"] == pytest.approx(nll["student"], rel=0.1)
    assert nll["student gguf_q4_0"] != nll["student gguf_f16"]
    folder = report(tmp_path) / "student-gguf_q4_0"
    file = folder / "model.gguf"
    assert rows["student gguf_q4_0"]["megabytes"] == pytest.approx(file.stat().st_size / 1e6)
    assert not list(folder.glob("*.safetensors"))


def test_a_student_that_llama_cpp_could_not_read_is_refused_before_any_work(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    teacher = tiny_language.write_model(tmp_path / "teacher")  # with a tokenizer of whole words
    texts = tiny_language.write_documents(tmp_path)
    words = tiny_language.small(teacher, texts, tmp_path / "workspace")
    result = distillkit("train", *words, "compression=[gguf_q8_0]")
    assert_refused(result, "compression = gguf_q8_0: the student: its tokenizer is no byte-level")
    assert not {"teacher", "targets", "student"} & {*artifact_kinds(tmp_path / "workspace")}


def test_a_folder_of_a_body_alone_is_refused(distillkit: Distillkit, tmp_path: Path) -> None:
    body = tiny.write_model(tmp_path / "body")
    words = (f"student.path={body}", "compression=[bf16]", f"workspace={tmp_path / 'w'}")
    assert_refused(
        distillkit("compress", *words), "names no trained model (architectures: BertModel)"
    )


def test_an_adapter_that_names_no_base_is_refused(distillkit: Distillkit, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text('{"peft_type": "LORA"}')
    words = (f"student.path={tmp_path / 'adapter'}", "compression=[bf16]")
    assert_refused(distillkit("compress", *words), "names no base_model_name_or_path")


def test_an_architecture_that_onnx_lacks_is_refused_before_any_work(
    distillkit: Distillkit, fresh: list[str], tmp_path: Path
) -> None:
    words = [word for word in fresh if not word.startswith("student")]
    shape = "{model_type: xlnet, d_model: 16, n_layer: 1, n_head: 2, d_inner: 32}"
    words += ["student=scratch", f"student.config={shape}", "compression=[bf16,onnx_int8]"]
    assert_refused(
        distillkit("train", *words),
        "compression = onnx_int8: the student: xlnet models are not exported to ONNX (their rel",
    )
    assert not {"teacher", "targets", "student"} & {*artifact_kinds(tmp_path / "workspace")}
