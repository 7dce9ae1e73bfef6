"""More text to ask the teacher about, made of the training texts: it gets no labels.

Every copy is decided by the seed, the text it is made of and its number: a training set that grows
keeps the copies that it had, and more copies hold the fewer ones.
"""

import random
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Protocol

from distillkit.console.progress import say
from distillkit.data.corpus import AUGMENTED, LABELLED, Corpus, Split
from distillkit.data.rows import say_dropped, write_split
from distillkit.data.splits import normalise
from distillkit.data.transfer import BOTH
from distillkit.errors import ConfigError, DataError
from distillkit.setting_types import PositiveInt, Seed, Share

Rewrite = Callable[[random.Random], str]  # another text like the one that it belongs to


class Augmentation(Protocol):
    """How texts are rewritten, `copies` times each."""

    @property
    def copies(self) -> int:
        """How many texts are made of each; 0: none."""
        ...

    @property
    def seed(self) -> int:
        """What decides the copies, beside the texts."""
        ...

    def fingerprint_fields(self) -> dict[str, Any]:
        """All that decides the copies, beside the texts."""
        ...

    def rewrites(self, texts: Sequence[str], *, cache: Path) -> Iterator[Rewrite]:
        """How each of the texts is rewritten, in their order."""
        ...


@dataclass(frozen=True)
class NoAugmentation:
    """The texts as they are."""

    copies: ClassVar[int] = 0
    seed: ClassVar[int] = 0

    def fingerprint_fields(self) -> dict[str, Any]:
        """Nothing is decided."""
        return {}

    def rewrites(self, texts: Sequence[str], *, cache: Path) -> Iterator[Rewrite]:
        """Each of the texts, as it is."""
        return map(_unchanged, texts)


def _unchanged(text: str) -> Rewrite:
    return lambda _: text


@dataclass(frozen=True)
class WordDropout:
    """Each word is left out with probability `p`, but never all of them.

    The word dropout of Iyyer et al. 2015, https://aclanthology.org/P15-1162, on texts.
    """

    copies: PositiveInt = 5
    p: Share = 0.3
    seed: Seed = 0

    def fingerprint_fields(self) -> dict[str, Any]:
        """All that decides the copies, beside the texts."""
        return {"kind": type(self).__name__, **asdict(self)}

    def rewrites(self, texts: Sequence[str], *, cache: Path) -> Iterator[Rewrite]:
        """How each of the texts is rewritten."""
        return (self._rewrite(text.split()) for text in texts)

    def _rewrite(self, words: list[str]) -> Rewrite:
        def rewrite(rng: random.Random) -> str:
            words_left = [word for word in words if rng.random() >= self.p]
            return " ".join(words_left or rng.sample(words, min(1, len(words))))

        return rewrite


