"""How well predictions fit the labels."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import log_softmax
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score


def classification_scores(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]
) -> dict[str, float]:
    """Accuracy, F1 of the classes that occur (their mean, and the least), and NLL in nats."""
    predicted = logits.argmax(axis=-1)
    f1_of_class = f1_score(
        labels, predicted, labels=np.unique(labels), average=None, zero_division=0.0
    )
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
        "worst_class": float(f1_of_class.min()),
        "nll": mean_nll(logits, labels),
    }


def mean_nll(
    logits: Float[np.ndarray, "positions classes"], labels: Int[np.ndarray, " positions"]
) -> float:
    """Mean negative log-likelihood of the labels, in nats a position."""
    log_p = log_softmax(logits.astype(np.float64), axis=-1)
    return float(-log_p[np.arange(len(labels)), labels].mean())


def multi_label_scores(
    logits: Float[np.ndarray, "examples labels"],
    predicted: Bool[np.ndarray, "examples labels"],
    labels: Int[np.ndarray, "examples labels"],
) -> dict[str, float]:
    """Micro and macro F1, the share of texts with all labels right, and NLL in nats a text.

    A label that is neither there nor predicted counts as 0 in the macro average.
    """
    # -log sigmoid(z) where the label holds, -log(1 - sigmoid(z)) = -log sigmoid(-z) where not
    nats = np.logaddexp(0.0, np.where(labels == 1, -1.0, 1.0) * logits.astype(np.float64))
    return {
        "micro_f1": float(f1_score(labels, predicted, average="micro", zero_division=0.0)),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
        "subset_accuracy": float(accuracy_score(labels, predicted)),
        "nll": float(nats.sum(axis=1).mean()),
    }


def regression_scores(
    predictions: Float[np.ndarray, " examples"], values: Float[np.ndarray, " examples"]
) -> dict[str, float]:
    """Pearson and Spearman correlation (0 where a side is constant) and root mean squared error."""
    constant = np.ptp(predictions) == 0 or np.ptp(values) == 0
    return {
        "pearson": 0.0 if constant else float(pearsonr(predictions, values).statistic),
        "spearman": 0.0 if constant else float(spearmanr(predictions, values).statistic),
        "rmse": float(np.sqrt(np.mean((predictions - values) ** 2))),
    }
