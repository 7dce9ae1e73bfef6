"""llama.cpp where it is not installed, or does not work: PyTorch runs the file, or a line."""

import ctypes.util
import importlib.util
from pathlib import Path

import pytest

from distillkit.errors import ModelError
from distillkit.models.runtimes import llama_cpp
from distillkit.models.saved import SavedModel
from distillkit.tasks import CausalLM
from distillkit.types import LabelSpace
from tests.unit.compression.test_gguf import write


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "xllamacpp" else find(name)
    )


def opened(folder: Path) -> str:
    model = SavedModel(str(folder), "student.path").open(CausalLM(), LabelSpace(())).model
    return type(model).__name__


@pytest.mark.usefixtures("without")
def test_without_it_pytorch_runs_the_file_and_a_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = write("qwen2", "gguf_q8_0", tmp_path)
    assert opened(folder) == "Qwen2ForCausalLM"
    assert f"student.path = {folder}: runs in PyTorch, with the weights of the file; `pip " in (
        capsys.readouterr().err
    )
    assert llama_cpp.in_runtime("0a1b") == "0a1b"  # names of evaluations are as they were


def test_its_version_decides_the_figures_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "library", lambda: Path("x.so"))
    monkeypatch.setattr(llama_cpp, "version", lambda _: "7.1")
    assert llama_cpp.in_runtime("0a1b") == "0a1b llama.cpp (xllamacpp 7.1)"


@pytest.mark.parametrize(
    ("library", "reason"),
    [("no-such.so", "no-such.so: cannot open shared object"), ("libc", "undefined symbol: llama_")],
)
def test_another_library_is_one_line_of_a_student_and_pytorch_of_other_files(
    library: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Path(library if library.endswith(".so") else ctypes.util.find_library("c") or "")
    _, folder = write("llama", "gguf_f16", tmp_path)
    monkeypatch.setattr(llama_cpp, "library", lambda: found)
    with pytest.raises(ModelError, match=rf"^student.path = .*cannot run it \(.*{reason}"):
        opened(folder)
    (tmp_path / "elsewhere").mkdir()
    file = (folder / "model.gguf").rename(tmp_path / "elsewhere/any.gguf")
    assert opened(file) == "LlamaForCausalLM"
    assert f"{file}: llama.cpp cannot run it" in capsys.readouterr().err
