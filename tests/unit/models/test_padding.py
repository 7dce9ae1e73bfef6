"""What a classifier says of a text does not change with the texts beside it."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.errors import ModelError
from distillkit.models.inference import all_logits
from distillkit.models.padding import ensure_pad_token
from distillkit.models.saved import SavedModel
from distillkit.tasks import Classification, TokenClassification
from distillkit.training.batching import length_buckets
from distillkit.training.collation import collator
from distillkit.types import LabelSpace
from tests.unit.models.tiny_lms import SHAPES, byte_tokenizer

LABELS = LabelSpace(("bad", "good", "fair"))
TEXTS = ["the cat sat", "a dog", "the cat sat on a mat and saw no dog there at all", "mat and"]
DECODERS = (
    "bloom",
    "gemma",
    "gpt2",
    "gpt_neox",
    "llama",
    "mistral",
    "opt",
    "phi",
    "qwen2",
    "qwen3",
)
XLNET = {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48}
TASK = Classification(max_length=32)


def classifier(kind: str, tokenizer: Any, *, pad: int | None = None, **changes: Any) -> Any:
    """A tiny classifier with random weights that gives every token a say."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    shape = XLNET if kind == "xlnet" else SHAPES[kind]
    config = AutoConfig.for_model(
        kind,
        **{"vocab_size": len(tokenizer), **shape, "pad_token_id": pad, **changes},
        num_labels=3,
        id2label=dict(enumerate(LABELS.names)),
        label2id={name: i for i, name in enumerate(LABELS.names)},
    )
    return AutoModelForSequenceClassification.from_config(config).eval()


def alone(model: Any, tokenizer: Any) -> np.ndarray:
    """What transformers itself says of each text by itself, [texts, classes]."""
    with torch.no_grad():
        rows = [model(**taken(model, tokenizer(t, return_tensors="pt"))).logits for t in TEXTS]
    return torch.cat(rows).numpy()


def taken(model: Any, encoded: Any) -> dict[str, torch.Tensor]:
    """All that a tokenizer gives, of what a model takes."""
    takes = inspect.signature(model.forward).parameters
    return {name: it for name, it in encoded.items() if name in takes}


def together(task: Any, model: Any, tokenizer: Any, split: Any = None) -> np.ndarray:
    """What a stage hears of the texts in one batch."""
    table, _ = task.tokenise(split or Split(), tokenizer, label="texts", held_out=False)
    buckets = length_buckets(table.lengths, tokens=10_000)
    assert len(buckets) == 1
    collate = collator(table, tokenizer, torch.device("cpu"))
    return all_logits(
        model, task.forward_fn(tokenizer), buckets, collate, offsets=table.position_offsets
    )


class Split:
    """The texts as a split of a corpus."""

    texts, pairs, labels = TEXTS, None, None
    keys = np.array([text[:15].encode() for text in TEXTS], "S16")

    def __len__(self) -> int:
        return len(TEXTS)


