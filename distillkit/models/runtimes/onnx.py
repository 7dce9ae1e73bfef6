"""ONNX Runtime: a folder with model.onnx, called as the PyTorch model that it was made of."""

import mmap
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import QuestionAnsweringModelOutput, SequenceClassifierOutput

from distillkit.errors import ModelError
from distillkit.models.configs import USES, config_of
from distillkit.models.loading import one_line
from distillkit.models.runtimes.packages import check_installed
from distillkit.models.runtimes.record import record_of

FILE = "model.onnx"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # in the order of the file
SPANS = ("start_logits", "end_logits")
# use -> its outputs and how many axes they have
OUTPUTS = {
    "AutoModelForSequenceClassification": {"logits": 2},
    "AutoModelForTokenClassification": {"logits": 3},
    "AutoModelForQuestionAnswering": dict.fromkeys(SPANS, 2),
}


def is_folder(path: Path) -> bool:
    """Whether a folder holds an ONNX model and no weights of PyTorch's."""
    return (path / FILE).is_file() and not any(path.glob("*.safetensors"))


def open_model(
    folder: str, *, key: str, auto_class: str, trust_remote_code: bool = False
) -> "OnnxModel":
    """The model of a folder, for the use of `auto_class`.

    Raises `ModelError` where ONNX Runtime cannot run it, or where it is for another use.
    """
    check_installed("onnxruntime", extra="export", at=f"{key} = {folder}")
    config = config_of(folder, key=key, trust_remote_code=trust_remote_code)
    file = Path(folder) / FILE
    with one_line(key, folder, FILE, "is no model that ONNX Runtime can run"):
        try:
            session = new_session(file)
        except Exception as error:  # onnxruntime's own classes are no part of its interface
            raise RuntimeError(str(error)) from error
    _check_names(session, auto_class, at=f"{key} = {folder}")
    return OnnxModel(session, config, file)


def _check_names(session: Any, auto_class: str, *, at: str) -> None:
    """Raise `ModelError` for a file of other inputs, or of other outputs than the use has."""
    strange = [value.name for value in session.get_inputs() if value.name not in INPUTS]
    if strange:
        raise ModelError(
            f"{at}: {FILE} takes {strange[0]}, and an encoder takes none but {', '.join(INPUTS)}"
        )
    outputs = {value.name: len(value.shape) for value in session.get_outputs()}
    expected = OUTPUTS.get(auto_class, {})
    if not expected or not expected.items() <= outputs.items():
        listing = ", ".join(f"{name} of {axes} axes" for name, axes in outputs.items())
        use = USES.get(auto_class, auto_class)
        raise ModelError(f"{at}: {FILE} gives {listing}, and is not {use}; choose another task")


def new_session(file: Path) -> Any:
    """A session of ONNX Runtime on the CPU, with as many threads as PyTorch has.

    Its threads do not spin while they wait: PyTorch's would wait for theirs, and both then take up
    to fifty times as long.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors: its advice on graphs is for those who write them
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


class OnnxModel(nn.Module):
    """A session that takes and gives tensors, wherever they are; it computes on the CPU."""

    def __init__(self, session: Any, config: Any, file: Path) -> None:
        super().__init__()
        self.session, self.config, self.file = session, config, file
        self.runtime = f"ONNX Runtime {version('onnxruntime')}"
        self.has_batch_ranges = has_batch_ranges(file)
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # says the device
        self._inputs = [value.name for value in session.get_inputs()]
        self._outputs = [value.name for value in session.get_outputs()]
        self._parameter_count: int | None = record_of(config).get("parameters")

    def num_parameters(self) -> int:
        """The parameters of the model before export, or the numbers that the file holds."""
        return self._parameter_count or _numbers(self.file)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **_: Any,
    ) -> Any:
        """Outputs with `logits` [batch, (tokens,) classes], or those of spans, of ids."""
        inputs = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids)
            if attention_mask is None
            else attention_mask,
            "token_type_ids": torch.zeros_like(input_ids)
            if token_type_ids is None
            else token_type_ids,
        }
        feed = {name: _as_numpy(inputs[name]) for name in self._inputs}
        results = dict(zip(self._outputs, self.session.run(None, feed), strict=True))
        tensors = {
            name: torch.from_numpy(value).to(input_ids.device) for name, value in results.items()
        }
        if "logits" in tensors:
            return SequenceClassifierOutput(logits=tensors["logits"])
        return QuestionAnsweringModelOutput(**{name: tensors[name] for name in SPANS})


def has_batch_ranges(file: Path) -> bool:
    """Whether a model rounds activations by the range of each batch: texts change one another."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(b"DynamicQuantize") >= 0  # of operators' names, which stand there as text


def _as_numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().to("cpu", torch.int64).numpy()
    return array


def _numbers(file: Path) -> int:
    """How many numbers the tensors of a file hold."""
    check_installed("onnx", extra="export", at=str(file))
    import onnx

    graph = onnx.load(str(file), load_external_data=False).graph
    return sum(int(np.prod(list(value.dims))) for value in graph.initializer)
