"""The losses on the inside of two models, under contract. A new one joins with a row of the table.

A row says what the loss is and what it should be: a NumPy reference in float64 of one text, given
what each model has inside for its tokens alone.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distillkit import losses
from distillkit.losses.layered import LayeredLoss
from distillkit.types import Activations, Dimensions, PairedActivations

Array = np.ndarray
Text = Mapping[str, Mapping[int, Array]]  # name -> layer -> [tokens, width]
LAYERS, HEADS = 4, 4


@dataclass(frozen=True)
class InsideLoss:
    """One loss: `reference(student, teacher, loss)` is its value for one text.

    `width` is the student's, the teacher's is 8. A loss that `stands_alone` takes each text by
    itself.
    """

    name: str
    module: type[LayeredLoss]
    reference: Callable[[Text, Text, Any], float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    width: int = 8
    stands_alone: bool = True

    def build(self) -> LayeredLoss:
        """The loss, bound to a student of 2 layers and a teacher of 4, in float64."""
        torch.manual_seed(0)
        loss = self.module(**self.settings)
        loss.bind(dimensions(2, self.width), dimensions(LAYERS, 8))
        return loss.double()


def dimensions(layers: int, width: int) -> Dimensions:
    return Dimensions("Tiny", layers, width, heads=HEADS, queries=width, keys=width)


def pair_mean(compare: Callable[[Text, Text, int, int], float]) -> Callable[..., float]:
    """A reference: the sum over the pairs of layers that the loss settled on."""

    def reference(student: Text, teacher: Text, loss: Any) -> float:
        return sum(compare(student, teacher, mine, theirs) for mine, theirs in loss.pairs)

    return reference


def softmax(scores: Array) -> Array:
    weights: Array = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def kl(scores: Array, teacher: Array) -> float:
    p, q = softmax(teacher), softmax(scores)
    return float((p * np.log(p / q)).sum(axis=-1).mean())


def heads_of(left: Array, right: Array, heads: int = HEADS) -> list[Array]:
    """The scores [tokens, tokens] of each head."""
    width = left.shape[1] // heads
    parts = [slice(h * width, (h + 1) * width) for h in range(heads)]
    return [left[:, part] @ right[:, part].T / math.sqrt(width) for part in parts]


def attention(text: Text, layer: int) -> list[Array]:
    return heads_of(text["queries"][layer], text["keys"][layer])


def linear(layer: Any, states: Array) -> Array:
    projected: Array = states @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    return projected


def of_hidden(by_pair: Callable[[Array, Array], float]) -> Callable[..., float]:
    return pair_mean(lambda s, t, m, n: by_pair(s["hidden"][m], t["hidden"][n]))


def projected_mse(student: Text, teacher: Text, loss: Any) -> float:
    total = 0.0
    for mine, theirs in [(0, 0), (1, 2), (2, 4)]:
        moved = linear(loss.projections[0], student["hidden"][mine])
        total += float(((moved - teacher["hidden"][theirs]) ** 2).mean())
    return total


def one_minus_cosine(mine: Array, theirs: Array) -> float:
    norms = np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(1 - ((mine * theirs).sum(axis=1) / norms).mean())


def of_cls(mine: Array, theirs: Array) -> float:
    first, other = mine[0] / np.linalg.norm(mine[0]), theirs[0] / np.linalg.norm(theirs[0])
    return float(((first - other) ** 2).sum())


def gram(mine: Array, theirs: Array) -> float:
    difference = mine @ mine.T / mine.shape[1] - theirs @ theirs.T / theirs.shape[1]
    return float((difference**2).mean())


def flow(student: Text, teacher: Text, loss: Any) -> float:
    mine = [linear(loss.projections[0], student["hidden"][m]) for m, _ in loss.pairs]
    theirs = [teacher["hidden"][n] for _, n in loss.pairs]
    tokens = len(mine[0])
    difference = mine[0].T @ mine[1] / tokens - theirs[0].T @ theirs[1] / tokens
    return float((difference**2).mean())


def relations(student: Text, teacher: Text, loss: Any) -> float:
    total = 0.0
    for name in ("queries", "keys", "values"):
        mine, theirs = student[name][2], teacher[name][4]
        both = zip(heads_of(mine, mine, 2), heads_of(theirs, theirs, 2), strict=True)
        total += float(np.mean([kl(*pair) for pair in both]))
    return total


LOSSES = (
    InsideLoss("hidden_mse", losses.HiddenMSE, projected_mse, width=4),
    InsideLoss("hidden_cosine", losses.HiddenCosine, of_hidden(one_minus_cosine)),
    InsideLoss("patience", losses.Patience, of_hidden(of_cls)),
    InsideLoss("gram_mse", losses.GramMSE, of_hidden(gram), width=4),
    InsideLoss("flow_mse", losses.FlowMSE, flow, width=4),
    InsideLoss(
        "attention_mse",
        losses.AttentionMSE,
        pair_mean(
            lambda s, t, m, n: float(
                np.mean((np.array(attention(s, m)) - np.array(attention(t, n))) ** 2)
            )
        ),
        width=4,
    ),
    InsideLoss(
        "attention_kl",
        losses.AttentionKL,
        pair_mean(
            lambda s, t, m, n: float(
                np.mean([kl(*p) for p in zip(attention(s, m), attention(t, n), strict=True)])
            )
        ),
        width=4,
    ),
    InsideLoss("relations", losses.Relations, relations, settings={"relation_heads": 2}, width=4),
)
# what stands in a batch beside a text is what it is told from: it has no value of its own
CONTRAST = InsideLoss("contrast", losses.Contrast, lambda *_: math.nan, width=4, stands_alone=False)

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
every_loss_and_contrast = pytest.mark.parametrize(
    "loss", (*LOSSES, CONTRAST), ids=lambda loss: loss.name
)


def random_texts(layers: int, width: int, lengths: list[int], seed: int) -> list[Text]:
    """What a model has inside for texts of these lengths."""
    rng = np.random.default_rng(seed)
    names = {"hidden": range(layers + 1)} | dict.fromkeys(
        ("queries", "keys", "values"), range(1, layers + 1)
    )
    return [
        {name: {i: rng.normal(size=(n, width)) for i in of} for name, of in names.items()}
        for n in lengths
    ]


def inside(texts: list[Text], *, tokens: int, padding: float = 0.0) -> Activations:
    """Each text in a row of its own, padded to `tokens` with a value."""

    def rows(name: str) -> dict[int, Tensor]:
        return {
            layer: torch.from_numpy(
                np.stack(
                    [
                        np.pad(
                            text[name][layer],
                            ((0, tokens - len(text[name][layer])), (0, 0)),
                            constant_values=padding,
                        )
                        for text in texts
                    ]
                )
            )
            for layer in texts[0][name]
        }

    return Activations(**{n: rows(n) for n in ("hidden", "queries", "keys", "values")}, heads=HEADS)


def insides(
    loss: InsideLoss, lengths: list[int], *, tokens: int | None = None, padding: float = 0.0
) -> PairedActivations:
    """A batch of texts, one position each, as student and teacher have them inside."""
    tokens = tokens or max(lengths)
    mine = random_texts(2, loss.width, lengths, seed=1)
    theirs = random_texts(LAYERS, 8, lengths, seed=2)
    return PairedActivations(
        inside(mine, tokens=tokens, padding=padding),
        inside(theirs, tokens=tokens, padding=padding),
        mask=torch.arange(tokens) < torch.tensor(lengths)[:, None],
        text_index=torch.arange(len(lengths)),
    )
