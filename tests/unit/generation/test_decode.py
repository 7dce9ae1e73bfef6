"""What models write does not depend on batches, pads or settings that nobody gave."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from distillkit.generation.decode import context, continuations
from distillkit.generation.prompts import Prompt
from tests.unit.models.tiny_lms import byte_tokenizer, language_model, tokens

EXTRA = 6  # rows of the head that mean no token


class Ids:
    """A tokenizer that reads ids back as numbers, so that a test sees every token."""

    def __init__(self) -> None:
        self.real = byte_tokenizer()
        self.eos_token_id: int | None = self.real.eos_token_id

    def get_vocab(self) -> dict[str, int]:
        return dict(self.real.get_vocab())

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return " ".join(map(str, ids))


@pytest.fixture
def tokenizer() -> Ids:
    return Ids()


def model_for(tokenizer: Ids, kind: str = "llama", sharper: float = 1.0) -> Any:
    model = language_model(kind, vocab_size=len(tokenizer.real) + EXTRA, tie_word_embeddings=False)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(sharper)
    return model


def prompts(*lengths: int) -> list[Prompt]:
    return [Prompt(tokens(1, n, seed=n)[0].tolist()) for n in lengths]


def write(model: Any, tokenizer: Ids, asked: Sequence[Prompt], **changes: Any) -> list[list[int]]:
    usual = {"tokens": 6, "batch_size": 4, "seed": None, "label": "responses"}
    found = continuations(model, tokenizer, asked, **(usual | changes))
    return [[int(word) for word in text.split()] for text in found]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bloom", "mamba", "rwkv", "gemma2"])
def test_a_batch_writes_what_each_prompt_gets_alone(kind: str, tokenizer: Ids) -> None:
    model = model_for(tokenizer, kind)
    asked = prompts(9, 3, 5, 12, 3)
    together = write(model, tokenizer, asked, batch_size=5)
    assert together == write(model, tokenizer, asked, batch_size=1)
    assert len({tuple(said) for said in together}) > 1


def test_greedy_takes_the_most_likely_token_of_the_real_ones(tokenizer: Ids) -> None:
    model = model_for(tokenizer)
    (asked,) = prompts(7)
    with torch.no_grad():  # make ids that mean nothing the likeliest of all
        model.get_output_embeddings().weight[-EXTRA:] = 9 * model.lm_head.weight[3]
    (said,) = write(model, tokenizer, [asked], tokens=4)
    ids = list(asked.ids)
    for token in said:
        logits = model(torch.tensor([ids])).logits[0, -1, :-EXTRA]
        assert token == int(logits.argmax())
        ids.append(token)


@pytest.mark.slow
def test_draws_follow_the_whole_distribution_of_the_model(tokenizer: Ids) -> None:
    model = model_for(tokenizer, sharper=15.0)
    (asked,) = prompts(7)
    logits = model(torch.tensor([asked.ids])).logits[0, -1, :-EXTRA].detach()
    log_p = torch.log_softmax(logits, dim=-1)
    said = write(model, tokenizer, [asked] * 16_000, tokens=1, batch_size=4000, seed=0)
    drawn = torch.tensor([row[0] if row else tokenizer.eos_token_id for row in said])
    # a temperature below 1, top-k or top-p would draw likelier tokens than the entropy says
    spread = log_p[drawn].std() / len(drawn) ** 0.5
    entropy = -(log_p.exp() * log_p).sum()
    assert abs(float(log_p[drawn].mean() + entropy)) < 4 * float(spread)
    assert len(drawn.unique()) > 50  # transformers cuts after 50 unless it is told not to


def test_the_models_own_settings_do_not_count_and_come_back(tokenizer: Ids) -> None:
    model, asked = model_for(tokenizer), prompts(5, 8)
    greedy, drawn = write(model, tokenizer, asked), write(model, tokenizer, asked, seed=3)
    own = model.generation_config
    own.update(repetition_penalty=9.0, temperature=0.01, top_k=1, do_sample=True, max_length=3)
    assert write(model, tokenizer, asked) == greedy
    assert write(model, tokenizer, asked, seed=3) == drawn
    assert model.generation_config is own


def test_the_seed_decides_the_draws_and_leaves_the_others_alone(tokenizer: Ids) -> None:
    model, asked = model_for(tokenizer), prompts(5, 8)
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    first, again, other = (write(model, tokenizer, asked, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_is_written_ends_before_an_end_token(tokenizer: Ids) -> None:
    model, asked = model_for(tokenizer), prompts(5, 8)
    free = write(model, tokenizer, asked)
    end = free[0][2]
    first = free[0].index(end)
    stopped = write(model, tokenizer, [Prompt(asked[0].ids, end), asked[1]])
    assert stopped[0] == free[0][:first]
    model.generation_config.eos_token_id = [end]
    assert write(model, tokenizer, asked)[0] == free[0][:first]


def test_an_end_that_responses_hold_ends_nothing(tokenizer: Ids) -> None:
    model, asked = model_for(tokenizer), prompts(5, 8)
    free = write(model, tokenizer, asked)
    end = free[0][2]
    closed = [Prompt(asked[0].ids, end), Prompt(asked[1].ids, None, frozenset([end]))]
    assert write(model, tokenizer, closed) == free


def test_no_tokenizer_needs_an_end_or_a_pad(tokenizer: Ids) -> None:
    model, asked = model_for(tokenizer), prompts(5, 8)
    tokenizer.eos_token_id = model.generation_config.eos_token_id = None
    assert [len(said) for said in write(model, tokenizer, asked, seed=1)] == [6, 6]


def test_the_context_is_the_models() -> None:
    assert context(language_model("gpt2")) == 64
    assert context(language_model("bloom")) is None
