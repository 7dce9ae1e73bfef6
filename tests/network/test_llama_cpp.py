"""GGUF files of students in llama.cpp itself: its tokens, perplexity and greedy text are ours."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_language import documents
from tests.unit.compression.language import SHAPES
from tests.unit.compression.test_gguf import write

pytestmark = pytest.mark.network
READER = Path(__file__).parents[1] / "llama_cpp_reader.py"
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "the film?"},
    {"role": "assistant", "content": "good"},
    {"role": "user", "content": "the plot, isn't it?"},
]
TEXTS = [*documents(3, seed=7), "It's 1234 o'clock,  isn't\tit?\n\nYes", "été, 日本語"]


def ask(folder: Path, **asked: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(READER)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@torch.no_grad()
def nats_of(model: Any, ids: list[int]) -> np.ndarray:
    logits = model(torch.tensor([ids])).logits[0].double()
    values = -torch.log_softmax(logits, dim=-1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])
    return values[:, 0].numpy()


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        *((kind, "gguf_f16") for kind in SHAPES),
        *(
            (kind, form)
            for kind in ("llama", "qwen2", "gpt2")
            for form in ("gguf_q8_0", "gguf_q4_0")
        ),
    ],
)
def test_llama_cpp_says_what_pytorch_says(
    llama_cpp: Path, tmp_path: Path, kind: str, form: str
) -> None:
    from transformers import AutoTokenizer

    from distillkit.models.causal import load_causal_lm

    model, folder = write(kind, form, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    ids = tokenizer(documents(1, seed=9)[0][:120])["input_ids"][:40]
    file = str(folder / "model.gguf")
    letter = tokenizer.convert_tokens_to_ids("a")
    rows = model.config.vocab_size
    asked = {"ids": ids, "rows": rows, "letter": letter, "messages": MESSAGES}
    found = ask(llama_cpp, model=file, texts=TEXTS, **asked)
    chat = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert found["rendered"] == chat
    assert found["tokens"] == [tokenizer(text)["input_ids"] for text in TEXTS]

    stored = load_causal_lm(file, key="x")  # the file's weights, in PyTorch
    expected, nats = nats_of(stored, ids), np.array(found["nats"])
    # its products round activations to 8 bits where weights are quantised
    slack = 0.005 if form == "gguf_f16" else 0.03
    assert np.exp(nats.mean()) == pytest.approx(np.exp(expected.mean()), rel=slack)
    assert np.abs(nats - expected).max() < 20 * slack
    if form == "gguf_f16":
        assert np.exp(nats.mean()) == pytest.approx(np.exp(nats_of(model, ids).mean()), rel=0.005)
        with torch.no_grad():
            greedy = stored.generate(
                torch.tensor([ids]), max_new_tokens=8, do_sample=False, eos_token_id=None
            )
        assert found["written"][:4] == greedy[0, len(ids) : len(ids) + 4].tolist()
