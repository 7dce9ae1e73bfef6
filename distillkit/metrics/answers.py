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
    said = normalise_answer(answer)
    known = [normalise_answer(reference) for reference in references or [""]]
    return max(float(said == r) for r in known), max(_word_f1(said, r) for r in known)


def _word_f1(said: str, known: str) -> float:
    ours, theirs = said.split(), known.split()
    if not ours or not theirs:
        return float(ours == theirs)
    return overlap_f1(sum((Counter(ours) & Counter(theirs)).values()), len(ours), len(theirs))


def overlap_f1(shared: int, said: int, known: int) -> float:
    """F1 of what two spans or bags share, of their sizes."""
    return 2 * shared / (said + known) if said + known else 1.0
