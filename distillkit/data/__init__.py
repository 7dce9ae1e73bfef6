"""Data: sources, splits, the transfer set; documents, conversations, tagged words, questions."""

from distillkit.data.augmentation import (
    Augmentation,
    NoAugmentation,
    RuleBased,
    WordDropout,
    prepare_augmented,
)
from distillkit.data.conversations import Conversations, prepare_conversations
from distillkit.data.corpus import Corpus, Split, prepare_labelled, prepare_transfer
from distillkit.data.documents import Documents, prepare_documents
from distillkit.data.questions import Questions
from distillkit.data.refill import MaskAndRefill
from distillkit.data.tagged import TaggedText
from distillkit.data.text_data import TextData

Data = TextData | Documents | Conversations | TaggedText | Questions

__all__ = [
    "Augmentation",
    "Conversations",
    "Corpus",
    "Data",
    "Documents",
    "MaskAndRefill",
    "NoAugmentation",
    "Questions",
    "RuleBased",
    "Split",
    "TaggedText",
    "TextData",
    "WordDropout",
    "prepare_augmented",
    "prepare_conversations",
    "prepare_documents",
    "prepare_labelled",
    "prepare_transfer",
]
