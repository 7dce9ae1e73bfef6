"""How much unlabelled texts are like the training texts: by the words that mark these.

Moore & Lewis 2010 (https://aclanthology.org/P10-2041/) choose from general text what a language
model of the wanted domain finds likely and one of the general text does not. Here both models are
counts of the texts that a word stands in, which takes seconds on a million sentences.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"\w+|[^\w\s]")
FEWEST = 2  # training texts that a word stands in, for its count to say anything
UNSEEN = -1.0  # nats, of any other word


def likeness(texts: Iterable[str], pool: Sequence[str]) -> list[float]:
    """How much like the training `texts` each text of the `pool` is, in nats a word; all folded.

    The mean over its words of log(share of the training texts' words / share of the pool's). A word
    of fewer than two training texts counts -1, so that names and rare words do not win.
    """
    of_texts, of_pool = _texts_with(texts), _texts_with(pool)
    shift = math.log(max(1, of_pool.total()) / max(1, of_texts.total()))
    weights = {
        word: math.log((count + 1) / (of_pool[word] + 1)) + shift
        for word, count in of_texts.items()
        if count >= FEWEST
    }
    return [_mean([weights.get(word, UNSEEN) for word in _WORD.findall(text)]) for text in pool]


def _texts_with(texts: Iterable[str]) -> Counter[str]:
    """In how many of the texts each word stands."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(_WORD.findall(text)))
    return counts


def _mean(values: list[float]) -> float:
    # exactly rounded, so that the order of the words' weights can never decide a tie
    return math.fsum(values) / len(values) if values else UNSEEN
