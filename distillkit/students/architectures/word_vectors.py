"""What the small students share: word vectors that start uniform, and the output of a classifier.

This file is saved beside a student's weights, so that it loads where distillkit is not installed:
it imports torch and transformers only.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class WordVectorConfig(PretrainedConfig):
    """The settings of a model that begins with word vectors.

    `initializer_range` is the standard deviation of new ones.
    """

    def __init__(
        self,
        vocab_size: int = 30522,
        embedding_size: int = 300,
        dropout: float = 0.1,
        initializer_range: float = 0.25 / math.sqrt(3),
        pad_token_id: int | None = 0,
        **of_every_model: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.pad_token_id = pad_token_id
        super().__init__(pad_token_id=pad_token_id, **of_every_model)


class WordVectorPreTrainedModel(PreTrainedModel):
    """How weights begin: word vectors uniform, all else as torch has it."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            bound = self.config.initializer_range * math.sqrt(3)
            nn.init.uniform_(module.weight, -bound, bound)
        elif isinstance(module, (nn.LSTM, nn.Linear)):
            module.reset_parameters()

    def classified(
        self, logits: Tensor, labels: Tensor | None, hidden_states: Any = None
    ) -> SequenceClassifierOutput:
        """Logits [batch, classes], and with `labels` the loss that the config's problem has."""
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=hidden_states)


class WordVectors:
    """The `embeddings` of a model's body, as transformers asks for them."""

    embeddings: nn.Module

    def get_input_embeddings(self) -> nn.Module:
        """The word vectors."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word vectors."""
        self.embeddings = value
