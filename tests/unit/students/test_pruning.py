"""Cut models: what is left says what the whole one says without the rest."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from distillkit.errors import ModelError
from distillkit.models.layouts import LAYOUTS, layer_stack, skipped
from distillkit.students.from_teacher import FromTeacher
from distillkit.students.pruning.cut import prune
from distillkit.students.pruning.importance import WidthScores, width_scores
from distillkit.students.pruning.widths import Widths, head_width, kept_widths
from tests.unit.models.tiny_lms import WIDE, language_model, tokens

TYPES = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
FOUR: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 4},
    "gpt2": {"n_layer": 4},
    "qwen3": {
        "num_hidden_layers": 4,
        "layer_types": TYPES,
        "use_sliding_window": True,
        "sliding_window": 3,
    },
    "gemma2": {"num_hidden_layers": 4, "sliding_window": 3},
    "opt": {"num_hidden_layers": 4},
    "bloom": {"n_layer": 4},
    "falcon": {"num_hidden_layers": 4},
    "gpt_neox": {"num_hidden_layers": 4},
    "mixtral": {"num_hidden_layers": 4},
}
ENCODERS = ["bert", "camembert", "distilbert", "roberta", "xlm-roberta"]
each_kind = pytest.mark.parametrize("kind", [*FOUR, *ENCODERS, "electra"])
each_encoder = pytest.mark.parametrize("kind", ENCODERS)
each_layout = pytest.mark.parametrize("kind", LAYOUTS)


def encoder(kind: str, auto: str = "AutoModel", **changes: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    shape = WIDE | changes
    if kind == "distilbert":
        shape["hidden_dim"] = shape.pop("intermediate_size")
    config = transformers.AutoConfig.for_model(kind, vocab_size=120, pad_token_id=0, **shape)
    return getattr(transformers, auto).from_config(config).eval()


@torch.no_grad()
def teacher(kind: str, **changes: Any) -> Any:
    """A model of four layers whose biases and norms are not the zeros and ones they start as."""
    if kind in (*ENCODERS, "electra"):
        model = encoder(kind, **{"num_hidden_layers": 4, **changes})
    else:
        shape = FOUR.get(kind, {"num_hidden_layers": 4})
        model = language_model(kind, **{**shape, **changes})
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def says(model: Any) -> Tensor:
    with torch.no_grad():
        said: Tensor = model(input_ids=tokens())[0]
    return said


# layers


@each_kind
def test_it_says_what_the_teacher_says_without_those_layers(kind: str) -> None:
    model = teacher(kind)
    student = prune(model, layers=[0, 2])
    with skipped(layer_stack(model)[1], {1, 3}):
        expected = says(model)
    torch.testing.assert_close(says(student), expected, rtol=1e-5, atol=1e-6)
    assert (says(student) - says(model)).abs().max() > 1e-4
    assert len(layer_stack(student)[1]) == 2


@each_kind
def test_all_layers_are_the_teacher(kind: str) -> None:
    model = teacher(kind)
    copy = prune(model)
    torch.testing.assert_close(says(copy), says(model), rtol=0, atol=0)
    assert not {p.data_ptr() for p in copy.parameters()} & {
        p.data_ptr() for p in model.parameters()
    }


@pytest.mark.parametrize("kind", FOUR)
def test_it_is_saved_and_loads_with_transformers(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    student = prune(teacher(kind), layers=[0, 1, 3])
    student.save_pretrained(tmp_path)
    again, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    torch.testing.assert_close(says(again), says(student), rtol=0, atol=0)
    assert type(again) is type(student)


def test_lists_with_an_entry_a_layer_lose_the_same_layers() -> None:
    student = prune(teacher("qwen3"), layers=[0, 2, 3])
    assert student.config.layer_types == [TYPES[0], TYPES[2], TYPES[3]]
    places = [layer.self_attn.layer_idx for layer in layer_stack(student)[1]]
    assert places == [0, 1, 2]


def test_a_list_of_token_ids_is_no_list_of_layers() -> None:
    model = teacher("llama")
    model.config.eos_token_id = [2, 5, 6, 7]
    assert prune(model, layers=[0]).config.eos_token_id == [2, 5, 6, 7]


def test_a_list_of_kinds_of_attention_is_no_list_of_layers() -> None:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    kinds = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 4}
    config = AutoConfig.for_model(
        "deberta-v2", vocab_size=50, num_hidden_layers=2, **sizes, **kinds
    )
    student = prune(AutoModelForSequenceClassification.from_config(config).eval(), layers=[1])
    assert student.config.pos_att_type == ["p2c", "c2p"]


@pytest.mark.parametrize("tied", [True, False])
def test_ties_are_kept(tied: bool) -> None:
    student = prune(teacher("llama", tie_word_embeddings=tied), layers=[0])
    shared = student.get_output_embeddings().weight is student.get_input_embeddings().weight
    assert shared == tied
    assert student.config.tie_word_embeddings == tied


def test_it_generates_with_a_cache_of_its_own() -> None:
    student = prune(teacher("qwen3"), layers=[1, 3])
    ids = tokens(batch=1)
    whole = student.generate(ids, max_new_tokens=5, do_sample=False, use_cache=False)
    cached = student.generate(ids, max_new_tokens=5, do_sample=False, use_cache=True)
    assert torch.equal(whole, cached)


def test_a_quantizers_traces_and_half_precision_are_left_behind(tmp_path: Path) -> None:
    model = teacher("llama").to(torch.bfloat16)
    model.config.quantization_config = {"quant_method": "gguf"}
    student = prune(model, layers=[0, 1])
    assert student.dtype == torch.float32
    student.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert "quantization_config" not in written
    assert written["dtype"] == "float32"


def test_weights_that_are_no_numbers_cannot_be_cut() -> None:
    model = teacher("llama")
    layer = model.model.layers[0].mlp.up_proj
    layer.weight = torch.nn.Parameter(torch.zeros(48, 32, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match="quantized or offloaded"):
        prune(model, layers=[0])


def test_layers_that_depend_on_their_place_are_refused() -> None:
    model = teacher("gpt2", scale_attn_by_inverse_layer_idx=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "c_attn.weight" in name:
                parameter.mul_(20)
    prune(model, layers=[0, 1])
    with pytest.raises(ModelError, match=r"without its layers \[0, 2\].*depend on their place"):
        prune(model, layers=[1, 3])


def test_layers_that_are_not_one_stack_are_refused() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    shape = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_heads": 2, "num_layers": 2}
    model = T5ForConditionalGeneration(T5Config(vocab_size=20, **shape))
    with pytest.raises(ModelError, match=r"no one stack of layers .*\(2 found\)"):
        prune(model, layers=[0])


def test_layers_that_are_counted_by_blocks_are_refused() -> None:
    from transformers import FunnelConfig, FunnelForSequenceClassification

    shape = {"d_model": 8, "d_head": 4, "d_inner": 8, "n_head": 2, "num_decoder_layers": 1}
    config = FunnelConfig(vocab_size=20, block_sizes=[1, 1], **shape)
    with pytest.raises(ModelError, match=r"FunnelConfig takes no number of layers .*pretrained"):
        prune(FunnelForSequenceClassification(config), layers=[0])


def test_parameters_are_those_of_the_layers_that_are_left() -> None:
    model = teacher("llama")
    one = sum(p.numel() for p in model.model.layers[0].parameters())
    left = sum(p.numel() for p in prune(model, layers=[1]).parameters())
    assert left == sum(p.numel() for p in model.parameters()) - 3 * one


def test_random_numbers_and_the_teacher_are_left_alone() -> None:
    model = teacher("gpt2").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    prune(model, layers=[0])
    assert torch.equal(torch.rand(1), expected)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


# widths


def measured(model: Any) -> WidthScores:
    return width_scores(model, [{"input_ids": tokens()}])


def masked(model: Any, widths: Widths) -> Tensor:
    """What the whole model says with neurons and heads silenced at the matrix that reads them."""
    layout, (name, layers) = LAYOUTS[model.config.model_type], layer_stack(model)
    handles = []
    for i in range(len(layers)):
        for end, kept, width in (
            (layout.neurons, widths.neurons, 1),
            (layout.heads, widths.heads, head_width(model)),
        ):
            if kept is None:
                continue
            module = model.get_submodule(f"{name}.{i}.{end}")

            def hook(
                _: Any, args: tuple[Tensor, ...], kept: Tensor = kept[i], width: int = width
            ) -> tuple[Tensor, ...]:
                parts = args[0].unflatten(-1, (-1, width))
                mask = torch.zeros(parts.shape[-2], 1).index_fill(0, kept, 1.0)
                return ((parts * mask).flatten(-2), *args[1:])

            handles.append(module.register_forward_pre_hook(hook))
    said = says(model)
    for handle in handles:
        handle.remove()
    return said


@each_layout
def test_fewer_neurons_are_the_whole_model_with_the_others_silenced(kind: str) -> None:
    model = teacher(kind)
    widths = kept_widths(FromTeacher(intermediate_size=20), model, measured(model))
    student = prune(model, widths=widths)
    torch.testing.assert_close(says(student), masked(model, widths), rtol=1e-4, atol=1e-5)
    assert (says(student) - says(model)).abs().max() > 1e-4


@pytest.mark.parametrize("kind", [kind for kind, layout in LAYOUTS.items() if layout.free_heads])
@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (2, 1), (1, 1)])
def test_fewer_heads_are_the_whole_model_with_the_others_silenced(
    kind: str, heads: int, kv_heads: int
) -> None:
    model = teacher(kind)
    asked = FromTeacher(num_attention_heads=heads, num_key_value_heads=kv_heads)
    widths = kept_widths(asked, model, measured(model))
    student = prune(model, widths=widths)
    torch.testing.assert_close(says(student), masked(model, widths), rtol=1e-4, atol=1e-5)
    assert student.config.head_dim == head_width(model)


GQA = [kind for kind, layout in LAYOUTS.items() if layout.free_heads]
HALF = torch.arange(0, 32, 2)  # the hidden channels that stay in the tests below


def cut(layers: int, *, heads: list[int], kv_heads: list[int]) -> Widths:
    return Widths(
        hidden=HALF,
        neurons=torch.arange(0, 48, 2).expand(layers, -1),
        heads=torch.tensor(heads).expand(layers, -1),
        kv_heads=torch.tensor(kv_heads).expand(layers, -1),
    )


def weights(model: Any) -> Any:
    """(what its dimensions run over, weight) of each matrix and vector, outputs before inputs."""
    from transformers.pytorch_utils import Conv1D

    layout = LAYOUTS[model.config.model_type]
    for name, module in model.named_modules():
        for kind, weight in module.named_parameters(recurse=False):
            axes = layout.of(name)
            assert axes is not None
            turned = isinstance(module, Conv1D) and kind == "weight"
            is_table = isinstance(module, torch.nn.Embedding)
            yield axes, is_table, weight.data.T if turned else weight.data


@torch.no_grad()
def silence(model: Any, widths: Widths) -> None:
    """Make the neurons and heads that go add nothing."""
    assert widths.neurons is not None
    assert widths.heads is not None
    channels = (widths.heads[0][:, None] * 8 + torch.arange(8)).flatten()
    for axes, _, weight in weights(model):
        for axis, kept in (("neurons", widths.neurons[0]), ("heads", channels)):
            if axes[1:] == (axis,) and weight.dim() == 2:
                gone = torch.ones(weight.shape[1], dtype=torch.bool).index_fill(0, kept, False)
                weight[:, gone] = 0


@pytest.mark.parametrize("kind", ["gpt2", *ENCODERS])
def test_hidden_channels_that_only_repeat_others_are_not_missed(kind: str) -> None:
    model = teacher(kind, **({"tie_word_embeddings": False} if kind == "gpt2" else {}))
    widths = cut(4, heads=[1, 2], kv_heads=[1, 2])
    silence(model, widths)
    with torch.no_grad():
        for axes, is_table, weight in weights(model):
            if axes[0] == "hidden":
                weight[HALF + 1] = weight[HALF]
            if axes[1:] == ("hidden",) and weight.dim() == 2:
                weight[:, HALF + 1] = weight[:, HALF] if is_table else 0
    student = prune(model, widths=widths)
    expected = says(model)
    expected = expected if kind == "gpt2" else expected[..., HALF]
    torch.testing.assert_close(says(student), expected, rtol=1e-4, atol=1e-5)
    assert (student.config.hidden_size, student.config.num_attention_heads) == (16, 2)


@pytest.mark.parametrize(
    "kind", [kind for kind, layout in LAYOUTS.items() if layout.root_mean_square]
)
def test_hidden_channels_that_are_always_zero_are_not_missed(kind: str) -> None:
    model = teacher(kind, rms_norm_eps=1e-12, tie_word_embeddings=True)
    widths = cut(len(layer_stack(model)[1]), heads=[2, 3], kv_heads=[1])
    silence(model, widths)
    with torch.no_grad():
        for axes, is_table, weight in weights(model):
            if axes == ("hidden", axes[-1]):
                weight[HALF + 1] = 0
            elif is_table:
                weight[:, HALF + 1] = 0
    student = prune(model, widths=widths)
    torch.testing.assert_close(says(student), says(model), rtol=1e-4, atol=1e-5)
    assert student.get_output_embeddings().weight is student.get_input_embeddings().weight


@each_layout
def test_a_narrower_model_is_saved_and_loads_with_transformers(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModel

    student = prune(
        teacher(kind), widths=cut(4, heads=[0, 1], kv_heads=[0] if kind in GQA else [0, 1])
    )
    student.save_pretrained(tmp_path)
    again, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    body = student.base_model(input_ids=tokens())[0]
    torch.testing.assert_close(again(input_ids=tokens())[0], body, rtol=0, atol=0)
    written = json.loads((tmp_path / "config.json").read_text())
    assert 24 in written.values()  # neurons
    assert sum(p.numel() for p in again.parameters()) == sum(
        p.numel() for p in student.base_model.parameters()
    )


@each_encoder
@pytest.mark.parametrize(
    "auto",
    [
        "AutoModelForMaskedLM",
        "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
        "AutoModelForQuestionAnswering",
    ],
)
def test_the_heads_of_an_encoder_are_cut_with_it(kind: str, auto: str, tmp_path: Path) -> None:
    import transformers

    model = teacher(kind, auto=auto)
    student = prune(model, layers=[0, 2], widths=cut(4, heads=[0, 1], kv_heads=[0, 1]))
    said = student(input_ids=tokens())
    assert said[0].isfinite().all()
    assert said[0].shape == model(input_ids=tokens())[0].shape
    student.save_pretrained(tmp_path)
    again = getattr(transformers, auto).from_pretrained(tmp_path)
    torch.testing.assert_close(again(input_ids=tokens())[0], said[0], rtol=1e-6, atol=1e-7)


@each_encoder
def test_a_classifiers_pooler_and_head_are_copied(kind: str) -> None:
    model = teacher(kind, auto="AutoModelForSequenceClassification", num_labels=3)
    student = prune(model, layers=[0, 3])
    with skipped(layer_stack(model)[1], {1, 2}):
        expected = says(model)
    torch.testing.assert_close(says(student), expected, rtol=1e-5, atol=1e-6)


def test_the_best_key_value_heads_are_those_of_the_query_heads_that_stay() -> None:
    model = teacher(
        "llama", num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=2, head_dim=4
    )
    heads = torch.tensor([[5.0, 0, 0, 0, 2, 2, 2, 0], [0, 0, 0, 1, 1, 0, 0, 4]])
    scores = WidthScores(torch.zeros(32), torch.zeros(2, 48), heads)

    def kept(heads: int, kv_heads: int) -> tuple[list[list[int]], list[list[int]]]:
        asked = FromTeacher(num_attention_heads=heads, num_key_value_heads=kv_heads)
        widths = kept_widths(asked, model, scores)
        assert widths.heads is not None
        assert widths.kv_heads is not None
        return widths.kv_heads.tolist(), widths.heads.tolist()

    assert kept(1, 1) == ([[0], [1]], [[0], [7]])
    assert kept(3, 1) == ([[1], [1]], [[4, 5, 6], [4, 5, 7]])
    assert kept(4, 2) == ([[0, 1], [0, 1]], [[0, 1, 4, 5], [0, 3, 4, 7]])


def test_an_architecture_whose_widths_are_not_known_is_refused() -> None:
    with pytest.raises(ModelError, match=r"the widths of gemma2 cannot be cut, those of bert, "):
        measured(teacher("gemma2"))


def test_a_weight_that_is_not_known_is_refused() -> None:
    model = teacher("llama")
    model.model.layers[0].extra = torch.nn.Linear(2, 2)
    with pytest.raises(ModelError, match=r"not known \(model\.layers\.0\.extra\.weight\)"):
        prune(model, widths=Widths(neurons=torch.arange(8).expand(4, -1)))
