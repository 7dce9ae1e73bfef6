"""Whether an answer is the one asked for: exact match and F1 as SQuAD defines them.

Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, section 6.1, and its evaluation script:
letter case, punctuation, articles and blanks do not count, and the best reference does.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise_answer(text: str) -> str:
    """An answer as it is compared."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def answer_scores(answer: str, references: Sequence[str]) -> tuple[float, float]:
    """(exact match, F1 of the words) against the best reference; the empty one if there is none."""
    answer_words = normalise_answer(answer)
    references_words = [normalise_answer(reference) for reference in references or [""]]
    return max(float(answer_words == r) for r in references_words), max(
        _word_f1(answer_words, r) for r in references_words
    )


def _word_f1(answer: str, reference: str) -> float:
    answer_words, reference_words = answer.split(), reference.split()
    if not answer_words or not reference_words:
        return float(answer_words == reference_words)
    return overlap_f1(
        sum((Counter(answer_words) & Counter(reference_words)).values()),
        len(answer_words),
        len(reference_words),
    )


def overlap_f1(shared: int, answer: int, reference: int) -> float:
    """F1 of what two spans or bags share, of their sizes."""
    return 2 * shared / (answer + reference) if answer + reference else 1.0
