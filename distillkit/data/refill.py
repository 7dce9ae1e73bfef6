"""Words of a text refilled by a masked language model."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from distillkit.console.progress import Track, track
from distillkit.data.augmentation import Rewrite
from distillkit.data.folders import model_folder
from distillkit.data.sources import identity
from distillkit.errors import ModelError
from distillkit.setting_types import PositiveInt, Seed, Share

KEY = "augmentation.model"
WORD = re.compile(r"[^\W\d_]+")  # letters alone: signs and numbers stay as they are
BEGINS = ("Ġ", "▁")  # how byte-level and sentence-piece vocabularies write that a word begins
TEXTS = 512  # whose words are sorted by length and refilled together


@dataclass(frozen=True)
class MaskAndRefill:
    """Each word of a copy is, with probability `p`, one of the likeliest in its place.

    TinyBERT's augmentation (Jiao et al. 2020, https://arxiv.org/abs/1909.10351, algorithm 1, with
    their p_t, N_a and K as `p`, `copies` and `candidates`): a word is masked, and the masked text
    is read beside the text itself, as their code does it, by `model` (a folder, hub id or pypi://).
    What it says are pieces of words is no candidate.

    There a word of several pieces gets the nearest neighbours of its GloVe vector; here it is
    masked as a whole, as any other: no second model is needed, and both ways give one-piece words.
    """

    model: str
    copies: PositiveInt = 20
    p: Share = 0.4
    candidates: PositiveInt = 15
    batch_tokens: PositiveInt = 8192
    seed: Seed = 0

    def fingerprint_fields(self) -> dict[str, Any]:
        """All that decides the copies, beside the texts."""
        fields = {k: v for k, v in asdict(self).items() if k not in ("model", "batch_tokens")}
        return {"kind": type(self).__name__, "model": identity(self.model, key=KEY), **fields}

    def rewrites(self, texts: Sequence[str], *, cache: Path) -> Iterator[Rewrite]:
        """How each of the texts is rewritten; the model reads each text once for every word."""
        refiller = _Refiller(self, model_folder(self.model, key=KEY, cache=cache))
        total = sum(len(WORD.findall(text)) for text in texts)
        with track("refill", total, unit="words") as progress:
            for begin in range(0, len(texts), TEXTS):
                part = texts[begin : begin + TEXTS]
                for text, fillings in zip(part, refiller(part, progress), strict=True):
                    yield self._rewrite(text, fillings)

    def _rewrite(self, text: str, candidates: list[list[str]]) -> Rewrite:
        def rewrite(rng: random.Random) -> str:
            places = iter(candidates)

            def refilled(match: re.Match[str]) -> str:
                words = next(places)
                if not words or rng.random() >= self.p:
                    return match[0]
                word = rng.choice(words)
                return word.title() if match[0].istitle() else word

            return WORD.sub(refilled, text)

        return rewrite


class _Refiller:
    """(texts) -> for each of their words the likeliest ones in its place."""

    def __init__(self, settings: MaskAndRefill, folder: str) -> None:
        self.settings = settings
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.tokenizer = _loaded(folder, label=f"{KEY} = {settings.model}")
        self.model.to(self.device)
        longest = getattr(self.model.config, "max_position_embeddings", 512)
        # some count positions from the padding's id on
        self.longest = min(self.tokenizer.model_max_length, longest - 2)
        vocabulary = self.tokenizer.get_vocab()
        marked = any(token.startswith(BEGINS) for token in vocabulary)
        self.words = {i: word for t, i in vocabulary.items() if (word := _word(t, marked=marked))}

    def __call__(self, texts: Sequence[str], progress: Track) -> list[list[list[str]]]:
        fillings: list[list[list[str]]] = [[] for _ in texts]
        places = [(n, m) for n, text in enumerate(texts) for m in WORD.finditer(text)]
        answers: dict[tuple[int, int], list[str]] = {}
        places.sort(key=lambda word: (len(texts[word[0]]), word[0], word[1].start()))
        for batch in self._batches(places, texts):
            answered = self._likeliest([self._masked(texts[n], m) for n, m in batch])
            for (n, match), words in zip(batch, answered, strict=True):
                answers[n, match.start()] = words
            progress.advance(len(batch), len(batch))
        for (n, _), words in sorted(answers.items()):
            fillings[n].append(words)
        return fillings

    def _batches(
        self, words: list[tuple[int, re.Match[str]]], texts: Sequence[str]
    ) -> Iterator[list[tuple[int, re.Match[str]]]]:
        """Questions of like length together, at most about `batch_tokens` tokens with padding."""
        texts_left = {n for n, _ in words}
        lengths = {n: 2 * len(self.tokenizer(texts[n])["input_ids"]) for n in texts_left}
        batch: list[tuple[int, re.Match[str]]] = []
        longest = 0
        for word in words:
            longest = max(longest, min(lengths[word[0]], self.longest))
            if batch and (len(batch) + 1) * longest > self.settings.batch_tokens:
                yield batch
                batch, longest = [], min(lengths[word[0]], self.longest)
            batch.append(word)
        if batch:
            yield batch

    def _masked(self, text: str, match: re.Match[str]) -> tuple[str, str]:
        masked = text[: match.start()] + self.tokenizer.mask_token + text[match.end() :]
        return masked, text

    @torch.inference_mode()
    def _likeliest(self, words: list[tuple[str, str]]) -> list[list[str]]:
        """The candidates of each masked text; none where the mask was cut off."""
        inputs = self.tokenizer(
            [masked for masked, _ in words],
            [text for _, text in words],
            truncation="only_second" if self._fits(words) else "longest_first",
            max_length=self.longest,
            padding=True,
            return_tensors="pt",
        ).to(self.device)
        is_mask = inputs["input_ids"] == self.tokenizer.mask_token_id
        rows, columns = is_mask.nonzero(as_tuple=True)
        logits = self.model(**inputs).logits[rows, columns]
        top = logits.topk(min(self.settings.candidates, logits.shape[-1]), dim=-1).indices
        fillings: list[list[str]] = [[] for _ in words]
        for row, ids in zip(rows.tolist(), top.tolist(), strict=True):
            fillings[row] = [self.words[i] for i in ids if i in self.words]
        return fillings

    def _fits(self, masked: list[tuple[str, str]]) -> bool:
        """Whether the masked texts alone fit, so that only what stands beside them is cut."""
        specials = self.tokenizer.num_special_tokens_to_add(pair=True)
        longest = max(len(ids) for ids in self.tokenizer([m for m, _ in masked])["input_ids"])
        return longest + specials < self.longest


def _word(token: str, *, marked: bool) -> str:
    """The word that a token of a vocabulary stands for; nothing if it is a piece or a sign."""
    if marked and not token.startswith(BEGINS):
        return ""
    word = token.lstrip("".join(BEGINS))
    return word if WORD.fullmatch(word) else ""


def _loaded(folder: str, *, label: str) -> tuple[Any, Any]:
    """A masked language model and its tokenizer; raises `ModelError` for what is none."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, report = AutoModelForMaskedLM.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True
        )
    except (ImportError, KeyError, OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{label}: is no masked language model ({reason})") from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    if report["missing_keys"]:
        raise ModelError(
            f"{label}: has no masked-LM head (no weights for {min(report['missing_keys'])}); take "
            "a model as it was pretrained"
        )
    if tokenizer.mask_token is None:
        raise ModelError(f"{label}: its tokenizer has no mask token; take a masked language model")
    return model.eval(), tokenizer
