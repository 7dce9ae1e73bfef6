"""A head that starts from a linear probe: the least penalised loss, in every kind of head."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification

from distillkit.artifacts.parts import NOWHERE, Parts
from distillkit.tasks import (
    Classification,
    MultiLabel,
    QuestionAnswering,
    Regression,
    SequenceTask,
    TokenClassification,
)
from distillkit.tasks.task import HeldOut
from distillkit.token_table import TokenTable
from distillkit.training import probe
from distillkit.training.hard_labels import weighted_per_example
from distillkit.types import KEY_BYTES, LabelSpace

NAMES = LabelSpace(("a", "b", "c"))
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
SHAPES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("bert", "roberta", "deberta-v2"), BERT),
    "electra": BERT | {"embedding_size": 8},
    "distilbert": {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
    "llama": BERT | {"num_key_value_heads": 2},
    "modernbert": BERT | dict.fromkeys((f"{n}_token_id" for n in ("cls", "sep", "bos", "eos")), 1),
}
RNG = np.random.default_rng(0)


class Pads:
    """All that a batch asks of a tokenizer."""

    pad_token_id = 0
    padding_side = "right"


def table(count: int, labels: np.ndarray, *, seed: int = 0) -> TokenTable:
    """Texts of three to nine words; a text of class i has many of the words that are i modulo 3."""
    rng = np.random.default_rng(seed)
    rows = []
    for label in np.asarray(labels).reshape(count, -1)[:, 0]:
        words = 4 + rng.integers(0, 10, rng.integers(3, 10)) * 3
        rows.append(
            (words + np.where(rng.random(len(words)) < 0.8, int(label), 1)).astype(np.int32)
        )
    keys = np.array([f"{seed}-{i}" for i in range(count)], f"S{KEY_BYTES}")
    found = TokenTable.of_rows(rows, keys, [np.atleast_1d(label) for label in labels])
    shaped = labels if labels.ndim > 1 else found.labels
    return TokenTable(
        **{name: getattr(found, name) for name in found.__slots__ if name != "labels"}
        | {"labels": shaped}
    )


def model_of(kind: str, outputs: int = 3, **options: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=40, pad_token_id=0, num_labels=outputs, **SHAPES[kind], **options
    )
    return AutoModelForSequenceClassification.from_config(config).eval()


def started(model: Any, task: SequenceTask, train: TokenTable, held_out: TokenTable) -> Any:
    return probe.start_head(
        model, Pads(), task, NAMES, train, held_out, seed=0, device=torch.device("cpu")
    )


def settings(task: SequenceTask, outputs: int) -> Any:
    return of_loss(task.per_example, outputs)


def of_loss(per_example: Any, outputs: int) -> Any:
    return probe._Settings(per_example, lambda _: 0.0, outputs, has_bias=True, dtype=torch.float32)


def score_of(model: Any, task: SequenceTask, held_out: TokenTable) -> float:
    collate = probe.collator(held_out, Pads(), torch.device("cpu"))
    with torch.no_grad():
        logits = task.forward_fn(Pads())(model, collate(np.arange(len(held_out)))).logits
    return task.headline_score(task.outcomes(logits.numpy(), HeldOut(held_out, NAMES)))


@pytest.fixture(params=["float32"])
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features in float32, also where the processor has bfloat16."""
    monkeypatch.setattr("distillkit.models.precision.has_bfloat16", lambda _: False)


@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize("kind", SHAPES)
def test_the_head_of_every_kind_has_the_score_that_is_said(kind: str) -> None:
    labels = RNG.integers(0, 3, 300)
    train, held_out = table(300, labels), table(90, np.arange(90) % 3, seed=1)
    model, task = model_of(kind), Classification()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = started(model, task, train, held_out)
    assert found["score"] == pytest.approx(score_of(model, task, held_out))
    assert found["score"] > 0.6  # chance: a third
    moved = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    layers = {name.rpartition(".")[0] for name in moved}
    assert len(layers) in (1, 2)  # the last layer, and a dense one before it
    assert not any("encoder" in name or "layers" in name for name in layers)


@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize("kind", ["roberta", "electra", "distilbert", "deberta-v2"])
def test_a_new_dense_layer_lets_through_what_the_body_has(kind: str) -> None:
    labels = RNG.integers(0, 3, 300)
    train, held_out = table(300, labels), table(90, np.arange(90) % 3, seed=1)
    model = model_of(kind)
    dense = next(
        m
        for n, m in model.named_modules()
        if n.endswith(("dense", "pre_classifier")) and "encoder" not in n and "embeddings" not in n
    )
    with torch.no_grad():
        dense.weight.mul_(0.0)  # a layer that nothing comes through
    found = started(model, Classification(), train, held_out)
    assert found["features"] == "the body's, through a near identity"
    assert found["score"] > 0.6  # chance: a third


