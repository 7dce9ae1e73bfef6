"""A GGUF file in llama.cpp, called as the PyTorch model that it was made of."""

import copy
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from distillkit.errors import ModelError
from distillkit.losses.heads import project
from distillkit.models.lm_head import TOKENS, body_and_head, distance
from distillkit.models.runtimes import llama_cpp
from distillkit.models.runtimes.record import record_of

WORDS, PLACES, HEAD = "token_embd.weight", "position_embd.weight", "output.weight"
MOST_KEPT = 256  # rows that llama.cpp goes on from; more are read anew for each token
TOLERANCE = 0.1  # of the check: products round activations to 8 bits where weights are quantised


def open_model(
    file: Path, config: Any, generation: GenerationConfig, *, at: str
) -> "LlamaCppModel":
    """The model of a GGUF file, in llama.cpp; `at` is "setting = value".

    Raises `ModelError` for a file that llama.cpp cannot run.
    """
    found = llama_cpp.library()
    assert found is not None
    worker = llama_cpp.Worker(found, file, torch.get_num_threads(), at=at)
    model = LlamaCppModel(config, worker, GgufTensors(file), generation)
    _check(model, at=at)
    return model.eval()


class _Reader(gguf.GGUFReader):
    """gguf's reader, whose pieces of a file are plain arrays: as memmaps they take three times."""

    def _get(self, *args: Any, **options: Any) -> Any:
        self.data: Any = self.data.view(np.ndarray)
        return super()._get(*args, **options)


class GgufTensors:
    """The tensors of a GGUF file: their sizes, and the output matrix."""

    def __init__(self, file: Path) -> None:
        self._tensors = {it.name: it for it in _Reader(file).tensors}

    @property
    def parameters(self) -> int:
        """How many numbers the file holds."""
        return sum(int(it.n_elements) for it in self._tensors.values())

    @property
    def embeddings(self) -> int:
        """How many of them are vectors of words and places."""
        return sum(
            int(self._tensors[it].n_elements) for it in (WORDS, PLACES) if it in self._tensors
        )

    def head(self) -> tuple[Tensor, Tensor | None]:
        """(output matrix [rows, width], its bias or None); the word vectors where they are both."""
        name = HEAD if HEAD in self._tensors else WORDS
        bias = name.replace("weight", "bias")
        has_bias = name == HEAD and bias in self._tensors
        return self._values(name), self._values(bias) if has_bias else None

    def _values(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        return torch.from_numpy(np.array(values, np.float32))


class LlamaCppModel(PreTrainedModel, GenerationMixin):
    """A worker that takes and gives tensors, wherever they are; it computes on the CPU."""

    base_model_prefix = "model"

    def __init__(
        self,
        config: Any,
        worker: llama_cpp.Worker,
        tensors: GgufTensors,
        generation: GenerationConfig,
    ) -> None:
        config = copy.deepcopy(config)
        config._attn_implementation = "eager"  # attention is no part of it here
        super().__init__(config)
        self.runtime = llama_cpp.runtime()
        self.model = _Body(worker)
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # says the device
        self.generation_config = generation
        weight, bias = tensors.head()
        self._head = SimpleNamespace(weight=weight, bias=bias)  # no part: it is not its own
        self._parameter_count = record_of(config).get("parameters") or tensors.parameters
        self._embeddings = tensors.embeddings

    def num_parameters(self, *_: Any, **__: Any) -> int:
        """The parameters of the model that the file was made of, or the numbers in it."""
        return int(self._parameter_count)

    def body_parameters(self) -> int:
        """The parameters without those of embedding tables."""
        return self.num_parameters() - self._embeddings

    def get_input_embeddings(self) -> Any:
        """Where token ids are to be: beside the output matrix."""
        return self._head

    def get_output_embeddings(self) -> Any:
        """The output matrix of the file, unpacked to float32."""
        self._head.weight = self._head.weight.to(self.place.device)
        return self._head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> CausalLMOutput:
        """Logits [batch, tokens, vocabulary]; zeros where the mask is.

        With `logits_to_keep` 1 those of the last tokens alone; rows that go on from those of the
        call before are not computed again.
        """
        logits = self.model.outputs(input_ids, attention_mask, last=logits_to_keep == 1)
        return CausalLMOutput(logits=logits[:, -logits_to_keep:])

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Whole rows each time: the worker knows how much of them it has seen."""
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "logits_to_keep": kwargs.get("logits_to_keep", 0),
        }

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # the cache is the worker's

    def peak_bytes(self, inputs: Mapping[str, Any]) -> int:
        """The most bytes that a forward pass takes: by so many its process is larger."""
        worker = self.model.worker
        worker.peak()
        self(**inputs)
        return max(0, worker.peak() - worker.memory)


class _Body(nn.Module):
    """All up to the last hidden states."""

    def __init__(self, worker: llama_cpp.Worker) -> None:
        super().__init__()
        self.worker = worker

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> tuple[Tensor]:
        """(last hidden states [batch, tokens, hidden],)."""
        return (self.outputs(input_ids, attention_mask, hidden=True),)

    def outputs(
        self, ids: Tensor, mask: Tensor | None, *, last: bool = False, hidden: bool = False
    ) -> Tensor:
        """Hidden states or logits [batch, tokens, width]; with `last` [batch, 1, width]."""
        real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
        rows = [row[there] for row, there in zip(ids, real, strict=True)]
        options = {"last": last, "hidden": hidden, "keep": last and len(rows) <= MOST_KEPT}
        values = torch.from_numpy(self.worker.outputs(rows, **options))
        values = values.to(ids.device)
        if last:
            return values.unsqueeze(1)
        if bool(real.all()):
            return values.view(*ids.shape, -1)
        placed = values.new_zeros(*ids.shape, values.shape[-1])
        placed[real] = values
        return placed


def _check(model: LlamaCppModel, *, at: str) -> None:
    """Raise `ModelError` unless hidden states and output matrix say what llama.cpp's logits do."""
    rows = len(model.get_output_embeddings().weight)
    body, head = body_and_head(model, rows)
    ids = torch.arange(TOKENS).unsqueeze(0) % rows
    with torch.inference_mode():
        logits = model(ids).logits
        gap = distance(project(body(input_ids=ids), head)[..., : logits.shape[-1]], logits)
    if not gap <= TOLERANCE:
        raise ModelError(
            f"{at}: llama.cpp does something to its logits that distillkit does not know (they "
            f"differ by {gap:.1%})"
        )
