"""Precision, recall and F1 from what was right, predicted and there."""

import numpy as np
from jaxtyping import Int


def precision_recall_f1(counts: Int[np.ndarray, "rows 3"]) -> tuple[float, float, float]:
    """Of the (right, predicted, there) of all rows together: the micro average.

    0 where nothing is predicted or nothing is there.
    """
    right, predicted, labelled = (int(n) for n in counts.sum(axis=0))
    precision = right / predicted if predicted else 0.0
    recall = right / labelled if labelled else 0.0
    f1 = 2 * right / (predicted + labelled) if predicted + labelled else 0.0
    return precision, recall, f1
