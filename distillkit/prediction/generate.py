"""Prompts -> what a language model writes after each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from distillkit.chat.templates import ChatTemplate
from distillkit.console.progress import say, warn, working
from distillkit.errors import ConfigError, DataError
from distillkit.generation.decode import Continuation, context, continue_each
from distillkit.generation.prompts import Prompt
from distillkit.models.saved import Loaded, SavedModel
from distillkit.prediction.answers import Answers, spread
from distillkit.prediction.prompts import PromptWriter, prompts_of
from distillkit.prediction.purpose import read_record
from distillkit.prediction.rows import Rows
from distillkit.tasks import CausalLM
from distillkit.types import LabelSpace


@dataclass(frozen=True, slots=True)
class Decoding:
    """How it is written: greedily, or with a `seed` by draws at a temperature."""

    tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    batch_size: int = 8


def opened(saved: SavedModel) -> Loaded:
    """A language model, on the device at hand."""
    with working(f"generate: loading {saved.folder}"):
        loaded = saved.open(CausalLM(), LabelSpace(()))
    loaded.model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return loaded


def writer_of(loaded: Loaded, folder: str, *, raw: bool, system: str | None) -> PromptWriter:
    """How this student's prompts are written; raises `ConfigError` for a system text that has no
    place in it.
    """
    tokenizer, plain = loaded.tokenizer, read_record(Path(folder)).get("template")
    plain = plain if isinstance(plain, str) and "{prompt}" in plain and not raw else None
    has_chat = bool(tokenizer.chat_template) and not raw and plain is None
    if system is not None and not has_chat and "{system}" not in (plain or ""):
        raise ConfigError(
            "--system: this student has no chat template for it; write it in --prompt"
        )
    chat = ChatTemplate(tokenizer) if has_chat else None
    return PromptWriter(tokenizer, chat, plain, system)


def generate(
    loaded: Loaded, writer: PromptWriter, rows: Rows, decoding: Decoding, *, streamer: Any = None
) -> Answers:
    """What the model writes for each row, in their order; None of a row without a prompt."""
    prompts, filled = prompts_of(rows, writer)
    if len(filled) < len(rows):
        warn(f"{len(rows) - len(filled):,} of {len(rows):,} rows have no prompt; they stay rows")
    say(f"generate: {writer.name}, {_options(decoding)}")
    results = continue_each(
        loaded.model,
        loaded.tokenizer,
        prompts,
        tokens=_room(loaded, prompts, filled, decoding.tokens),
        batch_size=decoding.batch_size,
        seed=decoding.seed,
        label="generate",
        sampling={"temperature": decoding.temperature, "top_p": decoding.top_p},
        streamer=streamer,
    )
    _say_ends(results)
    columns: dict[str, list[Any]] = {
        "response": [continuation.text for continuation in results],
        "tokens": [continuation.tokens for continuation in results],
        "finish": ["end" if continuation.ended else "length" for continuation in results],
    }
    columns_of_all = {name: spread(values, filled, len(rows)) for name, values in columns.items()}
    return Answers(columns_of_all, filled=filled)


def _options(decoding: Decoding) -> str:
    if decoding.seed is None:
        return f"the likeliest tokens, up to {decoding.tokens:,}"
    return (
        f"draws at temperature {decoding.temperature:g} (top-p {decoding.top_p:g}, seed "
        f"{decoding.seed}), up to {decoding.tokens:,} tokens"
    )


def _room(
    loaded: Loaded, prompts: Sequence[Prompt], filled: Sequence[int], tokens: int
) -> list[int]:
    """How many tokens each prompt leaves room for; raises `DataError` for one that leaves none."""
    limit = context(loaded.model)
    if limit is None:
        return [tokens] * len(prompts)
    full = [i for i, prompt in enumerate(prompts) if len(prompt.ids) >= limit]
    if full:
        raise DataError(
            f"row {filled[full[0]] + 1:,}: its prompt has {len(prompts[full[0]].ids):,} tokens, "
            f"and this student reads {limit:,}, what it writes included; shorten it"
        )
    room = [min(tokens, limit - len(prompt.ids)) for prompt in prompts]
    if short := sum(length < tokens for length in room):
        say(
            f"generate: {short:,} of {len(prompts):,} prompts leave room for fewer than {tokens:,} "
            f"tokens, of the {limit:,} that this student reads"
        )
    return room


def _say_ends(results: Sequence[Continuation]) -> None:
    unfinished = sum(not continuation.ended for continuation in results)
    if unfinished:
        say(
            f"generate: {unfinished:,} of {len(results):,} did not come to an end "
            "(--max-new-tokens N lets them go on)"
        )


class Streamer:
    """Hands on a text as it is written: `show` gets each new part, and whether it is the last.

    What `model.generate` of transformers calls: first with the prompt, then with each token.
    """

    def __init__(self, loaded: Loaded, show: Callable[[str, bool], None]) -> None:
        self._tokenizer, self._show = loaded.tokenizer, show
        self._ids: list[int] | None = None  # of what was written; None before the prompt
        self._length = 0  # characters

    def put(self, ids: torch.Tensor) -> None:
        """Take the prompt's ids, then each new one."""
        if self._ids is None:
            self._ids = []
            return
        self._ids += ids.flatten().tolist()
        text = self._text()
        if not text.endswith("\ufffd"):  # a character whose other bytes are to come
            self._show(text[self._length :], False)
            self._length = len(text)

    def end(self) -> None:
        """Show what is left."""
        self._show(self._text()[self._length :], True)

    def _text(self) -> str:
        return str(self._tokenizer.decode(self._ids or [], skip_special_tokens=True))
