"""What models write: prompts continued in batches, greedily or by draws from the model itself."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from distillkit.console.progress import track
from distillkit.generation.prompts import Prompt
from distillkit.models.vocabularies import real_vocabulary

GREEDY: dict[str, Any] = {"do_sample": False}
# the model's own distribution; 0 and 1 cut nothing off
DRAWN: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
_PROBE_PADS = 8


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a model wrote: the text, its tokens, and whether it ended by itself."""

    text: str
    tokens: int
    ended: bool


def continuations(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    tokens: int,
    batch_size: int,
    seed: int | None,
    label: str,
) -> list[str]:
    """What the model writes after each prompt: up to `tokens` tokens, up to the prompt's end.

    With a `seed`, tokens are drawn from the model's own distribution (temperature 1, nothing cut
    off); without, the most likely one is taken. See `continue_each`.
    """
    results = continue_each(
        model,
        tokenizer,
        prompts,
        tokens=[tokens] * len(prompts),
        batch_size=batch_size,
        seed=seed,
        label=label,
    )
    return [continuation.text for continuation in results]


@torch.inference_mode()
def continue_each(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    tokens: Sequence[int],
    batch_size: int,
    seed: int | None,
    label: str,
    sampling: Mapping[str, float] | None = None,
    streamer: Any = None,
) -> list[Continuation]:
    """What the model writes after each prompt: up to its number of `tokens`, up to its end.

    With a `seed`, tokens are drawn: by `sampling` (temperature, top_p), else from the model's own
    distribution. Of the model's own generation settings only the end tokens count, no temperature
    and no penalty. The draws depend on seed, batch size and machine. A `streamer` of transformers
    gets the tokens of a single prompt as they come.
    """
    ends = _ends(model, tokenizer, prompts)
    options: dict[str, Any] = {
        "eos_token_id": sorted(ends) or None,
        "pad_token_id": min(ends, default=0),
        "suppress_tokens": _unreal(model, tokenizer),
        "use_cache": True,
        **(GREEDY if seed is None else {**DRAWN, **(sampling or {})}),
    }
    options |= {"streamer": streamer} if streamer is not None else {}
    texts: list[Continuation] = [Continuation("", 0, True)] * len(prompts)
    with (
        torch.random.fork_rng([model.device] if model.device.type == "cuda" else []),
        _plain_settings(model),
        track(label, len(prompts)) as progress,
    ):
        size = batch_size if _reads_past_pads(model, prompts) else 1
        if seed is not None:
            torch.manual_seed(seed)
        for batch in _batches(prompts, size, tokens):
            ids, mask = _left_padded([prompts[i].ids for i in batch], model.device)
            limit = tokens[batch[0]]
            rows = model.generate(ids, attention_mask=mask, max_new_tokens=limit, **options)
            counts = []
            for i, row in zip(batch, rows[:, ids.shape[1] :].tolist(), strict=True):
                new = _up_to(row, ends)
                text = tokenizer.decode(new, skip_special_tokens=True)
                texts[i] = Continuation(text, len(new), len(new) < len(row))
                counts.append(len(new))
            progress.advance(len(batch), sum(counts))
    return texts


def context(model: Any) -> int | None:
    """The most tokens that a model reads; None where its config knows no bound."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(positions) if positions else None


def _ends(model: Any, tokenizer: Any, prompts: Sequence[Prompt]) -> frozenset[int]:
    """The tokens that end what is written: the model's, the tokenizer's, the template's."""
    after = {p.end for p in prompts} - {None}
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    ends = after.difference(*(p.response_ids for p in prompts)).union(
        listed, [tokenizer.eos_token_id]
    )
    return frozenset(token for token in ends if token is not None)


def _unreal(model: Any, tokenizer: Any) -> list[int] | None:
    """Ids that mean no token: nothing ever taught a student to keep away from them."""
    rows = len(model.get_output_embeddings().weight)
    return list(range(real_vocabulary(tokenizer), rows)) or None


@contextmanager
def _plain_settings(model: Any) -> Iterator[None]:
    """Put the model's generation settings aside: they would fill in all that is not given."""
    own = model.generation_config
    model.generation_config = type(own)()
    try:
        yield
    finally:
        model.generation_config = own


def _batches(prompts: Sequence[Prompt], size: int, tokens: Sequence[int]) -> Iterator[list[int]]:
    """Places in batches, the longest prompts first: what does not fit shows at once.

    Those of a batch may all write as much.
    """
    order = sorted(range(len(prompts)), key=lambda place: (tokens[place], -len(prompts[place].ids)))
    for _, alike in groupby(order, key=lambda place: tokens[place]):
        places = list(alike)
        yield from (places[begin : begin + size] for begin in range(0, len(places), size))


def _left_padded(
    rows: Sequence[Sequence[int]], device: torch.device, *, pads: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, attention mask), int64 [batch, tokens], all rows ending at one place.

    The mask hides the pads, so any id will do: no tokenizer needs a pad token for it.
    """
    longest = max(map(len, rows)) + pads
    ids = [[0] * (longest - len(row)) + list(row) for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _reads_past_pads(model: Any, prompts: Sequence[Prompt]) -> bool:
    """Whether pads on the left change nothing.

    The recurrent RWKV takes them for text, and mixes up the rows of a batch too.
    """
    shortest = min((prompt.ids for prompt in prompts), key=len)
    responses = []
    for pads in (0, _PROBE_PADS):
        ids, mask = _left_padded([shortest], model.device, pads=pads)
        generated = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=1,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
            **GREEDY,
        )
        responses.append(generated.logits[0].float())
    # rounding in bfloat16 moves logits by about 1% of their spread, text that is not there by all
    return bool((responses[0] - responses[1]).abs().mean() < 0.05 * responses[0].std())


def _up_to(row: Sequence[int], ends: frozenset[int]) -> list[int]:
    """The tokens before the first that ends the answer."""
    stop = next((i for i, token in enumerate(row) if token in ends), len(row))
    return list(row[:stop])
