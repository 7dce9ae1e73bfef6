"""What of a model folder decides a tokenizer's ids: its own files, by their content."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

TOKENIZER_FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",  # sentencepiece: tokenizer.model, spiece.model, …
    "*.spm",
    "*.tiktoken",
    "tekken.json",
    "bpe.codes",
    "dict.txt",
    "*.jinja",
    "chat_template*",
    "additional_chat_templates/*",
    "tokenization_*.py",
)
# what transformers writes beside, and no id hangs on
_IDLE = (
    "auto_map",
    "clean_up_tokenization_spaces",
    "is_local",
    "local_files_only",
    "max_length",
    "model_max_length",
    "name_or_path",
    "pad_to_multiple_of",
    "pad_token_type_id",
    "padding_side",
    "processor_class",
    "special_tokens_map_file",
    "stride",
    "tokenizer_file",
    "transformers_version",
    "truncation_side",
    "truncation_strategy",
)
_SET_AT_EACH_CALL = ("padding", "truncation")  # of tokenizer.json


def tokenizer_sha256(folder: Path) -> str:
    """One sha256 of all that decides a tokenizer: two folders of the same ids have the same.

    Fields that change no id do not count, nor how JSON is laid out.
    """
    paths = {path for pattern in TOKENIZER_FILES for path in folder.glob(pattern)}
    files = sorted(path for path in {*paths, folder / "config.json"} if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        stat = path.stat()
        content = _content(path, stat.st_size, stat.st_mtime_ns)
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _content(path: Path, size: int, changed: int) -> str:
    """A sha256 of what matters of a file, of this size and time of change."""
    data = path.read_bytes()
    if path.suffix == ".json" and path.name != "vocab.json":
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            content = None
        if isinstance(content, dict):
            data = json.dumps(_relevant(path.name, content), sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def _relevant(name: str, content: dict[str, Any]) -> dict[str, Any]:
    if name == "config.json":  # where the tokenizer's own config names no class
        return {key: content[key] for key in ("model_type", "tokenizer_class") if content.get(key)}
    if name == "tokenizer.json":
        return {key: value for key, value in content.items() if key not in _SET_AT_EACH_CALL}
    return {key: value for key, value in content.items() if key not in _IDLE}
