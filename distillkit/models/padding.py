"""Texts of several lengths in a batch: the pad token, its side, and whether answers keep still.

A decoder with a classifier's head reads the last token that is not `config.pad_token_id`: where
that is not set, or is not the token that the tokenizer pads with, the answer to a text hangs on the
texts beside it. Tokenizer and config are therefore made to agree, and the model is tried.
"""

import functools
import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from distillkit.console.progress import say
from distillkit.errors import ModelError
from distillkit.models.loading import one_line
from distillkit.models.modes import evaluating
from distillkit.models.runtimes.record import record_of

_Row = dict[str, list[int]]  # a text's inputs by name

TOKENS = 24  # of the longer text of the trial, at most
# architectures that add the embedding of a token to the words of each segment: 0 is not nothing
WORDS_AS_SEGMENTS = frozenset(
    ["codegen", "ctrl", "flaubert", "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "openai-gpt", "xlm"]
)
EXACT, SLIGHT = 1e-4, 0.02  # of the largest answer: rounding; convolutions that reach into padding


def agree_on_padding(model: Any, tokenizer: Any, *, key: str, pairs: bool = False) -> None:
    """Give model and tokenizer one pad token, and the tokenizer the side that the model reads.

    Most models read texts that are padded on the right; XLNet's kind reads the last place. With
    `pairs` the trial is of two texts, as for question answering. Raises `ModelError` where answers
    change with padding on either side, and for models that do not run on text alone.
    """
    _check_rows(model, tokenizer, key=key)
    _agree_on_token(model, tokenizer, key=key)
    if record_of(model.config):
        return  # it was tried before it was compressed, and its rounding would be taken for padding
    name = type(model).__name__
    pairs = pairs or bool(getattr(model.config, "siamese", False))
    setting, _, source = key.partition(" = ")
    with one_line(setting, source or name, "model", happens="does not run on text alone"):
        gaps = {"right": _gap(model, tokenizer, "right", key=key, pairs=pairs)}
        if gaps["right"] > EXACT:
            gaps["left"] = _gap(model, tokenizer, "left", key=key, pairs=pairs)
    side = min(gaps, key=lambda option: gaps[option])
    tokenizer.padding_side = side
    if not gaps[side] <= SLIGHT:
        raise ModelError(
            f"{key}: what {name} says of a text changes with the padding beside it, by "
            f"{gaps[side]:.0%} in a trial; batches of texts would mean nothing. Choose another "
            "architecture"
        )
    if gaps[side] > EXACT:
        _say_once(name, "less than 1%" if gaps[side] < 0.01 else "up to 2%")


@functools.cache
def _say_once(name: str, gap: str) -> None:
    """One architecture is tried several times in a run."""
    say(f"{name}: what it says of a text changes a little with the padding beside it ({gap})")


def ensure_pad_token(tokenizer: Any, *, key: str, config: Any = None) -> None:
    """Let a tokenizer without a pad token pad with a special token that it has.

    That of the model's config first, then the one that ends a text, if it does not end each of
    them: a model reads the last token that is not padding. A pad token that was added to the
    tokenizer alone, and for which the model has no row, is none. Raises `ModelError` for a
    tokenizer without special tokens.
    """
    text = None if config is None else config.get_text_config()
    rows = len(tokenizer) if text is None else int(text.vocab_size)
    config_pad, last, pad = _pad_of(text), _last_id(tokenizer), tokenizer.pad_token_id
    has_row = pad is not None and pad < rows
    if has_row and (config_pad is not None or pad != last):
        return
    tokens = {i: token for token, i in tokenizer.get_vocab().items() if i < rows}
    special = (tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id)
    choices = [config_pad, *(i for i in special if i != last)]
    own = tokenizer.pad_token if has_row else None
    pad_token = next((tokens[i] for i in choices if i in tokens), own)
    if pad_token is None:
        raise ModelError(
            f"{key}: its tokenizer has no pad token, and no other special token that could stand "
            'for it; add one: tokenizer.add_special_tokens({"pad_token": …}), then save it'
        )
    tokenizer.pad_token = pad_token


def takes_segments(model: Any) -> bool:
    """Whether a model tells the first text of a pair from the second by `token_type_ids`.

    A student may read with its teacher's tokenizer, which gives them to whoever asks.
    """
    parameters = inspect.signature(type(model).forward).parameters
    if "token_type_ids" not in parameters and "input_ids" in parameters:
        return False
    return int(getattr(model.config, "type_vocab_size", None) or 2) > 1


def model_output(model: Any, tokenizer: Any, inputs: Mapping[str, Tensor]) -> Any:
    """What a model says of texts padded on the right, whichever side it reads them from.

    Of outputs that have a place for each token, [rows, tokens, …], these stand as in `inputs`.
    """
    inputs = _with_segments(model, tokenizer, inputs)
    mask = inputs.get("attention_mask")
    if tokenizer.padding_side != "left" or mask is None or bool(mask.all()):
        return model(**inputs)
    width = mask.shape[1]
    shift = width - mask.sum(dim=1, keepdim=True)
    places = torch.arange(width, device=mask.device)
    to_left, back = (places - shift) % width, (places + shift) % width
    output = model(**{name: tensor.gather(1, to_left) for name, tensor in inputs.items()})
    for name in ("start_logits", "end_logits"):
        if name in output:
            output[name] = output[name].gather(1, back)
    if "logits" in output and output.logits.dim() > 2:
        output["logits"] = output.logits.gather(1, back.unsqueeze(-1).expand_as(output.logits))
    return output


def _with_segments(
    model: Any, tokenizer: Any, inputs: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """The inputs with the segments that a reader of the tokenizer would give the model.

    Tables have none of single texts: all are 0, as a model takes them where it is given none. One
    whose segments are words takes them otherwise.
    """
    name = "token_type_ids"
    if name in inputs and not takes_segments(model):
        return {key: value for key, value in inputs.items() if key != name}
    of_words = getattr(model.config, "model_type", None) in WORDS_AS_SEGMENTS
    if name not in inputs and of_words and name in tokenizer.model_input_names:
        return {**inputs, name: torch.zeros_like(inputs["input_ids"])}
    return inputs


def _check_rows(model: Any, tokenizer: Any, *, key: str) -> None:
    """Raise `ModelError` where words of the tokenizer have no row in the model's embeddings."""
    rows = getattr(model.config.get_text_config(), "vocab_size", None)
    if not rows:
        return
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= {*tokenizer.all_special_ids}  # a pad token that was added to the tokenizer alone
    beyond = [t for t, i in tokenizer.get_vocab().items() if i >= rows and i not in special]
    if beyond:
        raise ModelError(
            f"{key}: its tokenizer has {len(beyond):,} tokens that the model has no row for (as "
            f"{min(beyond)!r}; it has {rows:,} rows); the two do not belong together, or the "
            "embeddings were not resized for added tokens (model.resize_token_embeddings)"
        )


def reads_by_pad(model: Any) -> bool:
    """Whether the config's pad token tells a classifier which token to read."""
    try:
        return "pad_token_id" in inspect.getsource(type(model).forward)
    except (OSError, TypeError):  # code that is not at hand
        return False


def _agree_on_token(model: Any, tokenizer: Any, *, key: str) -> None:
    ensure_pad_token(tokenizer, key=key, config=model.config)
    pad, text = tokenizer.pad_token_id, model.config.get_text_config()
    config_pad = _pad_of(text)
    if config_pad is None or (config_pad != pad and reads_by_pad(model)):
        for config in {id(part): part for part in (model.config, text)}.values():
            config.pad_token_id = pad


def _pad_of(config: Any) -> int | None:
    """The pad token of a config; published ones have -1 where there is none."""
    pad = getattr(config, "pad_token_id", None)
    return pad if isinstance(pad, int) and pad >= 0 else None


def _last_id(tokenizer: Any) -> int | None:
    """The special token that a tokenizer ends each text with."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    ends = len(whole) > len(bare) and whole[-1:] != bare[-1:]
    return int(whole[-1]) if ends else None


def _gap(model: Any, tokenizer: Any, side: str, *, key: str, pairs: bool) -> float:
    """How far answers about a short text move beside a long one, of the largest answer.

    Raises `ModelError` for answers that are no numbers.
    """
    short, long = _trial(model, tokenizer, pairs=pairs)
    fill = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": 0}
    shift = len(long["input_ids"]) - len(short["input_ids"])
    batch = {}
    for name, row in short.items():
        padding = [fill[name]] * shift
        batch[name] = [[*padding, *row] if side == "left" else [*row, *padding], long[name]]
    with _still(model):
        alone = _answers(model, {name: [row] for name, row in short.items()})
        together = _answers(model, batch)[:1]
    if together.dim() > 2:  # a place for each token
        begin = shift if side == "left" else 0
        together = together[:, begin : begin + alone.shape[1]]
    if not bool(alone.isfinite().all()):
        raise ModelError(
            f"{key}: what {type(model).__name__} says of a text is no number; its weights are "
            "damaged, or too large for their type; download or save it anew"
        )
    gap = float((together - alone).abs().max() / alone.abs().max().clamp_min(1e-30))
    return math.inf if math.isnan(gap) else gap


def _trial(model: Any, tokenizer: Any, *, pairs: bool) -> tuple[_Row, _Row]:
    """A short text and a longer one, of no more tokens than the model has places for."""
    config = model.config.get_text_config()
    places = getattr(config, "max_position_embeddings", None)
    limit = min(TOKENS, places // 2) if isinstance(places, int) and places > 0 else TOKENS
    rows: list[_Row] = []
    for text in ("a b", "a b c d e f g h i j k l"):
        encoded = tokenizer(*(("a", text) if pairs else (text,)))
        names = ["input_ids", *(["token_type_ids"] if pairs and takes_segments(model) else [])]
        rows.append({name: encoded[name][:limit] for name in names if name in encoded})
    if not 0 < len(rows[0]["input_ids"]) < len(rows[1]["input_ids"]):  # it knows no such letters
        size = int(config.vocab_size)
        rows = [{"input_ids": [i % size for i in range(1, limit // n + 1)]} for n in (2, 1)]
    short, long = (row | {"attention_mask": [1] * len(row["input_ids"])} for row in rows)
    return short, long


def _answers(model: Any, inputs: Mapping[str, list[list[int]]]) -> Tensor:
    device = next(model.parameters()).device
    output = model(**{name: torch.tensor(rows, device=device) for name, rows in inputs.items()})
    if "start_logits" in output:
        return torch.stack([output.start_logits, output.end_logits], dim=-1).float()
    logits: Tensor = output.logits.float()
    return logits


@contextmanager
def _still(model: Any) -> Iterator[None]:
    """Without dropout, gradients or random numbers of the run."""
    with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        yield