@dataclass(frozen=True)
class RuleBased:
    """Words are masked, or replaced, and of some copies an n-gram is taken.

    Tang et al. 2019, https://arxiv.org/abs/1903.12136, section 3.3: with one draw for each word, a
    word becomes `mask` with probability `p_mask`, or else another one with `p_replace`; then, with
    probability `p_ng`, a copy becomes an n-gram of itself, of `ngram` [fewest, most] words.

    There a word is replaced by one of its part of speech, drawn by its frequency. Here it is drawn
    by its frequency among all words of the training texts: a tagger would be one for each language.
    """

    copies: PositiveInt = 20
    p_mask: Share = 0.1
    p_replace: Share = 0.1
    p_ng: Share = 0.25
    ngram: list[int] = field(default_factory=lambda: [1, 5])
    mask: str = "[MASK]"
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.p_mask + self.p_replace > 1:
            raise ConfigError(
                f"augmentation.p_mask + augmentation.p_replace = {self.p_mask + self.p_replace:g}: "
                "a word is masked or replaced; together at most 1"
            )
        if len(self.ngram) != 2 or not 0 < self.ngram[0] <= self.ngram[1]:
            raise ConfigError(
                f"augmentation.ngram = {self.ngram}: must be the fewest and the most words, as "
                "[1, 5]"
            )
        if not self.mask.split():
            raise ConfigError(
                "augmentation.mask: is empty; write the tokenizer's mask token, as [MASK], or "
                "choose augmentation=word_dropout"
            )

    def fingerprint_fields(self) -> dict[str, Any]:
        """All that decides the copies, beside the texts."""
        return {"kind": type(self).__name__, **asdict(self)}

    def rewrites(self, texts: Sequence[str], *, cache: Path) -> Iterator[Rewrite]:
        """How each of the texts is rewritten."""
        counts = Counter(word for text in texts for word in text.split())
        ranked = sorted(counts.items())  # whatever order the texts are in
        words = [word for word, _ in ranked]
        ends = list(accumulate(count for _, count in ranked))

        def draw(rng: random.Random) -> str:
            return words[bisect(ends, rng.randrange(ends[-1]))]

        return (self._rewrite(text.split(), draw) for text in texts)

    def _rewrite(self, words: list[str], draw: Rewrite) -> Rewrite:
        def changed(word: str, rng: random.Random) -> str:
            x = rng.random()
            if x < self.p_mask:
                return self.mask
            return draw(rng) if x < self.p_mask + self.p_replace else word

        def rewrite(rng: random.Random) -> str:
            copy = [changed(word, rng) for word in words]
            if rng.random() < self.p_ng:
                size = min(rng.randint(*self.ngram), len(copy))
                begin = rng.randrange(len(copy) - size + 1)
                copy = copy[begin : begin + size]
            return " ".join(copy)

        return rewrite


def prepare_augmented(
    augmentation: Augmentation, labelled: Corpus, *, cache: Path, out: Path
) -> dict[str, Any]:
    """Write the copies of the training texts into `out`, free of every labelled text."""
    texts_there = {
        normalise(*example) for name in LABELLED for example in labelled.split(name).examples()
    }
    texts, pairs, dropped = augmented(
        labelled.split("train"), augmentation, texts_there=texts_there, cache=cache
    )
    say(f"data: {len(texts):,} texts made of the training texts")
    say_dropped("texts made", dropped)
    if not texts:
        raise DataError(
            f"augmentation: {type(augmentation).__name__} made no text that the data does not "
            "have; raise augmentation.copies or its probabilities, or set augmentation=none"
        )
    write_split(out / AUGMENTED, texts, pairs, None)
    return {"counts": {AUGMENTED: len(texts)}, "dropped": dropped}


def augmented(
    split: Split, augmentation: Augmentation, *, texts_there: Collection[str], cache: Path
) -> tuple[list[str], list[str] | None, dict[str, int]]:
    """(texts, the second texts of pairs, how many copies were left out for which reason).

    A copy is left out if it is empty, `texts_there` (normalised), or made before. Of a pair the
    first text is rewritten, then the second, then both, and so on; what is not rewritten stays.
    """
    examples = split.examples()
    texts_seen = set(texts_there)
    copies: list[tuple[str, ...]] = []
    dropped = {"empty": 0, "duplicate": 0}
    columns = [list(column) for column in zip(*examples, strict=True)]
    rewriters = zip(*(augmentation.rewrites(texts, cache=cache) for texts in columns), strict=True)
    for example, rewrites in zip(examples, rewriters, strict=True):
        for number in range(augmentation.copies):
            rng = random.Random(f"{augmentation.seed}\x1f{number}\x1f{normalise(*example)}")
            copy = tuple(
                rewrite(rng) if number % BOTH in (place, BOTH - 1) or len(example) == 1 else text
                for place, (text, rewrite) in enumerate(zip(example, rewrites, strict=True))
            )
            folded = normalise(*copy)
            if not all(text.strip() for text in copy):
                dropped["empty"] += 1
            elif folded in texts_seen:
                dropped["duplicate"] += 1
            else:
                texts_seen.add(folded)
                copies.append(copy)
    pairs = [copy[1] for copy in copies] if len(columns) > 1 else None
    reasons = {reason: count for reason, count in dropped.items() if count}
    return [copy[0] for copy in copies], pairs, reasons
