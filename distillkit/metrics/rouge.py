"""ROUGE-L of written responses, in the variant that instruction distillation is reported in.

Gu et al. 2023, https://arxiv.org/abs/2306.08543: the longest common subsequence of stemmed words
(Lin 2004, https://aclanthology.org/W04-1013), its F1, the best of several references, times 100.
`rougeLsum` and unstemmed ROUGE-L are other numbers.
"""

import importlib.util
import re
from collections.abc import Sequence

import numpy as np

PACKAGE = "rouge_score"
_READ = re.compile("[a-z0-9]")


def is_installed() -> bool:
    """Whether the package that scores is there; it is not imported."""
    return importlib.util.find_spec(PACKAGE) is not None


def rouge_l(responses: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """100 times the best F1 of each response over its references, float64 [responses].

    Words are runs of a-z and 0-9 in lower case; every other letter is dropped, so text in another
    script scores 0: see `readable_share`. A response without such a word scores 0.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    best = [
        scorer.score_multi(reference, response)["rougeL"].fmeasure
        for response, reference in zip(responses, references, strict=True)
    ]
    return 100 * np.asarray(best, np.float64)


def readable_share(texts: Sequence[str]) -> float:
    """The share of the letters and digits of all texts that ROUGE-L reads; 0 where there are none.

    1 for English, about 0.95 for French, near 0 for Chinese or Russian.
    """
    letters = [letter for text in texts for letter in text.lower() if letter.isalnum()]
    return sum(_READ.match(letter) is not None for letter in letters) / max(1, len(letters))
