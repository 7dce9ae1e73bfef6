"""Data: sources and formats, splits, the transfer set; conversations, tagged words, questions.

`data.Data` says what a new kind has to do.

Rows of text and labels come out; what becomes of them as token ids is a task's.
"""

from distillkit.data.augmentation import (
    Augmentation,
    NoAugmentation,
    RuleBased,
    WordDropout,
    prepare_augmented,
)
from distillkit.data.conversations import Conversations, prepare_conversations
from distillkit.data.corpus import Corpus, Split
from distillkit.data.data import Data
from distillkit.data.documents import Documents, prepare_documents
from distillkit.data.files import TextData, prepare_labelled, prepare_transfer
from distillkit.data.questions import Questions
from distillkit.data.refill import MaskAndRefill
from distillkit.data.tagged import TaggedText

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
