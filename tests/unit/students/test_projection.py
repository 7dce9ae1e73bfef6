"""Narrower by principal components: what the teacher never uses is not missed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.models.layouts import LAYOUTS
from distillkit.students.from_teacher import FromTeacher, make
from distillkit.students.pruning.cut import prune
from distillkit.students.pruning.projection import hidden_projection
from distillkit.students.pruning.widths import Widths
from tests.unit.models.tiny_lms import tokens
from tests.unit.students.test_pruning import ENCODERS, encoder, says, teacher

FEW = 16  # of 32


def text(batches: int = 4) -> list[dict[str, Tensor]]:
    return [{"input_ids": tokens(batch=8, seed=10 + i)} for i in range(batches)]


@torch.no_grad()
def body(model: Any) -> Tensor:
    said: Tensor = model.base_model(input_ids=tokens())[0]
    return said


def test_its_axes_are_orthonormal_and_hold_the_most() -> None:
    model = teacher("bert")
    kept = []
    for width in (4, 16, 31):
        axes = hidden_projection(model, text(), width).axes
        torch.testing.assert_close(axes.T @ axes, torch.eye(width, dtype=torch.float64))
        states = body(model).double()
        kept.append(float((states @ axes).norm() / states.norm()))
    assert kept[0] < kept[1] < kept[2] <= 1
    assert kept[2] > 0.99


@torch.no_grad()
def test_a_norm_is_fitted_channel_by_channel() -> None:
    model = teacher("bert")
    found = hidden_projection(model, text(), FEW)
    name = "encoder.layer.2.output.LayerNorm"
    seen: dict[str, Tensor] = {}
    norm = model.get_submodule(name)
    handle = norm.register_forward_hook(lambda _, args, out: seen.update(given=args[0], out=out))
    rows = torch.cat([batch["input_ids"] for batch in text()])
    model(input_ids=rows)
    handle.remove()
    given = torch.nn.functional.layer_norm(
        seen["given"].double().flatten(0, 1) @ found.axes, (FEW,), eps=norm.eps
    )
    asked = seen["out"].double().flatten(0, 1) @ found.axes
    for channel in (0, 7, 15):
        columns = torch.stack([given[:, channel], torch.ones(len(given), dtype=torch.float64)], 1)
        best = torch.linalg.lstsq(columns, asked[:, channel : channel + 1]).solution[:, 0]
        fitted = torch.stack([values[channel] for values in found.norms[name]])
        torch.testing.assert_close(fitted, best, rtol=1e-4, atol=1e-6)


RMS = [kind for kind, layout in LAYOUTS.items() if layout.root_mean_square]


@torch.no_grad()
@pytest.mark.parametrize("kind", RMS)
def test_a_teacher_that_lives_on_few_axes_is_followed(kind: str) -> None:
    model = teacher(kind, rms_norm_eps=1e-12, tie_word_embeddings=True)
    drawn = torch.randn(32, FEW, generator=torch.Generator().manual_seed(3))
    axes = torch.linalg.qr(drawn)[0]  # none of them is a channel, or a few
    for name, module in model.named_modules():
        of = LAYOUTS[kind].of(name)
        if isinstance(module, torch.nn.Embedding):
            module.weight.copy_(module.weight @ axes @ axes.T)
        elif of == ("hidden",):
            module.weight.fill_(1.5)  # the same for all: elementwise weights leave the axes
        elif of and of[0] == "hidden":
            module.weight.copy_(axes @ axes.T @ module.weight)
    by = {
        how: make(FromTeacher(hidden_size=FEW, narrow_by=how), model, text())
        for how in ("pca", "importance")
    }
    torch.testing.assert_close(says(by["pca"]), says(model), rtol=1e-3, atol=1e-4)
    assert (says(by["importance"]) - says(model)).abs().max() > 0.01


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_layout_can_be_projected_and_cut_in_depth_too(kind: str) -> None:
    model = teacher(kind)
    kv_heads = 1 if LAYOUTS[kind].free_heads else None
    student = FromTeacher(
        layers=2,
        hidden_size=FEW,
        intermediate_size=24,
        num_attention_heads=2,
        num_key_value_heads=kv_heads,
        narrow_by="pca",
    )
    made = make(student, model, text(1))
    assert (made.config.hidden_size, made.config.num_hidden_layers) == (FEW, 2)
    assert made.get_input_embeddings().weight.shape == (120, FEW)
    assert made(input_ids=tokens())[0].isfinite().all()


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_head_that_the_text_does_not_reach_is_projected_as_well(kind: str) -> None:
    model = encoder(kind, "AutoModelForMaskedLM", num_hidden_layers=2)
    widths = Widths(
        heads=torch.arange(2).expand(2, -1),
        kv_heads=torch.arange(2).expand(2, -1),
        projection=hidden_projection(model, text(1), FEW),
    )
    made = prune(model, widths=widths)
    assert made(input_ids=tokens()).logits.isfinite().all()
    assert made.get_output_embeddings().weight is made.get_input_embeddings().weight


def test_components_need_a_number_of_channels() -> None:
    with pytest.raises(ConfigError, match=r"^student\.narrow_by = pca: .*student\.hidden_size"):
        FromTeacher(intermediate_size=8, narrow_by="pca")
