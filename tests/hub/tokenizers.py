"""Tokenizers of the kinds that the hub's models have, trained on the stand-in's own text."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from tests import tiny, tiny_language

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZE = 420  # tokens, more or less
CHINESE = "这部电影很好看不坏演员故事真的无聊喜欢讨厌我们觉得非常一个衣服质量差满意"


@cache
def _text() -> tuple[str, ...]:
    return tuple(text for text, _ in tiny.labelled(200)) + tuple(tiny_language.documents(60))


@cache
def wordpiece(cased: bool, chinese: bool = False) -> dict[str, bytes]:
    """BERT's: vocab.txt and, as google-bert/* have them, tokenizer.json and its settings.

    The words come by their frequency: the library's own trainer takes them in another order each
    time.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    count = Counter(word for text in _text() for word in re.findall(r"\w+|[^\w\s]", text))
    words = [word for word, _ in sorted(count.items(), key=lambda pair: (-pair[1], pair[0]))]
    pieces = [*tiny.ALPHABET, *(f"##{letter}" for letter in tiny.ALPHABET)]
    vocabulary = [*dict.fromkeys([*BERT, *pieces, *(CHINESE if chinese else ""), *words])]
    made = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    made.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return {
        "vocab.txt": ("\n".join(vocabulary) + "\n").encode(),
        "tokenizer.json": made.to_str().encode(),
        "tokenizer_config.json": _json({"do_lower_case": not cased, "model_max_length": 512}),
    }


def _byte_level(special: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[*special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_text(), trainer)
    return made


def _slow_files(made: Any) -> dict[str, bytes]:
    """vocab.json and merges.txt, as GPT-2's and RoBERTa's folders have them."""
    inner = json.loads(made.to_str())["model"]
    merges = "\n".join(" ".join(pair) for pair in inner["merges"])
    return {
        "vocab.json": _json(inner["vocab"]),
        "merges.txt": f"#version: 0.2\n{merges}\n".encode(),
        "tokenizer.json": made.to_str().encode(),
    }


@cache
def gpt2() -> dict[str, bytes]:
    """GPT-2's: bytes, one special token, and nothing before or after a text."""
    from tokenizers import processors

    made = _byte_level(["<|endoftext|>"])
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return _slow_files(made) | {"tokenizer_config.json": _json({"model_max_length": 1024})}


@cache
def roberta() -> dict[str, bytes]:
    """RoBERTa's: GPT-2's bytes, between <s> and </s>."""
    from tokenizers import AddedToken, processors

    made = _byte_level(["<s>", "<pad>", "</s>", "<unk>"])
    made.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    files = _slow_files(made)
    vocabulary = json.loads(files["vocab.json"]) | {"<mask>": made.token_to_id("<mask>")}
    files["vocab.json"] = _json(vocabulary)
    return files | {"tokenizer_config.json": _json({"model_max_length": 512})}


@cache
def llama3() -> dict[str, bytes]:
    """Llama 3's: bytes, and <|begin_of_text|> before each text; no token to pad with."""
    from tokenizers import AddedToken, processors

    made = _byte_level([])
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    made.add_special_tokens([AddedToken(token, special=True) for token in special])
    begin = ("<|begin_of_text|>", made.token_to_id("<|begin_of_text|>"))
    made.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single=f"{begin[0]} $A",
                pair=f"{begin[0]} $A {begin[0]}:1 $B:1",
                special_tokens=[begin],
            ),
        ]
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": special[0],
        "eos_token": special[1],
        "clean_up_tokenization_spaces": True,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131072,
    }
    return {"tokenizer.json": made.to_str().encode(), "tokenizer_config.json": _json(settings)}


@cache
def gemma() -> dict[str, bytes]:
    """Gemma's: pieces that fall back to bytes, ▁ for a blank, <bos> before each text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers import processors as after

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    made = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE + 256, special_tokens=[*special, *fallback], show_progress=False
    )
    made.train_from_iterator([text.replace(" ", "▁") for text in _text()], trainer)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    made.post_processor = after.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    written = json.loads(made.to_str())
    written["added_tokens"] = [t for t in written["added_tokens"] if t["id"] < len(special)]
    settings = {
        "tokenizer_class": "GemmaTokenizer",
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "model_max_length": int(1e30),
    }
    return {"tokenizer.json": _json(written), "tokenizer_config.json": _json(settings)}


@cache
def glm() -> dict[str, bytes]:
    """GLM-4's: bytes, and [gMASK]<sop> before each text."""
    from tokenizers import AddedToken, processors

    made = _byte_level([])
    special = ["<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|user|>"]
    made.add_special_tokens([AddedToken(token, special=True) for token in special])
    first = [(token, made.token_to_id(token)) for token in ("[gMASK]", "<sop>")]
    made.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="[gMASK] <sop> $A",
                pair="[gMASK] <sop> $A $B:1",
                special_tokens=first,
            ),
        ]
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "padding_side": "left",
        "model_max_length": 8192,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    return {"tokenizer.json": made.to_str().encode(), "tokenizer_config.json": _json(settings)}


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
