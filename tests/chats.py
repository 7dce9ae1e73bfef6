"""Chat templates in the shape of well-known ones, and tokenizers of every kind for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "chat_templates"
# name of a template -> (tokens that it needs beside <s> and </s>, the token that ends a turn)
TEMPLATES: dict[str, tuple[Sequence[str], str]] = {
    "chatml": (["<|im_start|>", "<|im_end|>"], "<|im_end|>"),
    "llama2": ([], "</s>"),
    "llama3": (["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], "<|eot_id|>"),
    "mistral": ([], "</s>"),
    "mistral_v3": (["[INST]", "[/INST]"], "</s>"),
    "gemma": (["<start_of_turn>", "<end_of_turn>"], "<end_of_turn>"),
    "qwen3": (
        ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>"],
        "<|im_end|>",
    ),
    "deepseek_r1": (
        [
            "<\uff5cUser\uff5c>",
            "<\uff5cAssistant\uff5c>",
            "<\uff5cend▁of▁sentence\uff5c>",
            "<think>",
            "</think>",
        ],
        "<\uff5cend▁of▁sentence\uff5c>",
    ),
    "phi3": (["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"], "<|end|>"),
    "zephyr": ([], "</s>"),
    "cohere": (
        [
            "<|START_OF_TURN_TOKEN|>",
            "<|END_OF_TURN_TOKEN|>",
            "<|USER_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
            "<|SYSTEM_TOKEN|>",
        ],
        "<|END_OF_TURN_TOKEN|>",
    ),
    "marked": (["<|im_start|>", "<|im_end|>"], "<|im_end|>"),
    "vicuna": ([], "</s>"),
    "gpt_oss": (
        ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"],
        "<|return|>",
    ),
}
CORPUS = [
    "What is the capital of France? Paris is the capital of France.",
    "user assistant system tool developer model USER: ASSISTANT: Question: Answer: [INST] [/INST]",
    "The cat sat on the mat, and saw no dog. 12 + 30 = 42",
    "Be brief. Hello there! How are you?\n\nI am fine.\nThank you.",
    "<<SYS>> <</SYS>> Today Date: 01 Jan 2025 think therefore I am",
] * 4
KINDS = ("bytes", "bytes_trimmed", "unigram", "sentencepiece", "gemma", "word_piece")


def tokenizer(kind: str, template: str | None, extra: Sequence[str] = ()) -> Any:
    """A small tokenizer of a kind, trained on a few lines, with further special tokens."""
    from tokenizers import (
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>"]
    made: Any
    if kind.startswith("bytes"):
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        made.post_processor = processors.ByteLevel(trim_offsets=kind == "bytes_trimmed")
        trainer = trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    elif kind == "unigram":
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    elif kind == "sentencepiece":
        made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
        made.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        made.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    elif kind == "gemma":
        made = Tokenizer(models.BPE(unk_token="<unk>"))
        made.normalizer = normalizers.Replace(" ", "▁")
        made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        made.decoder = decoders.Replace("▁", " ")
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    else:
        made = Tokenizer(models.WordPiece(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(
            vocab_size=300, special_tokens=special, show_progress=False
        )
    made.train_from_iterator(CORPUS, trainer)
    whole = PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    whole.add_special_tokens({"extra_special_tokens": list(extra)})
    whole.chat_template = template
    return whole


def template(name: str) -> str:
    """The text of a template."""
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def for_template(name: str, kind: str = "bytes") -> Any:
    """A tokenizer of a kind with one of the templates and its tokens."""
    extra, _ = TEMPLATES[name]
    return tokenizer(kind, template(name), extra)


def with_front(tokenizer: Any) -> Any:
    """The tokenizer, made to put <s> in front of each text."""
    from tokenizers import processors

    front = [("<s>", tokenizer.bos_token_id)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=front
    )
    return tokenizer
