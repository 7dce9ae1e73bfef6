"""Which token ids are real, and whether two tokenizers mean the same by them."""

import json
import tempfile
from typing import Any

from distillkit.errors import ModelError
from distillkit.models.loading import quiet

SAMPLE = "The film's plot, 1234 scenes: naïve, well-made\n\nand  warm."
MOST_SPECIAL = 100  # tokens; no vocabulary of words is so small


def real_vocabulary(tokenizer: Any, *models: Any) -> int:
    """How many logits mean a token: the highest token id + 1.

    Models round their vocabularies up, each its own way (Qwen: 151,936 rows for 151,665 tokens);
    `len(tokenizer)` counts tokens, and ids may have gaps. Raises `ModelError` for a model with
    fewer rows.
    """
    size = max(tokenizer.get_vocab().values(), default=-1) + 1
    for model in models:
        rows = len(model.get_output_embeddings().weight)
        if rows < size:
            raise ModelError(
                f"{model.config.name_or_path or type(model).__name__}: its vocabulary has {rows} "
                f"rows, but the tokenizer's highest id is {size - 1}; it belongs to another "
                "tokenizer"
            )
    return size


def check_has_words(tokenizer: Any, *, key: str) -> None:
    """Raise `ModelError` for a tokenizer that knows special tokens alone.

    transformers makes one where a folder or repository has no vocabulary, and says nothing.
    """
    if len(tokenizer) > MOST_SPECIAL or tokenizer.get_vocab().keys() - {
        *tokenizer.all_special_tokens
    }:
        return
    raise ModelError(
        f"{key}: its tokenizer knows no word, only the {len(tokenizer)} special tokens that "
        "transformers gives one without a vocabulary; copy the tokenizer's files into it "
        "(tokenizer.save_pretrained)"
    )


def check_reads_back(model_type: str, tokenizer: Any, *, key: str) -> None:
    """Raise `ModelError` where a saved student's tokenizer would be read as another.

    Of some architectures, as qwen2, transformers takes a tokenizer class of its own whatever a
    folder says, and words are cut otherwise: another tokenizer cannot be saved beside them.
    """
    from transformers import AutoConfig, AutoTokenizer
    from transformers.models.auto import tokenization_auto

    fixed = getattr(tokenization_auto, "MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS", ())
    if model_type not in fixed or not tokenizer.is_fast:
        return
    with quiet(), tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        AutoConfig.for_model(model_type).save_pretrained(folder)
        again = AutoTokenizer.from_pretrained(folder)
    if tokenizer(SAMPLE)["input_ids"] != again(SAMPLE)["input_ids"]:
        raise ModelError(
            f"{key} = {model_type}: transformers reads every tokenizer of this architecture as "
            f"{type(again).__name__}, and this one would cut words otherwise once the student is "
            "saved; take another architecture (llama, qwen3), or a tokenizer of its own family"
        )


def fit_to_tokenizer(model: Any, tokenizer: Any) -> int:
    """Give a pretrained model the vocabulary and special tokens that it will read with.

    Rows for tokens that it does not know are drawn around the mean of the others (seed torch
    before). Returns how many it was given.
    """
    size = real_vocabulary(tokenizer)
    missing = max(0, size - len(model.get_input_embeddings().weight))
    if missing:
        model.resize_token_embeddings(size)
    for holder in (model.config.get_text_config(), getattr(model, "generation_config", None)):
        for name in ("bos_token_id", "eos_token_id"):
            token_id = getattr(tokenizer, name)
            current = getattr(holder, name, None)
            listed = current if isinstance(current, (list, tuple)) else [current]
            if holder is not None and token_id is not None and token_id not in listed:
                setattr(holder, name, token_id)
    return missing


def check_same_tokenizer(student_tokenizer: Any, teacher_tokenizer: Any, *, key: str) -> None:
    """Raise `ModelError` unless both give the same ids to the same tokens.

    Either may have added tokens of its own where the other has none, such as a pad token.
    """
    difference = _first_difference(student_tokenizer, teacher_tokenizer)
    if difference:
        i, of_student, of_teacher = difference
        raise ModelError(
            f"{key}: the student's tokenizer is not the teacher's: token {i} is {of_student} in "
            f"the student's and {of_teacher} in the teacher's; take the teacher's tokenizer "
            "(student.tokenizer=null), or a student of the teacher's family"
        )


def same_ids(first_tokenizer: Any, other_tokenizer: Any) -> bool:
    """Whether two tokenizers give every text the same ids, by all that they do to it."""
    return _doing(first_tokenizer) == _doing(other_tokenizer)


def _doing(tokenizer: Any) -> Any:
    if not tokenizer.is_fast:
        return type(tokenizer).__name__, tokenizer.get_vocab(), tokenizer.special_tokens_map
    inner = json.loads(tokenizer.backend_tokenizer.to_str())
    return {key: value for key, value in inner.items() if key not in ("padding", "truncation")}


def check_same_tokens(first_tokenizer: Any, tokenizer: Any, *, key: str) -> None:
    """Raise `ModelError` unless several teachers' probabilities are of the same tokens."""
    difference = _first_difference(first_tokenizer, tokenizer)
    if difference:
        i, of_first, of_second = difference
        raise ModelError(
            f"{key}: probabilities are averaged token by token, and token {i} is {of_second} in "
            f"its tokenizer and {of_first} in the first teacher's; take teachers of one tokenizer"
        )
    sizes = real_vocabulary(first_tokenizer), real_vocabulary(tokenizer)
    if sizes[0] != sizes[1]:
        raise ModelError(
            f"{key}: probabilities are averaged token by token, and its tokenizer has ids up to "
            f"{sizes[1] - 1}, the first teacher's up to {sizes[0] - 1}; give both the same added "
            "tokens"
        )


def _first_difference(first_tokenizer: Any, other_tokenizer: Any) -> tuple[int, str, str] | None:
    """(id, how the one spells it, how the other) of the first id that means two things."""
    first, second = first_tokenizer.get_vocab(), other_tokenizer.get_vocab()
    added = {
        *first_tokenizer.get_added_vocab().values(),
        *other_tokenizer.get_added_vocab().values(),
    }
    ones = {i: token for token, i in first.items()}
    second_tokens = {i: token for token, i in second.items()}
    for i in sorted(ones.keys() | second_tokens.keys()):
        first_token, second_token = ones.get(i), second_tokens.get(i)
        if first_token == second_token:
            continue
        alone = second_token not in first if first_token is None else first_token not in second
        if None in (first_token, second_token) and i in added and alone:
            continue
        return i, _spelt(first_token), _spelt(second_token)
    return None


def _spelt(token: str | None) -> str:
    return "no token" if token is None else repr(token)