def test_it_is_the_logistic_regression_of_scikit_learn() -> None:
    z = torch.from_numpy(RNG.normal(size=(200, 5))).float()
    labels = torch.from_numpy(RNG.integers(0, 3, 200))
    z[:, 0] += labels
    flat = probe._minimised(z, labels, np.zeros(18), 0.01, settings(Classification(), 3)).reshape(
        3, 6
    )
    theirs = LogisticRegression(C=1 / (0.01 * 200), tol=1e-8).fit(z.numpy(), labels.numpy())
    np.testing.assert_allclose(flat[:, :5], theirs.coef_, atol=2e-3)
    shifted = flat[:, 5] - flat[:, 5].mean()  # of a softmax only differences are determined
    np.testing.assert_allclose(shifted, theirs.intercept_ - theirs.intercept_.mean(), atol=2e-3)


def test_classes_are_weighed_as_scikit_learn_weighs_them() -> None:
    """The probe of a rare class is not the plain one."""
    z = torch.from_numpy(RNG.normal(size=(300, 4))).float()
    labels = torch.from_numpy((RNG.random(300) < 0.1).astype(np.int64))
    z[:, 0] += labels
    task = Classification(class_weights="balanced")
    keys = np.arange(300).astype(f"S{KEY_BYTES}")
    rows = [np.zeros(1, np.int32)] * 300
    examples = TokenTable.of_rows(rows, keys, [labels.numpy()])
    weighted = weighted_per_example(task, examples, 2, torch.device("cpu"))
    flat = probe._minimised(z, labels, np.zeros(10), 0.01, of_loss(weighted, 2)).reshape(2, 5)
    plain = probe._minimised(z, labels, np.zeros(10), 0.01, settings(task, 2)).reshape(2, 5)
    # a softmax of two is a logistic regression of the difference, at half the penalty
    theirs = LogisticRegression(C=2 / (0.01 * 300), tol=1e-8, class_weight="balanced")
    theirs.fit(z.numpy(), labels.numpy())
    np.testing.assert_allclose(flat[1] - flat[0], [*theirs.coef_[0], *theirs.intercept_], atol=5e-3)
    assert abs((plain[1] - plain[0])[4] - theirs.intercept_[0]) > 1


def test_it_is_the_ridge_regression_of_scikit_learn_whatever_the_scale() -> None:
    z = torch.from_numpy(RNG.normal(size=(200, 4))).float()
    for scale in (1.0, 1000.0):
        values = scale * (z[:, 0] - 2 * z[:, 1] + 5)
        flat = probe._minimised(z, values, np.zeros(5), 0.1, settings(Regression(), 1))
        theirs = Ridge(alpha=0.1 * 200 / 2).fit(z.numpy(), values.numpy())
        np.testing.assert_allclose(flat[:4], theirs.coef_, rtol=1e-2, atol=1e-2 * scale)
        np.testing.assert_allclose(flat[4], theirs.intercept_, rtol=1e-2)


def test_several_labels_are_logistic_regressions_of_their_own() -> None:
    z = torch.from_numpy(RNG.normal(size=(300, 3))).float()
    labels = torch.stack([(z[:, 0] > 0), (z[:, 1] > 1)], dim=1).long()
    flat = probe._minimised(z, labels, np.zeros(8), 0.02, settings(MultiLabel(), 2))
    for row, column in zip(flat.reshape(2, 4), labels.T, strict=True):
        # the mean over labels halves the loss of each
        theirs = LogisticRegression(C=1 / (0.02 * 300 * 2), tol=1e-8).fit(z.numpy(), column.numpy())
        np.testing.assert_allclose(row[:3], theirs.coef_[0], atol=5e-3)


@pytest.mark.usefixtures("_exact")
def test_a_regression_starts_at_the_scale_of_its_labels() -> None:
    labels = RNG.integers(0, 3, 300)
    train, held_out = table(300, labels), table(90, np.arange(90) % 3, seed=1)
    for it in (train, held_out):
        object.__setattr__(it, "labels", 1000.0 + 100.0 * it.labels)
    model = model_of("bert", outputs=1, problem_type="regression")
    found = started(model, Regression(), train, held_out)
    assert found["score"] > 0.4  # Pearson
    assert found["loss"] < np.var(held_out.labels)


@pytest.mark.usefixtures("_exact")
def test_a_class_that_no_text_has_is_not_predicted() -> None:
    labels = RNG.integers(0, 2, 200)
    train, held_out = table(200, labels), table(60, np.arange(60) % 2, seed=1)
    model = model_of("bert")
    assert started(model, Classification(), train, held_out)["score"] > 0.8


