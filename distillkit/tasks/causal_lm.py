"""Causal language modelling: documents, conversations, instructions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.losses.reduction import at_least_float32
from distillkit.models import causal as models
from distillkit.models.classifiers import check_trainable
from distillkit.models.runtimes.record import stored_options
from distillkit.models.runtimes.registry import open_gguf
from distillkit.models.saved import ForwardFn, Loaded, SavedModel
from distillkit.setting_types import PositiveInt
from distillkit.tasks.task import Family, no_labels
from distillkit.tasks.tokenize.documents import document_examples
from distillkit.tasks.tokenize.responses import conversation_examples, instruction_examples
from distillkit.token_table import TokenTable
from distillkit.types import Batch, Distribution, HiddenOutputs, LabelSpace

TOKENS = 2  # the version of how text becomes ids


@dataclass(frozen=True)
class CausalLM:
    """The next token. `max_length` is the context in tokens; longer documents are cut into windows.

    `stride` is how far the windows of the held-out text stand apart (null: no overlap); more
    overlap gives each token more context, and a lower perplexity. `pack` puts several examples
    into a row, isolated from each other.
    """

    max_length: PositiveInt = 512
    stride: PositiveInt | None = None
    pack: bool = True
    long_responses: Literal["refuse", "cut", "drop"] = "refuse"

    headline: ClassVar = "perplexity"
    family: ClassVar[Family] = "language"
    reads: ClassVar[tuple[str, ...]] = ("documents", "conversations")
    distribution: ClassVar[Distribution] = "softmax"
    one_tokenizer: ClassVar = True
    generates: ClassVar = True
    higher_is_better: ClassVar = False
    auto_class: ClassVar = "AutoModelForCausalLM"
    pipeline: ClassVar = "text-generation"
    codecs: ClassVar[tuple[str, ...]] = ("Sampled", "LastHidden", "Dense")
    cuts: ClassVar = (
        "longer documents are cut into windows; of long conversations each response keeps its "
        "question, the oldest turns go first"
    )

    measures: ClassVar[dict[str, dict[str, Any]]] = {}
    read_labels = staticmethod(no_labels)

    def __post_init__(self) -> None:
        if self.max_length < 2:
            raise ConfigError(
                f"task.max_length = {self.max_length}: a token needs one before it; 2 or more"
            )
        if self.stride is not None and self.stride >= self.max_length:
            raise ConfigError(
                f"task.stride = {self.stride}: must be less than task.max_length = "
                f"{self.max_length}, or tokens between the windows would never be predicted"
            )

    @property
    def packs(self) -> bool:
        """Whether several examples may share a row."""
        return self.pack

    def feature_fields(self, *, held_out: bool) -> dict[str, Any]:
        """The settings that decide a token table; held-out text is cut by `stride`."""
        stride = self._stride(held_out=held_out)
        return {
            "tokens": TOKENS,
            "max_length": self.max_length,
            "stride": stride,
            "long_responses": self.long_responses,
        }

    @property
    def protocol(self) -> str:
        """How held-out text is read: perplexities of other protocols cannot be compared."""
        apart = "without overlap" if self.stride is None else f"{self.stride} apart"
        return f"windows of {self.max_length} tokens, {apart}"

    def _stride(self, *, held_out: bool) -> int:
        # windows share one token even without overlap: it says the first one of the next window
        return (self.stride if held_out else None) or self.max_length - 1

    @property
    def scoring(self) -> dict[str, Any]:
        """A perplexity has no settings."""
        return {}

    def tokenise(
        self, split: Any, tokenizer: Any, *, label: str, held_out: bool = False
    ) -> tuple[TokenTable, int]:
        """The token table of a split, and how many texts were cut."""
        if split.messages is None and split.pairs is None:
            return document_examples(
                split.texts,
                tokenizer,
                max_length=self.max_length,
                stride=self._stride(held_out=held_out),
                label=label,
            )
        talks = [split.conversation(place) for place in range(len(split))]
        options: dict[str, Any] = {"max_length": self.max_length, "label": label}
        options["long_responses"] = self.long_responses
        if split.messages is not None:
            return conversation_examples(talks, tokenizer, chat=split.chat, **options)
        names = [talk.name(number) for number, talk in enumerate(talks, start=1)]
        return instruction_examples(split.texts, split.pairs, tokenizer, names=names, **options)

    def load(self, saved: SavedModel, labels: LabelSpace) -> Loaded:
        """A trained language model and its tokenizer."""
        tokenizer = self.load_tokenizer(
            saved.folder, key=saved.key, trust_remote_code=saved.trust_remote_code
        )
        # a teacher is asked in PyTorch, in the number format of its settings
        model = None if saved.loader else open_gguf(saved.folder, key=saved.key)
        if model is None:
            model = models.load_causal_lm(
                saved.folder,
                key=saved.key,
                trust_remote_code=saved.trust_remote_code,
                **(saved.options or stored_options(saved.folder)),
            )
        return Loaded(model.eval(), tokenizer)

    def load_body(
        self, folder: str, labels: LabelSpace, *, key: str, trust_remote_code: bool = False
    ) -> Any:
        """A pretrained language model, head included."""
        model = models.load_causal_lm(folder, key=key, trust_remote_code=trust_remote_code)
        check_trainable(model, key=key, folder=folder)
        return model

    def new_model(
        self, config: dict[str, Any], labels: LabelSpace, tokenizer: Any, *, key: str
    ) -> Any:
        """A language model of any transformers config, with new weights (seed torch before)."""
        return models.new_causal_lm(config, tokenizer, key=key)

    def load_tokenizer(self, folder: str, *, key: str, trust_remote_code: bool = False) -> Any:
        """The tokenizer of a folder, GGUF file or hub id."""
        return models.load_causal_tokenizer(folder, key=key, trust_remote_code=trust_remote_code)

    def agree_on_padding(self, model: Any, tokenizer: Any, *, key: str) -> None:
        """Nothing: padding is masked, and no token is read for a whole text."""

    def save(self, model: Any, tokenizer: Any, folder: Path) -> None:
        """Write a model folder in Hugging Face format, as safetensors."""
        models.save_causal_lm(model, tokenizer, folder, max_length=self.max_length)

    def width(self, tokenizer: Any, labels: LabelSpace) -> int:
        """The tokenizer's real vocabulary."""
        return models.real_vocabulary(tokenizer)

    def forward_fn(self, tokenizer: Any) -> ForwardFn:
        """A language model says its last hidden states at the counted positions."""
        size = models.real_vocabulary(tokenizer)

        def outputs(model: Any, batch: Batch) -> HiddenOutputs:
            body, head = models.body_and_head(model, size)
            hidden = body(**batch.inputs)
            return HiddenOutputs(hidden.flatten(0, 1)[batch.loss_index], head)

        return outputs

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, [positions]; float32 inside."""
        return F.cross_entropy(at_least_float32(logits), labels, reduction="none")
