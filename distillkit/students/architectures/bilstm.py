"""BiLSTM: one layer read in both directions, and a small network on where the readings end.

Tang et al. 2019, https://arxiv.org/abs/1903.12136, as transformers models, with the sizes of the
official code (castorini/d-bert, confs/birnn_sst2.json): 150 units a direction, 200 in the layer
before the last, dropout of 0.1; word vectors start uniform within 0.25 unless they are taken from
a teacher. `siamese` is that code's model of pairs: each text is read alone, and [a, b, |a - b|,
a * b] goes on. Without it a pair is read as one text, separator included.

This file is saved beside a student's weights with `word_vectors.py`, so that it loads where
distillkit is not installed: it imports torch, transformers and that file only.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

from .word_vectors import WordVectorConfig, WordVectorPreTrainedModel, WordVectors


class BiLSTMConfig(WordVectorConfig):
    """The shape of a BiLSTM.

    `hidden_size` is that of each direction, `fc_size` that of the layer before the last.
    """

    model_type = "distillkit_bilstm"

    def __init__(
        self,
        vocab_size: int = 30522,
        embedding_size: int = 300,
        hidden_size: int = 150,
        num_hidden_layers: int = 1,
        fc_size: int = 200,
        dropout: float = 0.1,
        siamese: bool = False,
        initializer_range: float = 0.25 / math.sqrt(3),
        pad_token_id: int | None = 0,
        **of_every_model: Any,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.fc_size = fc_size
        self.siamese = siamese
        super().__init__(
            vocab_size, embedding_size, dropout, initializer_range, pad_token_id, **of_every_model
        )


class BiLSTMPreTrainedModel(WordVectorPreTrainedModel):
    """How a BiLSTM's weights begin."""

    config_class = BiLSTMConfig
    base_model_prefix = "bilstm"


class BiLSTMModel(WordVectors, BiLSTMPreTrainedModel):
    """A text as the last states of both directions, [batch, 2 hidden]; a pair as 8 hidden."""

    def __init__(self, config: BiLSTMConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.lstm = nn.LSTM(
            config.embedding_size,
            config.hidden_size,
            config.num_hidden_layers,
            batch_first=True,
            bidirectional=True,
        )
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> BaseModelOutputWithPooling:
        """Read token ids [batch, tokens]; `attention_mask` is 0 where they are padding.

        `last_hidden_state` [batch, tokens, 2 hidden] is 0 there, and hidden states are the word
        vectors and that. Raises `ValueError` for a siamese model without `token_type_ids`.
        """
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        words, real = self.embeddings(input_ids), real.bool()
        if self.config.siamese:
            if token_type_ids is None:
                raise ValueError(
                    "a siamese BiLSTM tells the texts of a pair apart by token_type_ids: give it "
                    "pairs, and a tokenizer that has them"
                )
            first, a = self._read(words, real & (token_type_ids == 0))
            second, b = self._read(words, real & (token_type_ids == 1))
            states, ends = first + second, torch.cat([a, b, (a - b).abs(), a * b], dim=-1)
        else:
            states, ends = self._read(words, real)
        hidden_states = (words, states) if output_hidden_states else None
        return BaseModelOutputWithPooling(
            last_hidden_state=states, pooler_output=ends, hidden_states=hidden_states
        )

    def _read(self, words: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """(states at the words [batch, tokens, 2 hidden], where both directions end [batch, 2
        hidden]) of the words [batch, tokens, embedding] that are `real`, wherever they stand.
        """
        lengths = real.sum(dim=1)
        order = (~real).to(torch.int8).argsort(dim=1, stable=True)  # real words to the front
        moved = words.gather(1, order.unsqueeze(-1).expand_as(words))
        packed = pack_padded_sequence(
            moved, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
        )
        read, (last, _) = self.lstm(packed)
        states, _ = pad_packed_sequence(read, batch_first=True, total_length=real.shape[1])
        back = order.argsort(dim=1).unsqueeze(-1).expand_as(states)
        ends = torch.cat([last[-2], last[-1]], dim=-1)
        states = states.gather(1, back) * real.unsqueeze(-1).to(states.dtype)
        return states, ends * (lengths > 0).unsqueeze(-1).to(ends.dtype)


class BiLSTMForSequenceClassification(BiLSTMPreTrainedModel):
    """BiLSTM with a layer of rectifiers and one for a label, or for a real value."""

    def __init__(self, config: BiLSTMConfig) -> None:
        super().__init__(config)
        self.bilstm = BiLSTMModel(config)
        self.dense = nn.Linear((8 if config.siamese else 2) * config.hidden_size, config.fc_size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.fc_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> SequenceClassifierOutput:
        """Logits [batch, classes], and with `labels` the loss that the config's problem has."""
        read = self.bilstm(input_ids, attention_mask, token_type_ids, output_hidden_states)
        logits = self.classifier(self.dropout(F.relu(self.dense(read.pooler_output))))
        return self.classified(logits, labels, read.hidden_states)