def test_the_score_is_that_of_the_model_in_the_precision_that_it_is_looked_at_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """States that hardly differ beside their mean: bfloat16 rounds away what tells them apart."""
    monkeypatch.setattr("distillkit.models.precision.has_bfloat16", lambda _: True)
    labels = RNG.integers(0, 3, 300)
    train, held_out = table(300, labels), table(90, np.arange(90) % 3, seed=1)
    model, task = model_of("bert"), Classification()
    with torch.no_grad():
        norm = model.bert.encoder.layer[-1].output.LayerNorm
        norm.weight.mul_(1e-3)
        norm.bias.fill_(1.0)
    found = started(model, task, train, held_out)
    collate = probe.collator(held_out, Pads(), torch.device("cpu"))
    buckets = [np.arange(90)]
    ((_, outputs),) = probe.predict(
        model, task.forward_fn(Pads()), buckets, collate, precision="auto"
    )
    score = task.headline_score(task.outcomes(outputs.logits.numpy(), HeldOut(held_out, NAMES)))
    assert found["score"] == pytest.approx(score, abs=0.03)


@pytest.mark.usefixtures("_exact")
def test_words_are_probed_one_by_one(tmp_path: Path) -> None:
    from transformers import AutoModelForTokenClassification

    rows = [RNG.integers(4, 40, RNG.integers(3, 10)).astype(np.int32) for _ in range(200)]
    counted = [np.arange(len(row)) % 2 == 0 for row in rows]
    labels = [row[c] % 3 for row, c in zip(rows, counted, strict=True)]
    keys = np.arange(200).astype(f"S{KEY_BYTES}")
    every = TokenTable.of_rows(rows, keys, [x.astype(np.int64) for x in labels], loss_mask=counted)
    config = AutoConfig.for_model("bert", vocab_size=40, num_labels=3, **BERT)
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_config(config).eval()
    task = TokenClassification(entities=False)
    found = started(model, task, every, every)
    assert found["score"] == pytest.approx(score_of(model, task, every))
    assert found["score"] > 0.7


def test_of_many_texts_as_many_are_read_as_the_classes_need() -> None:
    small = table(90, np.arange(90) % 3)
    assert probe._sample(small, 3, seed=0).tolist() == list(range(90))
    object.__setattr__(small, "offsets", np.arange(40_001))
    object.__setattr__(small, "labels", np.zeros(40_000, np.int64))
    assert len(probe._sample(small, 3, seed=0)) == probe.TEXTS
    assert len(probe._sample(small, 77, seed=0)) == 77 * probe.A_CLASS
    assert probe.share_read(small, 77) == 77 * probe.A_CLASS / 40_000
    assert np.array_equal(probe._sample(small, 77, seed=1), probe._sample(small, 77, seed=1))
    assert not np.array_equal(probe._sample(small, 77, seed=1), probe._sample(small, 77, seed=0))


def test_near_identities_keep_the_order_of_what_goes_in() -> None:
    states = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)) * 7 + 3
    for activation in probe.ACTIVATIONS:
        weight, bias = probe._near_identity(states, activation)
        through = activation(F.linear(states, weight, bias))
        for before, after in zip(states.T, through.T, strict=True):
            assert torch.corrcoef(torch.stack([before, after]))[0, 1] > 0.98


def test_only_what_a_linear_layer_says_of_labels_takes_a_probe() -> None:
    assert probe.takes_probe(Classification())
    assert not probe.takes_probe(QuestionAnswering())


@pytest.mark.parametrize("broken_off", [1, 3, 9])
def test_a_probe_goes_on_after_the_batches_that_were_read(
    broken_off: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit the same head, and no batch is read twice."""
    task, labels = Classification(max_length=16), np.arange(120) % 3
    train, held_out = table(120, labels), table(60, labels[:60], seed=1)
    monkeypatch.setattr(probe, "VALIDATION_TOKENS", 128)
    predict, read = probe.predict, 0

    def start(parts: Parts, breaks_off: int = 0) -> tuple[Any, Any]:
        def counted(*args: Any, **kwargs: Any) -> Iterator[Any]:
            nonlocal read
            for found in predict(*args, **kwargs):
                if read == breaks_off > 0:
                    raise KeyboardInterrupt
                read += 1
                yield found

        nonlocal read
        read = 0
        monkeypatch.setattr(probe, "predict", counted)
        model = model_of("roberta")
        device = torch.device("cpu")
        how: dict[str, Any] = {"seed": 0, "device": device, "parts": parts}
        return probe.start_head(model, Pads(), task, NAMES, train, held_out, **how), model

    expected, whole = start(NOWHERE)
    every = read
    with pytest.raises(KeyboardInterrupt):
        start(Parts(tmp_path), broken_off)
    found, model = start(Parts(tmp_path))
    assert read == every - broken_off
    assert found == expected
    torch.testing.assert_close(model.state_dict(), whole.state_dict(), rtol=0, atol=0)
