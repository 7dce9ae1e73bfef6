"""GGUF students run in llama.cpp: what they say and write, what they cost, how its process ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from distillkit.compression import gguf_export
from distillkit.errors import ModelError
from distillkit.models.causal import load_causal_lm
from distillkit.models.lm_head import body_and_head
from distillkit.models.runtimes.llama_model import LlamaCppModel
from distillkit.models.saved import SavedModel
from distillkit.tasks import CausalLM
from distillkit.types import LabelSpace
from tests import tiny, tiny_language
from tests.cli.runs import results
from tests.conftest import Distillkit
from tests.unit.compression.language import SHAPES, save
from tests.unit.compression.test_gguf import LINEAR, LLAMA3, YARN, write

pytestmark = pytest.mark.network
SLACK = {"gguf_f16": 0.01, "gguf_q8_0": 0.1, "gguf_q4_0": 0.1}  # its products are of 8 bits
KINDS = [*((kind, "gguf_f16") for kind in SHAPES), ("llama", "gguf_q8_0"), ("gpt2", "gguf_q4_0")]


@pytest.fixture
def installed(llama_cpp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put llama.cpp on the path of this process and of those that it starts."""
    monkeypatch.syspath_prepend(llama_cpp)
    return llama_cpp


def opened(folder: Path) -> Any:
    return SavedModel(str(folder), "student.path").open(CausalLM(), LabelSpace(())).model


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("kind", "form"), KINDS)
def test_it_is_called_as_the_model_in_pytorch(kind: str, form: str, tmp_path: Path) -> None:
    _, folder = write(kind, form, tmp_path)
    model, expected = opened(folder), load_causal_lm(str(folder), key="x")
    assert isinstance(model, LlamaCppModel)
    assert model.runtime == "llama.cpp (xllamacpp 2026.10.11549)"
    assert model.num_parameters() == expected.num_parameters()

    ids = torch.randint(0, 290, (3, 30), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 20:] = mask[2, 1:] = 0
    with torch.no_grad():
        logits, found = (it(ids, attention_mask=mask).logits for it in (expected, model))
        (body, head), (own_body, own_head) = (body_and_head(it, 290) for it in (expected, model))
        hidden, own = (it(input_ids=ids, attention_mask=mask) for it in (body, own_body))
    real = mask.bool()
    assert found.shape == logits.shape
    assert (found - logits)[real].abs().max() < SLACK[form]
    assert (own - hidden)[real].abs().max() < 5 * SLACK[form]
    torch.testing.assert_close(own_head.weight, head.weight.detach(), rtol=0, atol=1e-6)
    assert not found[~real].any()
    file = (folder / "model.gguf").stat().st_size
    assert file < model.peak_bytes({"input_ids": ids[:1]}) < file + 60e6


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", SHAPES)
def test_greedy_text_is_that_of_pytorch(kind: str, tmp_path: Path) -> None:
    _, folder = write(kind, "gguf_f16", tmp_path)
    model, expected = opened(folder), load_causal_lm(str(folder), key="x")
    ids = torch.randint(0, 290, (2, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    both = [it.generate(ids, attention_mask=mask, **options) for it in (model, expected)]
    alone = model.generate(ids[1:, 4:], **options)
    assert both[0].tolist() == both[1].tolist()
    assert alone[0, -12:].tolist() == both[0][1, -12:].tolist()
    written = both[0][0, 12:].tolist()
    ended = model.generate(ids[:1], **options | {"eos_token_id": written[2]})
    assert ended[0, 12:].tolist() == written[: written.index(written[2]) + 1]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {"rope_parameters": LINEAR}),
        ("llama", {"rope_parameters": LLAMA3}),
        ("qwen2", {"rope_parameters": YARN}),
        ("qwen3", {"rope_parameters": YARN}),
        ("mistral", {"rope_parameters": LINEAR}),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("gpt2", {"tie_word_embeddings": False, "n_inner": 100, "activation_function": "gelu"}),
    ],
    ids=lambda it: it if isinstance(it, str) else str(it.get("rope_parameters", it))[:40],
)
def test_what_a_config_may_say_is_what_llama_cpp_does(
    kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    model, folder = write(kind, "gguf_f16", tmp_path, **changes)  # held against its logits there
    ids = torch.randint(0, 290, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = (it(ids).logits for it in (model, opened(folder)))
    assert (found - expected).abs().max() < 0.02
    if "rope_parameters" in changes:
        plain = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
        with torch.no_grad():
            unscaled = save(kind, tmp_path / "plain", **changes | plain)(ids).logits
        assert (unscaled - expected).abs().max() > 0.2


@pytest.mark.usefixtures("installed")
def test_a_file_that_says_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_export, "frequency_factors", lambda _: None)
    with pytest.raises(ModelError, match=r"says something else in llama\.cpp than it does"):
        write("llama", "gguf_f16", tmp_path, rope_parameters=LLAMA3)
    assert not list(tmp_path.glob("gguf_f16/*.gguf"))


def test_generate_writes_what_the_student_writes(
    distillkit: Distillkit, installed: Path, tmp_path: Path
) -> None:
    _, folder = write("llama", "gguf_f16", tmp_path)
    words = ["--prompt", "the film was good", "--prompt", "a dull plot", "--max-new-tokens", "8"]
    own = distillkit("generate", f"student.path={tmp_path / 'student'}", *words)
    found = distillkit("generate", f"student.path={folder}", *words)
    assert (found.code, found.out) == (0, own.out), found.err
    assert "PyTorch" not in found.err
    draws = [distillkit("generate", f"student.path={folder}", *words, "--seed", it).out
             for it in ("1", "1", "2")]  # fmt: skip
    assert draws[0] == draws[1] != draws[2]
    cold = distillkit("generate", f"student.path={folder}", *words, "--temperature", "0.001")
    assert cold.out == own.out


def test_a_report_says_what_ran_its_rows(
    distillkit: Distillkit, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("llama", tmp_path / "teacher", num_hidden_layers=2)
    texts = tiny_language.write_documents(tmp_path, 60)
    words = tiny_language.small(tmp_path / "teacher", texts, tmp_path / "workspace")
    words += ["control=false", "task.max_length=48", "compression=[gguf_f16,gguf_q8_0]"]
    result = distillkit("train", *words)
    assert result.code == 0, result.err
    first = results(tmp_path)
    rows, runtime = first["rows"], "llama.cpp (xllamacpp 2026.10.11549)"
    assert first["runtimes"] == dict.fromkeys(["student gguf_f16", "student gguf_q8_0"], runtime)
    assert rows["student gguf_f16"]["nll"] == pytest.approx(rows["student"]["nll"], abs=2e-3)
    assert rows["student gguf_q8_0"]["nll"] == pytest.approx(rows["student"]["nll"], rel=0.02)
    for form in ("gguf_f16", "gguf_q8_0"):
        row = rows[f"student {form}"]
        assert row["parameters"] == rows["student"]["parameters"]
        assert row["body_parameters"] == rows["student"]["body_parameters"]
        assert row["latency_p50_ms"] > 0 and row["peak_megabytes"] > row["megabytes"]
    (report,) = tmp_path.glob("outputs/*/*/report.md")
    assert f"student gguf_f16, student gguf_q8_0 in {runtime}" in report.read_text()
    assert "to be made" not in distillkit("plan", *words).out

    shutil.rmtree(tmp_path / "outputs")
    monkeypatch.setattr("distillkit.models.runtimes.llama_cpp.library", lambda: None)
    assert "evaluation" in distillkit("plan", *words).out.partition("to be made")[0][-400:]
    again = distillkit("train", *words)
    assert again.code == 0, again.err
    assert "runs in PyTorch, with the weights of the file; `pip install 'distillkit[gguf]'`" in (
        again.err
    )
    in_pytorch = "PyTorch with the weights of its GGUF file"
    assert {*results(tmp_path)["runtimes"].values()} == {in_pytorch}


@pytest.mark.usefixtures("installed")
def test_what_stops_llama_cpp_is_one_line(tmp_path: Path) -> None:
    _, folder = write("qwen2", "gguf_q8_0", tmp_path)
    model = opened(folder)
    process = model.model.worker._process
    process.send_signal(signal.SIGKILL)
    with pytest.raises(ModelError, match=r"^student.path = .*: llama.cpp cannot run it \(its proc"):
        model(torch.tensor([[1, 2]]))
    file = folder / "model.gguf"
    file.write_bytes(file.read_bytes()[:-9000])
    with pytest.raises(ModelError, match=r"^student.path = .*llama.cpp cannot run it \(.*bounds"):
        opened(folder)


def children(pid: int) -> list[int]:
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    with_state = Path(f"/proc/{pid}/stat")
    return with_state.exists() and with_state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_its_process_ends_with_the_command(
    llama_cpp: Path, tmp_path: Path, number: signal.Signals
) -> None:
    _, folder = write("llama", "gguf_f16", tmp_path, max_position_embeddings=100_000)
    words = (f"student.path={folder}", "--prompt", "the film", "--max-new-tokens", "90000")
    command = [sys.executable, "-m", "distillkit", "generate", *words, "--raw"]
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(llama_cpp)])
    with subprocess.Popen(
        command, cwd=tmp_path, env=tiny.env(PYTHONPATH=path), stderr=subprocess.DEVNULL
    ) as process:
        workers: list[int] = []
        for _ in range(600):
            workers = children(process.pid)
            if workers or process.poll() is not None:
                break
            time.sleep(0.1)
        assert len(workers) == 1
        time.sleep(1)  # in the middle of writing
        assert is_alive(workers[0])
        process.send_signal(number)
        process.wait(30)
    for _ in range(100):
        if not is_alive(workers[0]):
            return
        time.sleep(0.1)
    os.kill(workers[0], signal.SIGKILL)
    pytest.fail("the process of llama.cpp goes on")


