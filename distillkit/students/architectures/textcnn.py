"""TextCNN: filters over a few words each, and the strongest answer of each filter.

Kim 2014, https://arxiv.org/abs/1408.5882, section 2, as transformers models: 100 filters over each
of 3, 4 and 5 words, maximum over time, dropout of 0.5. Word vectors start uniform within 0.25, as
in the author's code (yoonkim/CNN_sentence), unless they are taken from a teacher; filters as in
the TextCNN that castorini/d-bert distils. A pair is read as one text, separator included.

This file is saved beside a student's weights with `word_vectors.py`, so that it loads where
distillkit is not installed: it imports torch, transformers and that file only.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

from .word_vectors import WordVectorConfig, WordVectorPreTrainedModel, WordVectors


class TextCNNConfig(WordVectorConfig):
    """The shape of a TextCNN.

    `feature_maps` filters for each of `filter_widths` (in tokens).
    """

    model_type = "distillkit_textcnn"
    attribute_map = {"hidden_size": "embedding_size"}  # noqa: RUF012 (transformers' own form)
    num_hidden_layers = 1

    def __init__(
        self,
        vocab_size: int = 30522,
        embedding_size: int = 300,
        feature_maps: int = 100,
        filter_widths: Sequence[int] = (3, 4, 5),
        dropout: float = 0.5,
        initializer_range: float = 0.25 / math.sqrt(3),
        pad_token_id: int | None = 0,
        **of_every_model: Any,
    ) -> None:
        if not filter_widths or min(filter_widths) < 1:
            raise ValueError(
                f"filter_widths = {list(filter_widths)}: must name widths of 1 or more"
            )
        self.feature_maps = feature_maps
        self.filter_widths = list(filter_widths)
        super().__init__(
            vocab_size, embedding_size, dropout, initializer_range, pad_token_id, **of_every_model
        )


class TextCNNPreTrainedModel(WordVectorPreTrainedModel):
    """How a TextCNN's weights begin."""

    config_class = TextCNNConfig
    base_model_prefix = "textcnn"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv1d):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


class TextCNNModel(WordVectors, TextCNNPreTrainedModel):
    """A text as the strongest answer of each filter, [batch, feature maps of all widths]."""

    def __init__(self, config: TextCNNConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.convolutions = nn.ModuleList(
            # a filter may begin before the text and end after it, so that no text is too short
            nn.Conv1d(config.embedding_size, config.feature_maps, width, padding=width - 1)
            for width in config.filter_widths
        )
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> BaseModelOutputWithPooling:
        """Read token ids [batch, tokens]; `attention_mask` is 0 where they are padding.

        Padding has no word vector and no filter that reads nothing else counts, so it changes
        nothing. `token_type_ids` are not looked at.
        """
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        words = self.embeddings(input_ids)
        words = (words * real.unsqueeze(-1).to(words.dtype)).transpose(1, 2)
        strongest = [_over_time(filters, words, real) for filters in self.convolutions]
        return BaseModelOutputWithPooling(pooler_output=torch.cat(strongest, dim=1))


def _over_time(filters: nn.Module, words: Tensor, real: Tensor) -> Tensor:
    """The maximum of each filter over the places where it reads a word, [batch, feature maps]."""
    assert isinstance(filters, nn.Conv1d)
    answers = F.relu(filters(words))  # [batch, feature maps, tokens + width - 1]
    (width,) = filters.kernel_size
    reach = F.pad(real.to(answers.dtype), (width - 1, width - 1))
    # how many real words each place reads; a pooling layer could not be exported to ONNX
    reads = F.conv1d(reach.unsqueeze(1), reach.new_ones(1, 1, width)) > 0.5
    return answers.masked_fill(~reads, 0).max(dim=-1).values  # no answer is below 0


class TextCNNForSequenceClassification(TextCNNPreTrainedModel):
    """TextCNN with one linear layer for a label, or for a real value."""

    def __init__(self, config: TextCNNConfig) -> None:
        super().__init__(config)
        self.textcnn = TextCNNModel(config)
        self.dropout = nn.Dropout(config.dropout)
        maps = config.feature_maps * len(config.filter_widths)
        self.classifier = nn.Linear(maps, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Logits [batch, classes], and with `labels` the loss that the config's problem has."""
        read = self.textcnn(input_ids, attention_mask, token_type_ids)
        logits = self.classifier(self.dropout(read.pooler_output))
        return self.classified(logits, labels)
