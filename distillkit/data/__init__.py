"""Data: sources, splits, the transfer set; documents and conversations."""

from distillkit.data.corpus import Corpus, Split, TextData, prepare_labelled, prepare_transfer
from distillkit.data.documents import Conversations, Documents, prepare_documents

Data = TextData | Documents | Conversations

__all__ = [
    "Conversations",
    "Corpus",
    "Data",
    "Documents",
    "Split",
    "TextData",
    "prepare_documents",
    "prepare_labelled",
    "prepare_transfer",
]
