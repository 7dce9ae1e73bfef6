"""What a tokenizer cannot read is counted, among the tokens that stand for text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.models.classifiers import load_tokenizer
from distillkit.tasks.unknown_tokens import unknown_share


def test_the_share_is_of_the_tokens_of_text(body: Path) -> None:
    tokenizer = load_tokenizer(str(body), key="k")
    ids = np.concatenate(tokenizer(["a good film 世界", "北京 good"])["input_ids"])
    assert unknown_share(ids, tokenizer) == pytest.approx(4 / 8)  # [CLS] and [SEP] are no text
    assert unknown_share(ids[:3], tokenizer) == 0
    assert unknown_share(ids[:0], tokenizer) == 0


class GPT2:
    """As a byte-level tokenizer tells of its special tokens."""

    def __init__(self, **special: str) -> None:
        self.special_tokens_map = special
        self.unk_token_id = 7 if "unk_token" in special else None

    def convert_tokens_to_ids(self, text: str) -> int:
        return {"<|endoftext|>": 7, "<s>": 1}[text]


@pytest.mark.parametrize(
    "special",
    [
        {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
        {"eos_token": "<|endoftext|>", "bos_token": "<s>"},
    ],
)
def test_a_byte_level_tokenizer_knows_everything(special: dict[str, Any]) -> None:
    assert unknown_share(np.array([7, 7, 3]), GPT2(**special)) is None


def test_a_tokenizer_that_pads_with_its_unknown_token_is_measured() -> None:
    tokenizer = GPT2(eos_token="<s>", unk_token="<|endoftext|>", pad_token="<|endoftext|>")
    assert unknown_share(np.array([7, 3, 1]), tokenizer) == pytest.approx(1 / 2)
