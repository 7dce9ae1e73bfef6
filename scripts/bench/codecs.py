#!/usr/bin/env python3
"""What the codecs of the target store take on disk, lose, and cost, on one thread.

    bytes     all of a store's shards and its manifest, by position; examples have 200 positions
              (a file that all examples share, as the head of last_hidden, is named apart)
    kl        mean KL(exact || decoded) in nats, of the distribution over what the codec keeps and
              all other ids together; `sampled` keeps its draws as they are, so there is none
    speed     positions a second of processor time; encode and decode in batches of 16 examples, the
              median of the rounds; pick with the product with the head

Teachers: a language model's GGUF file or folder over a text, with --teacher and --text; or one of
random hidden states whose head has a Zipf-like bias, scaled to a mean entropy of 2.9 nats.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from timing import ORIGIN

from distillkit.data.splits import example_key
from distillkit.losses.heads import project
from distillkit.targets import (
    Codec,
    Dense,
    Draws,
    LastHidden,
    Sampled,
    SampledLogits,
    TargetStore,
    TargetWriter,
    TopK,
    TopP,
)
from distillkit.targets.codecs.bit_packing import payload
from distillkit.types import (
    Head,
    HiddenOutputs,
    HiddenTargets,
    SoftTargets,
    SparseTargets,
    Targets,
)

EXAMPLE, BATCH = 200, 16  # positions of an example, examples of a batch
WIDTH, ENTROPY = 64, 2.9  # of the synthetic teacher
CODECS: tuple[Codec, ...] = (
    Sampled(draws=50),
    Sampled(draws=50, exponent=0.8),
    SampledLogits(k=256),
    TopK(k=50, bits=6),
    TopK(k=50, bits=8),
    TopK(k=50, bits=16),
    TopK(k=50, temperatures=[1.0, 2.0]),
    TopP(p=0.95, k=100),
    LastHidden("bfloat16"),
    LastHidden("int8"),
    Dense("float16"),
)


def real(teacher: Path, text: Path, *, positions: int, context: int) -> HiddenOutputs:
    """What a language model says of the first tokens of a text, in rows of `context` tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = (teacher.parent, teacher.name) if teacher.is_file() else (teacher, None)
    tokenizer = AutoTokenizer.from_pretrained(place[0], gguf_file=place[1])
    model = AutoModelForCausalLM.from_pretrained(place[0], gguf_file=place[1], dtype=torch.float32)
    # 10 characters a token are more than any text has
    ids = tokenizer(text.read_text()[: 10 * positions], return_tensors="pt").input_ids[0]
    rows = ids[: positions // context * context].view(-1, context)
    with torch.inference_mode():
        hidden = [model.get_decoder()(row[None]).last_hidden_state[0] for row in rows]
    head = model.get_output_embeddings()
    assert head.bias is None
    return HiddenOutputs(torch.cat(hidden), Head(head.weight.detach(), len(tokenizer)))


def synthetic(vocabulary: int, *, positions: int) -> HiddenOutputs:
    """Random hidden states and a head whose bias falls with the id, as a BPE's frequencies do."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(positions, WIDTH, generator=generator)
    weight = torch.randn(vocabulary, WIDTH, generator=generator) / WIDTH**0.5
    bias = -torch.arange(1, vocabulary + 1).float().log()
    low, high = 0.0, 20.0
    for _ in range(20):
        scale = (low + high) / 2
        flat = _entropy(HiddenOutputs(hidden[:64], Head(scale * weight, vocabulary, bias)))
        low, high = (scale, high) if flat > ENTROPY else (low, scale)
    return HiddenOutputs(hidden, Head(scale * weight, vocabulary, bias))


def measure(codec: Codec, said: HiddenOutputs, *, rounds: int) -> dict[str, Any]:
    """All figures of one codec."""
    size = said.head.size
    if isinstance(codec, Dense):  # which would need gigabytes
        said = HiddenOutputs(said.hidden[: 4 * EXAMPLE], said.head)
    examples = len(said.hidden) // EXAMPLE
    positions = np.full(examples, EXAMPLE)
    keys = np.array([example_key(f"example {i}") for i in range(examples)], "S16")
    begun = time.process_time()
    picked = codec.select(said, Draws(0, keys, positions))
    figures: dict[str, Any] = {"pick": len(said.hidden) / (time.process_time() - begun)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with TargetWriter(folder, codec) as writer:
            writer.describe(said)
            writer.write(0, keys, positions, picked)
            writer.finish([examples], tokens=len(said.hidden), labels=[], origin=ORIGIN)
        shared = sum((folder / file).stat().st_size for file in codec.shared_files)
        held = sum(path.stat().st_size for path in folder.iterdir()) - shared
        figures |= {"bytes": held / len(said.hidden), "shared_bytes": shared}
        store = TargetStore.open(folder)
        figures["kl"] = _divergence(said, store.read(store.rows(keys)))
        batch = min(BATCH, examples)
        few = {k: v[: batch * EXAMPLE] for k, v in picked.items()}
        column = codec.encode(few, positions[:batch])
        decode = codec.decoder(folder, size, torch.device("cpu"))
        for what, call in (
            ("encode", lambda: codec.encode(few, positions[:batch])),
            ("decode", lambda: decode(payload(column, positions[:batch]))),
        ):
            seconds = statistics.median(_seconds(call) for _ in range(rounds))
            figures[what] = batch * EXAMPLE / seconds
    return figures


def _divergence(said: HiddenOutputs, decoded: Targets) -> float | None:
    """Mean KL(exact || decoded), over the kept ids and all others together."""
    total = 0.0
    for start in range(0, len(said.hidden), EXAMPLE):
        part = slice(start, start + EXAMPLE)
        exact = project(said.hidden[part], said.head).double().log_softmax(dim=-1)
        here = decoded.part(part)
        if isinstance(here, SoftTargets):
            other = here.logits.double().log_softmax(dim=-1)
        elif isinstance(here, HiddenTargets):
            other = project(here.hidden, here.head).double().log_softmax(dim=-1)
        elif not isinstance(here, SparseTargets) or here.is_estimate:
            return None
        else:
            used = here.log_probs > -torch.inf
            exact = _with_rest(exact.gather(1, here.ids).masked_fill(~used, -torch.inf))
            other = _with_rest(here.log_probs.double())
        terms = exact.exp() * (exact - other)
        total += float(terms.where(exact > -torch.inf, 0).sum())
    return total / len(said.hidden)


def _with_rest(log_probs: torch.Tensor) -> torch.Tensor:
    rest = (1 - log_probs.exp().sum(dim=-1, keepdim=True)).clamp(min=1e-12)
    return torch.cat([log_probs, rest.log()], dim=-1)


def _entropy(said: HiddenOutputs) -> float:
    log_p = project(said.hidden, said.head).log_softmax(dim=-1)
    return float(-(log_p.exp() * log_p).sum(dim=-1).mean())


def _about(said: HiddenOutputs) -> dict[str, float]:
    """How spread a teacher's answers are: what sizes depend on."""
    keys, positions = np.zeros(1, "S16"), np.array([len(said.hidden)])
    draws = Sampled(draws=50).select(said, Draws(0, keys, positions))["ids"]
    rest = TopK(k=50).select(said, Draws(0, keys, positions))["rest"][:, 0]
    entropies = [_entropy(HiddenOutputs(part, said.head)) for part in said.hidden.split(EXAMPLE)]
    return {
        "vocabulary": said.head.size,
        "positions": len(said.hidden),
        "entropy": statistics.mean(entropies),
        "unique_of_50_draws": 1 + float((np.diff(draws, axis=1) != 0).sum(axis=1).mean()),
        "mass_of_top_50": 1 - float(rest.mean()),
    }


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def _label(codec: Codec) -> str:
    settings = codec.settings()
    return " ".join([settings.pop("name"), *(f"{k}={v}" for k, v in settings.items())])


def _show(name: str, about: dict[str, float], figures: dict[str, dict[str, Any]]) -> None:
    facts = ", ".join(f"{k.replace('_', ' ')} {v:,.4g}" for k, v in about.items())
    table = Table("codec", title=f"{name}: {facts}", title_justify="left")
    for column in ("bytes", "shared MB", "kl", "pick /s", "encode /s", "decode /s"):
        table.add_column(column, justify="right")
    for label, row in figures.items():
        table.add_row(
            label,
            f"{row['bytes']:,.2f}",
            f"{row['shared_bytes'] / 1e6:.1f}" if row["shared_bytes"] else "",
            "" if row["kl"] is None else f"{row['kl']:.1e}",
            *(f"{row[what]:,.0f}" for what in ("pick", "encode", "decode")),
        )
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, help="a GGUF file, or a model's folder")
    parser.add_argument("--text", type=Path, help="what the teacher is asked about")
    parser.add_argument("--positions", type=int, default=4000)
    parser.add_argument("--context", type=int, default=1000, help="tokens that it sees at once")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args()
    if (chosen.teacher is None) != (chosen.text is None):
        parser.error("--teacher and --text belong together")
    torch.set_num_threads(chosen.threads)
    count = chosen.positions // EXAMPLE * EXAMPLE
    teachers = {"synthetic, 151,936": lambda: synthetic(151_936, positions=count)}
    if chosen.teacher:
        name = chosen.teacher.name
        teachers = {
            name: lambda: real(chosen.teacher, chosen.text, positions=count, context=chosen.context)
        } | teachers
    else:
        teachers = {"synthetic, 49,152": lambda: synthetic(49_152, positions=count)} | teachers
    every = {}
    for name, make in teachers.items():
        said = make()
        about = _about(said)
        figures = {_label(codec): measure(codec, said, rounds=chosen.rounds) for codec in CODECS}
        _show(name, about, figures)
        every[name] = {"teacher": about, "codecs": figures}
    if chosen.json:
        chosen.json.write_text(json.dumps(every, indent=1) + "\n")


if __name__ == "__main__":
    main()
