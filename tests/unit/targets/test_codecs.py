"""What holds for every codec, and how `dense` keeps all logits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.errors import TargetsError
from distillkit.targets import Codec, Dense, Draws, LastHidden, Sampled, SampledLogits, TopK, TopP
from distillkit.targets.codecs import logits, registry
from distillkit.targets.codecs.bit_packing import payload
from distillkit.targets.codecs.registry import CODECS, from_settings, record_of, register
from distillkit.types import Outputs, SoftTargets, SparseTargets
from tests.unit.targets.answers import keys, random_hidden, random_logits, there_and_back

EVERY: list[Codec] = [
    Dense("float32"),
    Dense("float16"),
    Dense("bfloat16"),
    LastHidden("bfloat16"),
    LastHidden("int8"),
    Sampled(draws=7),
    Sampled(draws=7, temperature=2.0, exponent=0.5),
    SampledLogits(k=6),
    TopK(k=4, bits=6),
    TopK(k=4, bits=16, temperatures=[2.0, 1.0, 0.5]),
    TopP(p=0.7, k=6),
]
LOGITS = random_logits(5, 3)


def same(one: Any, other: Any) -> None:
    """Two targets are the same, tensor by tensor, whatever the width of their padding."""
    assert type(one) is type(other)
    if isinstance(one, SoftTargets):
        assert torch.equal(one.logits, other.logits)
        return
    for name in ("hidden", "ids", "log_probs"):
        if hasattr(one, name):
            left, right = getattr(one, name), getattr(other, name)
            most = min(left.shape[1], right.shape[1])
            assert torch.equal(left[:, :most], right[:, :most])
    for temperature, log_z in getattr(one, "log_z", {}).items():
        torch.testing.assert_close(log_z, other.log_z[temperature], rtol=0, atol=1e-6)


# every codec


@pytest.mark.parametrize("codec", EVERY, ids=str)
def test_a_codec_is_made_again_from_its_settings(codec: Codec) -> None:
    again = from_settings(codec.settings())
    assert type(again) is type(codec)
    assert again.settings() == codec.settings()
    assert again.supported_temperatures == codec.supported_temperatures


def test_every_codec_is_looked_at_here() -> None:
    assert {type(codec) for codec in EVERY} == set(CODECS)


@pytest.mark.parametrize("settings", [{"name": "sparse", "k": 8}, {}])
def test_a_codec_of_a_newer_distillkit_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(TargetsError, match=rf"{settings.get('name')}: not known .* dense"):
        from_settings(settings)


def test_a_setting_of_a_newer_distillkit_is_refused() -> None:
    with pytest.raises(TargetsError, match=r"top_k: .* k, colour; use the distillkit that wrote"):
        from_settings({"name": "top_k", "k": 8, "colour": "red"})


@pytest.mark.parametrize("codec", EVERY, ids=str)
def test_a_trial_gives_what_is_decoded_or_all_is_kept(codec: Codec) -> None:
    targets = codec.trial()
    assert (targets is None) == codec.keeps_all == isinstance(codec, Dense | LastHidden)
    if targets is not None:
        assert isinstance(targets, SparseTargets)
        assert len(targets.ids) == 1
        assert float(targets.log_probs.exp().sum()) <= 1 + 1e-3


class Strange(Dense):
    """A codec from outside: its module is none of distillkit's."""

    name = "strange"


def test_a_codec_from_outside_is_read_where_the_config_names_it() -> None:
    settings = record_of(Strange("float16"))
    assert settings["class"] == f"{__name__}.Strange"
    assert len(settings["sources"]) == 1
    assert record_of(Dense()) == Dense().settings()
    with pytest.raises(TargetsError, match=r"strange: kept by .*Strange, a class from outside"):
        from_settings(settings)
    register(Strange)
    assert from_settings(settings) == Strange("float16")
    registry._trusted.clear()


def test_a_store_of_another_version_of_a_codec_from_outside_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    register(Strange)
    from_settings(record_of(Strange()) | {"sources": ["0" * 64]})
    assert "is not the one that wrote this store" in capsys.readouterr().err
    registry._trusted.clear()


@pytest.mark.parametrize("codec", EVERY, ids=str)
@pytest.mark.parametrize("positions", [[9], [4, 0, 5], [0, 0], [1] * 9, [0, 9, 0]])
def test_an_example_is_decoded_by_itself_as_among_others(
    codec: Codec, positions: list[int], tmp_path: Any
) -> None:
    said = random_hidden(sum(positions), 12)
    codec.save_shared(said, tmp_path)
    whole = there_and_back(codec, said, positions, folder=tmp_path)
    begins = np.cumsum([0, *positions])
    many = np.array(positions)
    picked = codec.select(said, Draws(0, keys(len(many)), many))
    decode = codec.decoder(tmp_path, 12, torch.device("cpu"))
    for i in range(len(many)):
        part = slice(int(begins[i]), int(begins[i + 1]))
        alone = codec.encode({k: v[part] for k, v in picked.items()}, many[i : i + 1])
        same(decode(payload(alone, many[i : i + 1])), whole.part(part))


