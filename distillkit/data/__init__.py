"""Data: sources, splits, the transfer set, tokens."""

from distillkit.data.corpus import Corpus, Split, TextData, prepare_labelled, prepare_transfer
from distillkit.data.tokens import TokenTable, tokenise

__all__ = [
    "Corpus",
    "Split",
    "TextData",
    "TokenTable",
    "prepare_labelled",
    "prepare_transfer",
    "tokenise",
]
