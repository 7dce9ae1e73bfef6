"""Data: sources, splits, the transfer set; documents, conversations, tagged words."""

from distillkit.data.corpus import Corpus, Split, TextData, prepare_labelled, prepare_transfer
from distillkit.data.documents import Conversations, Documents, prepare_documents
from distillkit.data.tagged import TaggedText

Data = TextData | Documents | Conversations | TaggedText

__all__ = [
    "Conversations",
    "Corpus",
    "Data",
    "Documents",
    "Split",
    "TaggedText",
    "TextData",
    "prepare_documents",
    "prepare_labelled",
    "prepare_transfer",
]
