"""Whole entities found: a span counts only with both its ends and its type right.

Tjong Kim Sang, De Meulder 2003, https://aclanthology.org/W03-0419, section 2.4 (`conlleval`). An
entity begins at B-, and at I- after another type or none: IOB1 and IOB2 are both read.
"""

import importlib.util
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

PACKAGE = "seqeval"


def is_installed() -> bool:
    """Whether the package that tells entities from tags is there; it is not imported."""
    return importlib.util.find_spec(PACKAGE) is not None


def entity_counts(
    predicted: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]
) -> Int[np.ndarray, "sentences 3"]:
    """The entities that are right, that are predicted and that there are, of each sentence.

    Both are the tags of each sentence's words, as B-PER, I-PER and O.
    """
    from seqeval.metrics.sequence_labeling import get_entities

    counts = np.zeros((len(labels), 3), np.int64)
    for row, predictions, references in zip(counts, predicted, labels, strict=True):
        predicted_entities, labelled_entities = (
            set(get_entities(list(predictions))),
            set(get_entities(list(references))),
        )
        row[:] = (
            len(predicted_entities & labelled_entities),
            len(predicted_entities),
            len(labelled_entities),
        )
    return counts
