"""Words refilled by a masked language model: the likeliest in their place, and nothing else."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from distillkit.data import MaskAndRefill
from distillkit.errors import ModelError
from tests import tiny

TEXTS = ["the film is good , but slow", "A story", "3.5 !"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that was never trained, with a masked-LM head."""
    from transformers import BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("masked")
    tiny.write_tokenizer(folder)
    torch.manual_seed(0)
    words = len((folder / "vocab.txt").read_text().splitlines())
    shape = BertConfig(
        vocab_size=words,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertForMaskedLM(shape).save_pretrained(folder)
    return folder


def likeliest(folder: Path, text: str, word: str, count: int) -> set[str]:
    """The likeliest tokens in a word's place beside the text, as transformers has it."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    masked = tokenizer(text.replace(word, "[MASK]"), text, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForMaskedLM.from_pretrained(folder)(**masked).logits[0]
    place = int((masked["input_ids"][0] == tokenizer.mask_token_id).nonzero())
    ids = logits[place].topk(count).indices
    return set(tokenizer.convert_ids_to_tokens(ids))


def refilled(folder: Path, texts: list[str], times: int = 60, **settings: Any) -> list[set[str]]:
    """All that becomes of each text in so many copies."""
    how = MaskAndRefill(str(folder), **settings)
    rewrites = how.rewrites(texts, cache=Path())
    return [{rewrite(random.Random(i)) for i in range(times)} for rewrite in rewrites]


@pytest.mark.parametrize("batch_tokens", [8192, 40])
def test_a_word_becomes_one_of_the_likeliest_in_its_place(model: Path, batch_tokens: int) -> None:
    every, *_ = refilled(model, TEXTS, 400, p=1.0, candidates=8, batch_tokens=batch_tokens)
    places = [{text.split()[place] for text in every} for place in range(7)]
    for place, word in enumerate(TEXTS[0].split()):
        said = likeliest(model, TEXTS[0], word, 8)
        whole = {token for token in said if token.isalpha()}
        assert places[place] == ((whole or {word}) if word.isalpha() else {word})


def test_no_piece_of_a_word_is_put_in(model: Path) -> None:
    found = refilled(model, TEXTS, candidates=60, p=1.0)
    assert not any("##" in text or "[" in text for texts in found for text in texts)
    assert found[2] == {"3.5 !"}  # nothing in it is a word


def test_words_stay_as_often_as_asked_and_keep_their_capital(model: Path) -> None:
    assert refilled(model, TEXTS, p=0.0) == [{text} for text in TEXTS]
    firsts = {text.split()[0] for text in refilled(model, TEXTS, p=1.0, candidates=40)[1]}
    assert len(firsts) > 1
    assert all(word.istitle() for word in firsts)


def test_a_text_longer_than_the_model_reads_is_refilled_where_it_was_read(model: Path) -> None:
    long = " ".join(["film"] * 100)
    (every,) = refilled(model, [long], p=1.0, candidates=40)
    assert all(text.split()[-1] == "film" for text in every)
    assert {text.split()[0] for text in every} != {"film"}


def test_another_model_or_number_of_candidates_decides_other_copies(model: Path) -> None:
    usual = MaskAndRefill(str(model)).fingerprint_fields()
    assert MaskAndRefill(str(model), candidates=3).fingerprint_fields() != usual
    assert MaskAndRefill(str(model), batch_tokens=7).fingerprint_fields() == usual


@pytest.mark.parametrize("labels", [(), ("bad", "good")])
def test_a_model_without_such_a_head_is_refused(tmp_path: Path, labels: tuple[str, ...]) -> None:
    body = tiny.write_model(tmp_path / "body", labels=labels)
    with pytest.raises(ModelError, match=rf"augmentation\.model = {body}: has no masked-LM head"):
        refilled(body, TEXTS)


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="is no masked language model") as caught:
        refilled(tmp_path, TEXTS)
    assert "\n" not in str(caught.value)
