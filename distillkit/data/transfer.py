"""The transfer set: unlabelled text on which the student learns what the teacher says.

The name is Hinton, Vinyals, Dean's (2015, https://arxiv.org/abs/1503.02531, section 1).
"""

import random
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from distillkit.data.likeness import likeness
from distillkit.data.splits import normalise, unit_hash

BOTH = 3  # of a pair the first text is changed, the second, then both: Tang et al., section 3.3
_BREAK = re.compile(r"<br\s*/?>|\n+", re.IGNORECASE)
_SENTENCE_END = re.compile(r"""(?:(?<=[.!?])|(?<=[.!?]["')\]]))\s+""")


@dataclass(frozen=True, slots=True)
class TransferSet:
    """The chosen texts, and how many were left out for which reason."""

    texts: list[str]
    dropped: dict[str, int]


def sentences(text: str) -> Iterator[str]:
    """Cut running text into sentences at line breaks and after `.`, `!` or `?`."""
    for line in _BREAK.split(text):
        yield from filter(None, (part.strip() for part in _SENTENCE_END.split(line)))


def choose(
    texts: Iterable[str],
    *,
    texts_there: Collection[str],
    size: int | None,
    words: tuple[int, int],
    by_sentence: bool,
    lowercase: bool,
    like: Iterable[str] | None = None,
) -> TransferSet:
    """Pick `size` texts of `words` words, neither `texts_there` (normalised) nor picked before.

    They are picked by the hash of their text or, with `like` (normalised texts), those first that
    are most like these: a smaller set is always a part of a larger one, and the order of the source
    plays no part.
    """
    dropped = {"length": 0, "duplicate": 0, "labelled": 0}
    ranked: dict[str, tuple[float, str]] = {}
    for text in texts:
        for piece in sentences(text) if by_sentence else (text,):
            folded = normalise(piece)
            if not words[0] <= len(folded.split()) <= words[1]:
                dropped["length"] += 1
            elif folded in texts_there:
                dropped["labelled"] += 1
            else:
                # the spaces of a web page mean nothing; the case may
                piece_text = " ".join(piece.split())
                piece_text = piece_text.lower() if lowercase else piece_text
                if folded in ranked:
                    dropped["duplicate"] += 1
                    piece_text = min(
                        piece_text, ranked[folded][1]
                    )  # whichever came first in the source
                ranked[folded] = (unit_hash(folded), piece_text)
    if like is not None and size is not None and len(ranked) > size:
        ranked = _most_like_first(like, ranked)
    choice = [text for _, text in sorted(ranked.values())]
    if size is not None and len(choice) > size:
        dropped["beyond transfer_size"] = len(choice) - size
        choice = choice[:size]
    return TransferSet(choice, {reason: n for reason, n in dropped.items() if n})


def _most_like_first(
    like: Iterable[str], ranked: dict[str, tuple[float, str]]
) -> dict[str, tuple[float, str]]:
    """The texts by their folded forms, ranked by likeness; equals stay in the order of hashes."""
    by_hash = sorted(ranked, key=lambda folded: ranked[folded])
    values = likeness(like, by_hash)
    places = sorted(range(len(by_hash)), key=lambda place: -values[place])
    return {by_hash[i]: (float(n), ranked[by_hash[i]][1]) for n, i in enumerate(places)}


def spans(
    examples: Iterable[tuple[str, ...]],
    *,
    spans_of_text: int,
    words: tuple[int, int],
    texts_there: Collection[str],
) -> list[tuple[str, ...]]:
    """Up to `spans_of_text` stretches of every text, of `words` words but never the whole text.

    What Tang et al. 2019 (https://arxiv.org/abs/1903.12136) call n-gram sampling: the teacher says
    of parts of a text what its label alone does not. An example is a text, or a pair: of this the
    first text is cut, then the second, then both, and so on, and one too short to be cut stays. An
    example alone decides its spans; those that are `texts_there` (normalised) or were cut before
    are left out.
    """
    texts_seen = set(texts_there)
    pieces = []
    for example in examples:
        parts = [text.split() for text in example]
        longest = [min(words[1], len(part) - 1) for part in parts]
        rng = random.Random(normalise(*example))
        for number in range(spans_of_text):
            turn = number % BOTH
            words_of = list(example)
            for place, part in enumerate(parts):
                is_cut = len(parts) == 1 or turn in (place, BOTH - 1)
                if is_cut and longest[place] >= words[0]:
                    count = rng.randint(words[0], longest[place])
                    begin = rng.randrange(len(part) - count + 1)
                    words_of[place] = " ".join(part[begin : begin + count])
            folded = normalise(*words_of)
            if tuple(words_of) != example and folded not in texts_seen:
                texts_seen.add(folded)
                pieces.append(tuple(words_of))
    return pieces


def smallest(examples: list[tuple[str, ...]], size: int | None) -> list[tuple[str, ...]]:
    """`size` of the examples at most, in their order: those of the smallest hashes.

    So a smaller choice is always a part of a larger one.
    """
    if size is None or len(examples) <= size:
        return examples
    ranks = [(unit_hash(normalise(*example)), example) for example in examples]
    largest = sorted(ranks)[size - 1]
    return [example for example, rank in zip(examples, ranks, strict=True) if rank <= largest]
