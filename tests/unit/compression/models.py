"""Small models of the kinds that are exported, with new weights."""

from pathlib import Path
from typing import Any

import torch

WORDS = 50
BERT: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 48,
}
LABELS = {"num_labels": 3, "id2label": {0: "bad", 1: "good", 2: "odd"}}


def make(kind: str) -> Any:
    """A model in eval mode; its weights are wide enough that logits of texts differ."""
    import transformers

    from distillkit.students.architectures.bilstm import (
        BiLSTMConfig,
        BiLSTMForSequenceClassification,
    )
    from distillkit.students.architectures.textcnn import (
        TextCNNConfig,
        TextCNNForSequenceClassification,
    )

    torch.manual_seed(0)
    small: dict[str, Any] = {"vocab_size": WORDS, "embedding_size": 12, **LABELS}
    if kind == "textcnn":
        return TextCNNForSequenceClassification(TextCNNConfig(feature_maps=8, **small)).eval()
    if kind in ("bilstm", "siamese"):
        shape = small | {"hidden_size": 7, "fc_size": 9, "num_hidden_layers": 2}
        config = BiLSTMConfig(siamese=kind == "siamese", **shape)
        return BiLSTMForSequenceClassification(config).eval()
    if kind == "modernbert":  # attention in windows, which see nothing but padding in places
        windows = {"local_attention": 8, "global_attn_every_n_layers": 2, "pad_token_id": 0}
        words = dict.fromkeys(("bos_token_id", "cls_token_id", "eos_token_id", "sep_token_id"), 1)
        shape = BERT | LABELS | windows | words
        return transformers.ModernBertForTokenClassification(
            transformers.ModernBertConfig(**shape)
        ).eval()
    labels = {} if kind == "QuestionAnswering" else LABELS
    config = transformers.BertConfig(**BERT, **labels, initializer_range=0.5)
    return getattr(transformers, f"BertFor{kind}")(config).eval()


def save(kind: str, folder: Path) -> Any:
    """A model with the tokenizer of the tiny texts in a folder; it has a row for each token."""
    from transformers import AutoTokenizer

    from distillkit.models.saving import save_folder
    from distillkit.students.architectures import register_architectures
    from tests import tiny

    register_architectures()
    tiny.write_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = make(kind)
    model.resize_token_embeddings(len(tokenizer))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model.get_input_embeddings().weight.data.normal_()
    save_folder(model, tokenizer, folder, max_length=32)
    return model
