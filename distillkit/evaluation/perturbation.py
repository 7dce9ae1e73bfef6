"""Held-out text with typos, or in other case: the same words for whoever reads them."""

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from distillkit.data.corpus import Split

Perturbation = Literal["typos", "case"]
SHARE = 0.2  # of the words of four letters or more that get a typo
_WORD = re.compile(r"[^\W\d_]{4,}")


def perturbed(split: Split, kind: Perturbation) -> Split:
    """The same examples, labels and keys; each text changed by a draw of its own.

    Of questions their passages stay, where the answers stand; of tagged text each word stays one.
    """
    change = _CHANGES[kind]
    texts, pairs, words = _changed(split.texts, change), split.pairs, split.words
    if pairs is not None and split.answers is None:
        pairs = _changed(pairs, change)
    if words is not None:
        words = [_SENTENCES[kind](row) for row in words]
        texts = [" ".join(row) for row in words]
    return replace(split, texts=texts, pairs=pairs, words=words)


def _changed(texts: Sequence[str], change: Callable[[str, random.Random], str]) -> list[str]:
    return [change(text, _draws(text)) for text in texts]


def _draws(text: str) -> random.Random:
    """The same for the same text, on any machine and in any order."""
    return random.Random(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())


def typos(text: str, draw: random.Random) -> str:
    """Some words with two letters swapped, one left out or one doubled, never the first."""

    def mistyped(word: re.Match[str]) -> str:
        letters = word[0]
        if draw.random() >= SHARE:
            return letters
        place = draw.randrange(1, len(letters) - 1)
        before, here, after, rest = (
            letters[:place],
            letters[place],
            letters[place + 1],
            letters[place + 2 :],
        )
        pairs = (after + here, after, here + here + after)
        return before + draw.choice(pairs) + rest

    return _WORD.sub(mistyped, text)


def case(text: str, _: random.Random) -> str:
    """In small letters; what was in small letters already, in capitals."""
    lower = text.lower()
    return lower if lower != text else text.upper()


def _typos_of_words(words: Sequence[str]) -> list[str]:
    draw = _draws(" ".join(words))
    return [typos(word, draw) for word in words]


def _case_of_words(words: Sequence[str]) -> list[str]:
    lower = [word.lower() for word in words]
    return lower if lower != [*words] else [word.upper() for word in words]


_SENTENCES: dict[Perturbation, Callable[[Sequence[str]], list[str]]] = {
    "typos": _typos_of_words,
    "case": _case_of_words,
}
_CHANGES: dict[Perturbation, Callable[[str, random.Random], str]] = {"typos": typos, "case": case}
