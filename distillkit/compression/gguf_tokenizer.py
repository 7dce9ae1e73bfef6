"""A tokenizer as a GGUF file holds it: byte-level pieces, merges, special tokens, chat template."""

import json
from typing import Any

from distillkit.errors import ModelError

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # kinds of tokens
_LETTERS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
_REST = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
SPLITS = {  # regular expression that cuts words -> llama.cpp's name of it
    f"{_LETTERS}\\p{{N}}{_REST}": "qwen2",
    f"{_LETTERS}\\p{{N}}{{1,3}}{_REST}": "llama-bpe",
}


def add_tokenizer(writer: Any, tokenizer: Any, *, rows: int, ends: list[int], at: str) -> None:
    """Write a tokenizer; raises `ModelError` for one that llama.cpp would read otherwise.

    `rows` are those of the model's embeddings: ids beyond the tokenizer's are named unused. `ends`
    are the tokens that end what the model writes.
    """
    written = json.loads(tokenizer.backend_tokenizer.to_str())
    writer.add_tokenizer_model("gpt2")  # byte-level pieces
    writer.add_tokenizer_pre(word_splitting(written, at=at))
    tokens, kinds = _tokens(written, rows)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    merges = written["model"]["merges"]
    writer.add_token_merges([it if isinstance(it, str) else " ".join(it) for it in merges])
    _add_special(writer, tokenizer, ends)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def word_splitting(tokenizer_json: dict[str, Any], *, at: str) -> str:
    """llama.cpp's name of how a tokenizer cuts words before it merges pieces."""
    model, normalizer = tokenizer_json["model"], tokenizer_json.get("normalizer")
    if model["type"] != "BPE" or not _reads_bytes(tokenizer_json.get("pre_tokenizer")):
        raise ModelError(
            f"{at}: its tokenizer is no byte-level BPE (as those of GPT-2, SmolLM and Qwen), which "
            "is what is written as GGUF"
        )
    match _steps(tokenizer_json["pre_tokenizer"]):
        case [{"type": "ByteLevel", "use_regex": True, "add_prefix_space": False}]:
            name = "gpt-2"
        case [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "use_regex": True, "add_prefix_space": False},
        ]:
            name = "smollm"
        case [
            {"type": "Split", "pattern": {"Regex": str(regex)}, "behavior": "Isolated"},
            {"type": "ByteLevel", "use_regex": False, "add_prefix_space": False},
        ]:
            name = SPLITS.get(regex, "")
        case _:
            name = ""
    composes = name == "qwen2" and normalizer == {"type": "NFC"}
    if not name or (normalizer and not composes):
        raise ModelError(f"{at}: how its tokenizer cuts words has no name in llama.cpp")
    return name


def _steps(step: dict[str, Any]) -> list[dict[str, Any]]:
    return list(step["pretokenizers"]) if step["type"] == "Sequence" else [step]


def _reads_bytes(step: dict[str, Any] | None) -> bool:
    return step is not None and any(it["type"] == "ByteLevel" for it in _steps(step))


def _tokens(tokenizer_json: dict[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """(the token of each id, its kind)."""
    tokens = [f"[PAD{i}]" for i in range(rows)]
    kinds = [UNUSED] * rows
    for token, i in tokenizer_json["model"]["vocab"].items():
        tokens[i], kinds[i] = token, NORMAL
    for token in tokenizer_json["added_tokens"]:
        tokens[token["id"]] = token["content"]
        kinds[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    return tokens, kinds


def _add_special(writer: Any, tokenizer: Any, ends: list[int]) -> None:
    """Write which tokens begin, end and pad a text, and which are added to each."""
    ids = {
        writer.add_bos_token_id: tokenizer.bos_token_id,
        writer.add_eos_token_id: tokenizer.eos_token_id,
        writer.add_unk_token_id: tokenizer.unk_token_id,
        writer.add_pad_token_id: tokenizer.pad_token_id,
        writer.add_eot_token_id: next((it for it in ends if it != tokenizer.eos_token_id), None),
    }
    for add, token in ids.items():
        if token is not None:
            add(int(token))
    whole = tokenizer("a")["input_ids"]
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    is_longer = len(whole) > len(bare)
    writer.add_add_bos_token(is_longer and whole[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(is_longer and whole[-1] == tokenizer.eos_token_id)
