"""A tokenizer without the tokens that no text of the data has; what remains reads as before.

Both are the content of a tokenizer.json. A word's tokens are the same before and after where all
that its splitting looked at is there: the longest piece (WordPiece), the likeliest ones (Unigram),
or every merge on the way to a token (BPE). Other words are spelt in smaller pieces: the single
characters of the data's tokens remain, and of a byte-level vocabulary every byte.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from distillkit.errors import ModelError

MODELS = ("WordPiece", "WordLevel", "BPE", "Unigram")
_BYTES = {f"<0x{byte:02X}>" for byte in range(256)}


def content_of(tokenizer: Any, *, at: str) -> dict[str, Any]:
    """The tokenizer.json of a tokenizer; raises `ModelError` for one that cannot be pruned."""
    kind = type(tokenizer).__name__
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{at}: its tokenizer ({kind}) has no tokenizer.json, and its vocabulary cannot be "
            "pruned; save it as a fast one, or leave this format out"
        )
    content: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    model = content["model"]["type"]
    if model not in MODELS:
        raise ModelError(
            f"{at}: its tokenizer ({kind}) splits words by {model}, and what is pruned is one of "
            f"{', '.join(MODELS)}; leave this format out"
        )
    return content


def spells_everything(content: Mapping[str, Any]) -> bool:
    """Whether no text is unknown to a tokenizer, however few tokens it has: it has all bytes."""
    model = content["model"]
    has_bytes = _reads_bytes(content) or bool(model.get("byte_fallback"))
    return has_bytes and model["type"] == "BPE"


def tokens_of(content: Mapping[str, Any]) -> dict[int, str]:
    """Token by id, added tokens included."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):
        tokens = {i: piece for i, (piece, _) in enumerate(vocabulary)}
    else:
        tokens = {i: token for token, i in vocabulary.items()}
    return tokens | {token["id"]: token["content"] for token in content["added_tokens"]}


def closure(content: Mapping[str, Any], text_ids: Iterable[int]) -> set[int]:
    """The ids that a vocabulary must have for the texts that have the tokens `text_ids`."""
    tokens = tokens_of(content)
    ids = {token: i for i, token in tokens.items()}
    special = _special(content, ids)
    selection = special | {i for i in text_ids if i in tokens}
    pieces = _spelling(content, tokens.values(), (tokens[i] for i in selection - special))
    selection |= {ids[piece] for piece in pieces if piece in ids}
    model = content["model"]
    if model["type"] == "Unigram":  # an unknown character costs 10 more than the least likely piece
        selection.add(min(range(len(model["vocab"])), key=lambda i: model["vocab"][i][1]))
    if model["type"] == "BPE":
        selection |= _parts(model, ids, selection)
    return selection


def prune(content: Mapping[str, Any], selection: Iterable[int]) -> dict[str, Any]:
    """The content with these ids alone, which become 0, 1, … in their order."""
    new_ids = {old: new for new, old in enumerate(sorted(selection))}
    tokens = tokens_of(content)
    model = dict(content["model"])
    if isinstance(model["vocab"], list):
        model["vocab"] = [entry for i, entry in enumerate(model["vocab"]) if i in new_ids]
        if model.get("unk_id") is not None:
            model["unk_id"] = new_ids[model["unk_id"]]
    else:
        model["vocab"] = {t: new_ids[i] for t, i in model["vocab"].items() if i in new_ids}
    if model["type"] == "BPE":
        names = {tokens[i] for i in new_ids}
        model["merges"] = [
            [first, second]
            for first, second in map(_pair, model["merges"])
            if {first, second, _merged(model, first, second)} <= names
        ]
    added = [token | {"id": new_ids[token["id"]]} for token in content["added_tokens"]]
    processor = _renumbered(content.get("post_processor"), new_ids)
    changes = {"model": model, "added_tokens": added, "post_processor": processor}
    return {**content, **changes, "padding": None, "truncation": None}


