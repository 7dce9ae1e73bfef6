"""Data: sources, splits, the transfer set; documents, conversations, tagged words, questions."""

from distillkit.data.corpus import Corpus, Split, TextData, prepare_labelled, prepare_transfer
from distillkit.data.documents import Conversations, Documents, prepare_documents
from distillkit.data.questions import Questions
from distillkit.data.tagged import TaggedText

Data = TextData | Documents | Conversations | TaggedText | Questions

__all__ = [
    "Conversations",
    "Corpus",
    "Data",
    "Documents",
    "Questions",
    "Split",
    "TaggedText",
    "TextData",
    "prepare_documents",
    "prepare_labelled",
    "prepare_transfer",
]