@pytest.mark.parametrize("codec", EVERY, ids=str)
def test_chunks_leave_no_trace(
    codec: Codec, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    # of logits: a product of matrices is rounded otherwise when it has other rows beside it
    hidden = random_hidden(9, 12)
    said = hidden if isinstance(codec, LastHidden) else Outputs(random_logits(9, 12))
    codec.save_shared(hidden, tmp_path)
    whole = there_and_back(codec, said, [4, 5], folder=tmp_path)
    monkeypatch.setattr(logits, "CHUNK", 2 * 12)
    assert len(list(logits.chunks(said))) == 5
    same(there_and_back(codec, said, [4, 5], folder=tmp_path), whole)


OF_LOGITS = [codec for codec in EVERY if not isinstance(codec, LastHidden)]


@pytest.mark.parametrize("codec", [*OF_LOGITS, Dense("float32")], ids=str)
def test_what_is_kept_outlives_the_memory_that_logits_share(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = random_hidden(9, 12)
    # small whole numbers, so that a product is exact whatever rows are beside it
    head = replace(found.head, weight=found.head.weight.round())
    said = replace(found, hidden=found.hidden.round(), head=head)
    expected = said.hidden @ head.weight[:12].T
    assert len(expected.unique(dim=0)) == 9
    monkeypatch.setattr(logits, "CHUNK", 2 * 12)
    monkeypatch.setattr(logits, "PRODUCT", 2)
    same(there_and_back(codec, said, [4, 5]), there_and_back(codec, expected, [4, 5]))


def test_products_apart_as_a_gpu_makes_them_are_those_in_shared_memory() -> None:
    said = random_hidden(9, 12, bias=torch.linspace(-1, 1, 15), scale=0.5, softcap=3.0)
    with torch.inference_mode():  # as a teacher's answers are
        said = replace(said, hidden=said.hidden.clone())
    together = [(part, made.clone()) for part, made in logits._projected(said, 2)]
    apart = list(logits._projected_apart(said, 2))
    assert [part for part, _ in apart] == [part for part, _ in together]
    for (_, one), (_, other) in zip(apart, together, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("codec", OF_LOGITS, ids=str)
def test_hidden_states_are_kept_as_their_logits_are(codec: Codec) -> None:
    said = random_hidden(9, 12, bias=torch.linspace(-1, 1, 15), scale=0.5, softcap=3.0)
    raw = said.hidden @ said.head.weight[:12].T + torch.linspace(-1, 1, 15)[:12]
    spelt_out = 3.0 * torch.tanh(0.5 * raw / 3.0)
    for one, other in (
        (there_and_back(codec, said, [9]), there_and_back(codec, spelt_out, [9])),
        (there_and_back(codec, said, [9]), there_and_back(codec, spelt_out.double(), [9])),
    ):
        if isinstance(one, SoftTargets):
            torch.testing.assert_close(one.logits, other.logits, rtol=1e-2, atol=1e-2)
        else:
            assert torch.equal(one.ids, other.ids)
            torch.testing.assert_close(one.log_probs, other.log_probs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("codec", [c for c in EVERY if hasattr(c, "draws") or hasattr(c, "k")])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_what_is_no_distribution_is_refused(codec: Codec, wrong: float) -> None:
    said = random_logits(5, 12)
    said[3, 2] = wrong
    with pytest.raises(TargetsError, match=r"at 1 of 5 positions .* targets\.precision=float32"):
        there_and_back(codec, said)


def test_impossible_everywhere_is_no_distribution() -> None:
    said = torch.full((2, 12), -torch.inf)
    for codec in (Sampled(), TopK(k=3)):
        with pytest.raises(TargetsError, match="at 2 of 2 positions"):
            there_and_back(codec, said)


def test_inference_tensors_are_picked_outside_of_inference_mode() -> None:
    with torch.inference_mode():
        said = random_logits(5, 12)
    for codec in EVERY:
        if not isinstance(codec, LastHidden):
            same(there_and_back(codec, Outputs(said)), there_and_back(codec, Outputs(said.clone())))


# dense


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("said", [LOGITS, LOGITS[:, :1], LOGITS.flip(0), LOGITS[:1], LOGITS[:0]])
def test_logits_come_back_in_the_kept_precision(dtype: Any, said: torch.Tensor) -> None:
    back = there_and_back(Dense(dtype), said).logits
    assert back.dtype == torch.float32
    assert torch.equal(back, said.to(getattr(torch, dtype)).float())


@pytest.mark.parametrize(("dtype", "each"), [("float32", 4), ("float16", 2), ("bfloat16", 2)])
def test_logits_take_their_bytes_and_no_more(dtype: Any, each: int) -> None:
    codec, one = Dense(dtype), np.ones(5, np.int64)
    column = codec.encode(codec.select(Outputs(LOGITS), Draws(0, keys(5), one)), one)
    assert [len(value.as_py()) for value in column] == [3 * each] * 5


@pytest.mark.parametrize("sign", [1, -1])
def test_what_float16_cannot_hold_is_refused(sign: int) -> None:
    """A real-valued label may well lie beyond 65,504; kept as infinity it would spoil a student."""
    with pytest.raises(TargetsError, match=r"targets\.codec\.dtype=float32"):
        there_and_back(Dense("float16"), torch.tensor([[sign * 70_000.0]]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_other_dtypes_hold_it(dtype: Any) -> None:
    back = there_and_back(Dense(dtype), torch.tensor([[70_000.0]])).logits
    torch.testing.assert_close(back, torch.tensor([[70_000.0]]), rtol=2**-8, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_class_without_any_chance_stays_so(dtype: Any) -> None:
    said = torch.tensor([[0.5, -torch.inf]])
    assert torch.equal(there_and_back(Dense(dtype), said).logits, said)
