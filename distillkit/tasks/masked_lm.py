"""Masked language modelling: the tokens that were hidden, as encoders are pretrained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from distillkit.errors import ConfigError, ModelError
from distillkit.losses.reduction import at_least_float32
from distillkit.models import classifiers as models
from distillkit.models.masked import (
    MASKED,
    hidden_and_head,
    load_masked_lm,
    new_masked_lm,
)
from distillkit.models.saved import ForwardFn, Loaded, SavedModel
from distillkit.models.saving import save_folder
from distillkit.models.vocabularies import real_vocabulary
from distillkit.setting_types import PositiveInt, Seed, Share
from distillkit.tasks.task import Family, no_labels
from distillkit.tasks.tokenize.masked import masked_examples
from distillkit.tasks.tokenize.words import check_offsets
from distillkit.token_table import TokenTable
from distillkit.types import Batch, Distribution, HiddenOutputs, LabelSpace


@dataclass(frozen=True)
class MaskedLM:
    """Guess hidden tokens. Documents are cut into windows of `max_length` tokens.

    `mask_probability` of a window's tokens are to be guessed. Which ones is decided by the window
    itself, `seed` and the number of the pattern, so teacher and student see the same masks and a
    resumed run repeats them. Each window is masked in `masks` ways, and a target store keeps what
    the teacher says of each: an epoch sees every window so many times. (RoBERTa's baseline has 10:
    Liu et al. 2019, https://arxiv.org/abs/1907.11692, section 4.1.) Held-out text is masked once,
    always alike.
    """

    max_length: PositiveInt = 128
    mask_probability: Share = 0.15
    masks: PositiveInt = 1
    seed: Seed = 0

    headline: ClassVar = "perplexity"
    family: ClassVar[Family] = "language"
    reads: ClassVar[tuple[str, ...]] = ("documents",)
    distribution: ClassVar[Distribution] = "softmax"
    one_tokenizer: ClassVar = True
    generates: ClassVar = False
    codecs: ClassVar[tuple[str, ...]] = ("Dense",)
    packs: ClassVar = False
    higher_is_better: ClassVar = False
    auto_class: ClassVar = MASKED
    pipeline: ClassVar = "fill-mask"
    cuts: ClassVar = "longer documents are cut into windows"

    measures: ClassVar[dict[str, dict[str, Any]]] = {}
    read_labels = staticmethod(no_labels)

    def __post_init__(self) -> None:
        if not self.mask_probability:
            raise ConfigError(
                "task.mask_probability = 0: nothing would be masked; BERT masks 0.15 of the tokens"
            )

    @property
    def protocol(self) -> str:
        """How held-out text is read: perplexities of other masks cannot be compared."""
        return (
            f"{self.mask_probability:.0%} masked in windows of {self.max_length} tokens, one fixed "
            "pattern"
        )

    def feature_fields(self, *, held_out: bool) -> dict[str, Any]:
        """The settings that decide a token table; held-out text is masked once."""
        return {
            "max_length": self.max_length,
            "mask_probability": self.mask_probability,
            "masks": 1 if held_out else self.masks,
            "mask_seed": 0 if held_out else self.seed,
        }

    @property
    def scoring(self) -> dict[str, Any]:
        """A perplexity has no settings."""
        return {}

    def tokenise(
        self, split: Any, tokenizer: Any, *, label: str, held_out: bool = False
    ) -> tuple[TokenTable, int]:
        """The token table of a split, and how many documents were cut."""
        settings = self.feature_fields(held_out=held_out)
        return masked_examples(
            split.texts,
            tokenizer,
            max_length=self.max_length,
            probability=self.mask_probability,
            patterns=settings["masks"],
            seed=settings["mask_seed"],
            label=label,
        )

    def load(self, saved: SavedModel, labels: LabelSpace) -> Loaded:
        """A trained masked language model and its tokenizer."""
        options = dict(saved.options or {})
        if options.pop("quantization", None):
            raise ConfigError(
                "teacher.quantization: masked language models are held in plain weights; set it "
                "to null"
            )
        trust = saved.trust_remote_code
        tokenizer = self.load_tokenizer(saved.folder, key=saved.key, trust_remote_code=trust)
        model = load_masked_lm(
            saved.folder, key=saved.key, may_lack_head=False, trust_remote_code=trust, **options
        )
        return Loaded(model, tokenizer)

    def load_body(
        self, folder: str, labels: LabelSpace, *, key: str, trust_remote_code: bool = False
    ) -> Any:
        """A pretrained body with its head, or with a new one (seed torch before)."""
        return load_masked_lm(
            folder, key=key, may_lack_head=True, trust_remote_code=trust_remote_code
        )

    def new_model(
        self, config: dict[str, Any], labels: LabelSpace, tokenizer: Any, *, key: str
    ) -> Any:
        """A masked language model of any transformers config, with new weights (seed before)."""
        return new_masked_lm(config, tokenizer, key=key)

    def load_tokenizer(self, folder: str, *, key: str, trust_remote_code: bool = False) -> Any:
        """The tokenizer of a folder or hub id; raises `ModelError` without a mask token."""
        tokenizer = models.load_tokenizer(folder, key=key, trust_remote_code=trust_remote_code)
        check_offsets(tokenizer)
        if tokenizer.mask_token_id is None:
            raise ModelError(
                f"{key} = {folder}: its tokenizer has no mask token; task=masked_lm takes encoders "
                "(for decoders there is task=causal_lm)"
            )
        return tokenizer

    def agree_on_padding(self, model: Any, tokenizer: Any, *, key: str) -> None:
        """Nothing: padding is masked, and no token is read for a whole text."""

    def save(self, model: Any, tokenizer: Any, folder: Path) -> None:
        """Write a model folder in Hugging Face format, as safetensors."""
        save_folder(model, tokenizer, folder, max_length=self.max_length)

    def width(self, tokenizer: Any, labels: LabelSpace) -> int:
        """The tokenizer's real vocabulary."""
        return real_vocabulary(tokenizer)

    def forward_fn(self, tokenizer: Any) -> ForwardFn:
        """The model says what its output matrix reads at the masked positions."""
        size = real_vocabulary(tokenizer)

        def outputs(model: Any, batch: Batch) -> HiddenOutputs:
            hidden, head = hidden_and_head(model, size, **batch.inputs)
            return HiddenOutputs(hidden.flatten(0, 1)[batch.loss_index], head)

        return outputs

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, [positions]; float32 inside."""
        return F.cross_entropy(at_least_float32(logits), labels, reduction="none")