@pytest.mark.usefixtures("installed")
def test_rows_of_any_number_and_length(tmp_path: Path) -> None:
    _, folder = write("llama", "gguf_f16", tmp_path, max_position_embeddings=2048)
    model, expected = opened(folder), load_causal_lm(str(folder), key="x")
    draws = torch.Generator().manual_seed(0)
    for shape in ((1, 1), (70, 9), (1, 1100)):
        ids = torch.randint(0, 290, shape, generator=draws)
        with torch.no_grad():
            found, logits = (it(ids).logits for it in (model, expected))
        assert (found - logits).abs().max() < 0.02
    options: dict[str, Any] = {"eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 4}
    for shape in ((300, 6), (1, 600)):
        ids = torch.randint(0, 290, shape, generator=draws)
        texts = [it.generate(ids, do_sample=False, **options) for it in (model, expected)]
        assert (texts[0] == texts[1]).float().mean() > 0.99  # of 300, one may be a near tie
    with pytest.raises(ModelError, match=r"llama.cpp cannot run it \(.*invalid token"):
        model(torch.tensor([[100_000]]))
    last = model(ids, logits_to_keep=1).logits
    torch.testing.assert_close(last, model(ids).logits[:, -1:], rtol=0, atol=0.02)


@pytest.mark.usefixtures("installed")
def test_models_of_several_formats_are_evaluated_side_by_side(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    _, folder = write("qwen3", "gguf_f16", tmp_path)
    texts = tiny_language.write_documents(tmp_path, 60)
    words = tiny_language.small(tmp_path / "student", texts, tmp_path / "workspace")
    words = [word for word in words if not word.startswith(("teacher", "student"))]
    models = f"models=[{tmp_path / 'student'},{folder},{folder / 'model.gguf'}]"
    result = distillkit("evaluate", *words, models, "task.max_length=48")
    assert result.code == 0, result.err
    found = results(tmp_path)
    rows = [row for row in found["rows"].values() if "nll" in row]
    assert len(rows) == 3
    assert [row["nll"] for row in rows[1:]] == [pytest.approx(rows[0]["nll"], abs=2e-3)] * 2
    assert len(found["runtimes"]) == 2
    assert min(row["agreement"] for row in rows) > 0.98
