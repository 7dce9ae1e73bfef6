"""Word embeddings for a narrow student out of a wide teacher's."""

from typing import Any

import torch
from torch import Tensor

from distillkit.errors import ModelError


def principal_components(table: Tensor, width: int, counts: Tensor) -> Tensor:
    """The table [vocabulary, hidden] on its first principal components, [vocabulary, width].

    Pearson 1901. Each row weighs as the square root of its count in `counts` [vocabulary], where
    one that was never seen counts a half: else half of the directions would serve words that the
    text hardly ever has. (Chen et al. 2018, GroupReduce, weigh by the frequency itself.) The
    centred table is projected in float64 and each column's sign fixed, so that the result is the
    same on every machine up to rounding.
    """
    wide, weights = table.to(torch.float64), (counts.to(torch.float64) + 0.5).sqrt()
    weights = (weights / weights.sum()).unsqueeze(-1)
    wide = wide - (weights * wide).sum(dim=0)
    return wide @ principal_axes((weights * wide).T @ wide, width)


def principal_axes(moments: Tensor, width: int) -> Tensor:
    """The first eigenvectors of second moments [hidden, hidden], as columns: [hidden, width]."""
    _, vectors = torch.linalg.eigh(moments)  # ascending
    axes = vectors.flip(-1)[:, :width]
    return axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()


def start_from_teacher(student: Any, teacher_embeddings: Tensor, *, counts: Tensor) -> None:
    """Overwrite the student's word embeddings with the teacher's, reduced by a weighted PCA.

    `counts` [tokens] says how often the texts have each token of their tokenizer. They are scaled
    to the spread that the student's own initialiser gives, which its layer norm and learning rate
    are made for.
    """
    table = student.get_input_embeddings().weight
    rows = min(len(counts), table.shape[0], teacher_embeddings.shape[0])
    width = table.shape[1]
    if width > teacher_embeddings.shape[1]:
        raise ModelError(
            f"student.embeddings = pca: the student is wider ({width}) than the teacher "
            f"({teacher_embeddings.shape[1]}); set student.embeddings=random"
        )
    reduced = principal_components(teacher_embeddings[:rows], width, counts[:rows])
    spread = float(getattr(student.config, "initializer_range", 0.02))
    with torch.no_grad():
        table[:rows] = (reduced / reduced.std() * spread).to(table.dtype)