def pieces_within(content: Mapping[str, Any], tokens: Iterable[str]) -> set[int]:
    """The ids of all pieces that stand in the words that these word pieces spell.

    A word that was unknown, since no piece goes on where the longest ones end, may be spelt by
    others once those are gone; with all its pieces it is unknown again.
    """
    prefix = content["model"].get("continuing_subword_prefix") or ""
    ids = {token: i for i, token in tokens_of(content).items()}
    words: list[str] = []
    for token in tokens:
        if prefix and token.startswith(prefix) and words:
            words[-1] += token[len(prefix) :]
        else:
            words.append(token)
    pieces = {
        (prefix if begin else "") + word[begin:end]
        for word in {*words}
        for begin in range(len(word))
        for end in range(begin + 1, len(word) + 1)
    }
    return {ids[piece] for piece in pieces if piece in ids}


def _reads_bytes(content: Mapping[str, Any]) -> bool:
    return '"ByteLevel"' in json.dumps(content.get("pre_tokenizer"))


def _special(content: Mapping[str, Any], ids: Mapping[str, int]) -> set[int]:
    """Added tokens, the unknown one, what stands around a text, and the bytes of a fallback."""
    model = content["model"]
    special = {token["id"] for token in content["added_tokens"]}
    special |= {*_numbers(content.get("post_processor"))}
    if model.get("unk_token") in ids:
        special.add(ids[model["unk_token"]])
    if model.get("unk_id") is not None:
        special.add(model["unk_id"])
    if model.get("byte_fallback"):
        special |= {ids[byte] for byte in _BYTES if byte in ids}
    return special


def _spelling(
    content: Mapping[str, Any], tokens: Iterable[str], of_texts: Iterable[str]
) -> set[str]:
    """Single characters in each form that they have inside a word: those of the texts' tokens."""
    prefix = content["model"].get("continuing_subword_prefix") or ""
    suffix = content["model"].get("end_of_word_suffix") or ""
    if _reads_bytes(content):
        characters = {token for token in tokens if len(token) == 1}
    else:
        bare = (token.removeprefix(prefix).removesuffix(suffix) for token in of_texts)
        characters = {character for token in bare for character in token}
    return {
        begin + character + end
        for character in characters
        for begin in ("", prefix)
        for end in ("", suffix)
    }


def _parts(model: Mapping[str, Any], ids: Mapping[str, int], selection: Iterable[int]) -> set[int]:
    """The ids of all that is merged on the way to some tokens."""
    parts: dict[str, list[tuple[str, str]]] = {}
    for first, second in map(_pair, model["merges"]):
        parts.setdefault(_merged(model, first, second), []).append((first, second))
    tokens = {i: token for token, i in ids.items()}
    names, left = set[str](), [tokens[i] for i in selection]
    while left:
        name = left.pop()
        if name not in names:
            names.add(name)
            left += [part for pair in parts.get(name, ()) for part in pair]
    return {ids[name] for name in names}


def _pair(merge: Any) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _merged(model: Mapping[str, Any], first: str, second: str) -> str:
    return first + second.removeprefix(model.get("continuing_subword_prefix") or "")


def _numbers(processor: Any) -> list[int]:
    """The ids in a post-processor."""
    if processor is None:
        return []
    ids = [i for step in processor.get("processors", ()) for i in _numbers(step)]
    if processor["type"] == "TemplateProcessing":
        ids += [i for token in processor["special_tokens"].values() for i in token["ids"]]
    return ids + [processor[name][1] for name in ("cls", "sep") if name in processor]


def _renumbered(processor: Any, new_ids: Mapping[int, int]) -> Any:
    """A post-processor with new ids."""
    if processor is None:
        return None
    renumbered = dict(processor)
    if "processors" in processor:
        renumbered["processors"] = [_renumbered(step, new_ids) for step in processor["processors"]]
    if processor["type"] == "TemplateProcessing":
        renumbered["special_tokens"] = {
            name: token | {"ids": [new_ids[i] for i in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
    for name in ("cls", "sep"):
        if name in processor:
            token, i = processor[name]
            renumbered[name] = [token, new_ids[i]]
    return renumbered