def write(folder: Path, model: Any, tokenizer: Any) -> SavedModel:
    """Both in a folder, as a user has them."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return SavedModel(str(folder), "teacher.path")


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("pad", [None, "</s>", "<pad>"], ids=["none", "end", "own"])
def test_a_ready_decoder_says_of_texts_together_what_it_says_of_each(
    tmp_path: Path, kind: str, pad: str | None
) -> None:
    tokenizer = byte_tokenizer(pad=pad)
    model = classifier(kind, tokenizer, pad=tokenizer.pad_token_id)
    expected = alone(model, tokenizer)
    loaded = TASK.load(write(tmp_path, model, tokenizer), LABELS)
    found = together(TASK, loaded.model, loaded.tokenizer)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # and whoever loads what is saved has the same, on the tokenizer's own side
    TASK.save(loaded.model, loaded.tokenizer, tmp_path / "saved")
    np.testing.assert_allclose(deployed(tmp_path / "saved"), expected, rtol=1e-4, atol=1e-5)


def deployed(folder: Path) -> np.ndarray:
    """What a user's own code makes of a saved folder: one padded batch."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert model.config.pad_token_id == tokenizer.pad_token_id is not None
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits.numpy()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_decoder_whose_pads_differ_reads_the_last_word(
    tmp_path: Path, kind: str, side: str
) -> None:
    """The config says <unk>, the tokenizer </s>, as of many published folders."""
    tokenizer = byte_tokenizer(pad="</s>")
    tokenizer.padding_side = side
    model = classifier(kind, tokenizer, pad=tokenizer.unk_token_id)
    expected = alone(model, tokenizer)
    loaded = TASK.load(write(tmp_path, model, tokenizer), LABELS)
    found = together(TASK, loaded.model, loaded.tokenizer)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    TASK.save(loaded.model, loaded.tokenizer, tmp_path / "saved")
    np.testing.assert_allclose(deployed(tmp_path / "saved"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neo", "openai-gpt", "llama"])
def test_the_segments_of_a_tokenizer_are_read_as_its_readers_read_them(
    tmp_path: Path, kind: str
) -> None:
    """BERT's tokenizers give segments of 0, which is a word more to GPT-2's kind."""
    tokenizer = byte_tokenizer(pad="<pad>")
    model = classifier(kind, tokenizer, pad=tokenizer.pad_token_id)
    loaded = TASK.load(write(tmp_path, model, tokenizer), LABELS)
    for one in (tokenizer, loaded.tokenizer):
        one.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    expected = alone(model, tokenizer)
    found = together(TASK, loaded.model, loaded.tokenizer)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    TASK.save(loaded.model, loaded.tokenizer, tmp_path / "saved")
    np.testing.assert_allclose(deployed(tmp_path / "saved"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_a_new_or_fitted_decoder_has_the_tokenizers_pad(tmp_path: Path, kind: str) -> None:
    tokenizer = byte_tokenizer()
    write(tmp_path, classifier(kind, tokenizer), tokenizer)
    body = TASK.load_body(str(tmp_path), LABELS, key="teacher.body")
    new = TASK.new_model(
        {"model_type": kind, **SHAPES[kind]}, LABELS, tokenizer, key="student.config"
    )
    for model in (body, new):
        own = TASK.load_tokenizer(str(tmp_path), key="k")
        TASK.agree_on_padding(model, own, key="k")
        assert own.pad_token == "</s>"
        assert model.config.pad_token_id == own.pad_token_id
        np.testing.assert_allclose(
            together(TASK, model.eval(), own), alone(model, own), rtol=1e-4, atol=1e-5
        )


def test_xlnet_reads_its_texts_from_the_left(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(pad="<pad>")
    model = classifier("xlnet", tokenizer, pad=tokenizer.pad_token_id)
    expected = alone(model, tokenizer)
    loaded = TASK.load(write(tmp_path, model, tokenizer), LABELS)
    assert loaded.tokenizer.padding_side == "left"
    found = together(TASK, loaded.model, loaded.tokenizer)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    TASK.save(loaded.model, loaded.tokenizer, tmp_path / "saved")
    np.testing.assert_allclose(deployed(tmp_path / "saved"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_words_padded_on_either_side_stand_where_their_tags_do(side: str) -> None:
    """A model that reads from the left gives its tags in the places of the right."""
    from transformers import AutoConfig, AutoModelForTokenClassification

    tokenizer = byte_tokenizer(pad="<pad>")
    torch.manual_seed(0)
    config = AutoConfig.for_model("llama", vocab_size=len(tokenizer), **SHAPES["llama"])
    model = AutoModelForTokenClassification.from_config(config).eval()
    task = TokenClassification(max_length=32, entities=False)

    class Words:
        words = [text.split() for text in TEXTS]  # noqa: RUF012
        labels = np.zeros(sum(map(len, words)), np.int64)

    tokenizer.padding_side = side
    found = together(task, model, tokenizer, Words())
    one_by_one = []
    for text in TEXTS:
        encoded = tokenizer(" ".join(text.split()), return_tensors="pt")
        with torch.no_grad():
            one_by_one.append(model(input_ids=encoded["input_ids"]).logits[0])
    firsts = [i for i, token in enumerate(tokenizer.tokenize(TEXTS[0])) if token[0] == "Ġ"]
    np.testing.assert_allclose(found[1:3], one_by_one[0][firsts], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("fnet", {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}),
        ("funnel", {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 48, "block_sizes": [2, 2]}),
    ],
)
def test_a_model_that_hears_the_padding_is_refused(kind: str, shape: dict[str, Any]) -> None:
    tokenizer = byte_tokenizer(pad="<pad>")
    tokenizer.cls_token = tokenizer.bos_token
    torch.manual_seed(0)
    model = TASK.new_model({"model_type": kind, **shape}, LABELS, tokenizer, key="student.config")
    with pytest.raises(ModelError, match="changes with the padding beside it, by") as caught:
        TASK.agree_on_padding(model, tokenizer, key="student.config = it")
    assert "\n" not in str(caught.value)


def test_a_model_whose_weights_are_no_numbers_is_called_that() -> None:
    tokenizer = byte_tokenizer(pad="<pad>")
    model = classifier("llama", tokenizer)
    with torch.no_grad():
        model.score.weight[0, 0] = float("nan")
    with pytest.raises(
        ModelError, match=r"path = it: what LlamaFor\w+ says of a text is no number"
    ):
        TASK.agree_on_padding(model, tokenizer, key="teacher.path = it")


def test_the_token_that_ends_every_text_is_no_padding() -> None:
    """A model would read the token before it, and other texts' last one."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokenizer()
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    ensure_pad_token(tokenizer, key="k")
    assert tokenizer.pad_token == "<unk>"


def test_words_without_a_row_are_refused_and_an_added_pad_token_is_not() -> None:
    """Tokens were added to the tokenizer, and the model's embeddings left as they were."""
    tokenizer = byte_tokenizer()
    model = classifier("llama", tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    TASK.agree_on_padding(model, tokenizer, key="teacher.path = it")
    assert tokenizer.pad_token == "</s>"  # there is no row for [PAD]
    tokenizer.add_tokens(["cat-like"])
    with pytest.raises(ModelError, match=r"1 tokens that the model has no row for \(as 'cat-like'"):
        TASK.agree_on_padding(model, tokenizer, key="teacher.path = it")


def test_a_tokenizer_without_special_tokens_is_refused() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = tokenizer.bos_token = tokenizer.unk_token = None
    with pytest.raises(ModelError, match=r"no pad token.*add_special_tokens"):
        ensure_pad_token(tokenizer, key="teacher.path = it")
