#!/usr/bin/env python3
"""What is kept of a teacher, and how well a student learns from it: one real experiment.

    ce          the text alone, no teacher
    top-12      the 12 likeliest ids, renormalised, as Top-K is described in arXiv 2503.16870
    top-50      the 50 likeliest ids, likewise
    sampled-50  50 draws, an unbiased estimate of the whole distribution (Random Sampling KD)
    full        the whole distribution, out of the teacher's last hidden states and its head

The same small student, batches and steps in every arm; only what it is taught differs. The teacher
(SmolLM2-135M-Instruct) reads the text (IMDB reviews) once: its last hidden states are kept, and the
other stores are converted from them. Everything is an artifact of the workspace, so that a killed
run goes on with the same command, and another seed or arm costs only itself.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from timing import device

from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.config import overrides
from distillkit.console.progress import say
from distillkit.evaluation.language import SCORES
from distillkit.metrics.interval import bootstrap_difference
from distillkit.models.saved import SavedModel
from distillkit.pipeline.build_context import build_context
from distillkit.pipeline.evaluation import Row
from distillkit.pipeline.run import Run
from distillkit.targets import Sampled, StoredTargets, StoreManifest, TopK
from distillkit.targets.convert import convert
from distillkit.training.learning import MODEL

RUN = [
    "teacher=smollm2",
    "data=imdb_documents",
    "task=causal_lm",
    "task.max_length=128",
    "targets=last_hidden",
    "targets.shard_tokens=8192",
    "targets.batch_tokens=2048",
    "student=scratch",
    "student.embeddings=pca",
    "student.config.model_type=llama",
    "student.config.num_hidden_layers=2",
    "student.config.hidden_size=64",
    "student.config.intermediate_size=256",
    "student.config.num_attention_heads=4",
    "student.config.num_key_value_heads=4",
    "student.config.tie_word_embeddings=true",
    "optimizer.lr=3e-3",
    "trainer.epochs=1",
    "trainer.batch_size=8",
    "trainer.keep=last",
    "trainer.eval_every=1000000",
    "evaluation.samples=0",
    "evaluation.latency_examples=1",
    "evaluation.throughput_batches=1",
    "control=false",
]
SOFT = ["loss=soft_cross_entropy", "loss.temperature=1.0", "loss.rest=renormalise"]
STORES = {"top-12": TopK(k=12), "top-50": TopK(k=50), "sampled-50": Sampled(draws=50)}
ARMS = ("ce", *STORES, "full")


def run_of(words: list[str], *makes: str) -> Run:
    """The run of a config, checked as on a command line."""
    settled = {word.partition("=")[0]: word for word in (*RUN, *words)}  # the last one counts
    return Run(build_context(overrides.check([*settled.values()]).cfg, makes=makes))


def stores(words: list[str]) -> dict[str, Path]:
    """The target stores: asked of the teacher once, then converted."""
    exact = run_of([*words, *SOFT], "teacher", "targets").target_store.folder
    found = {"full": exact}
    for arm, codec in STORES.items():
        path = exact.with_name(f"{arm}-{StoreManifest.open(exact).fingerprint}")
        if not path.is_dir():
            say(f"{arm}: converting")
            convert(exact, path, StoredTargets(codec=codec), device=device())
        found[arm] = path
    return found


def student(arm: str, seed: int, words: list[str], kept: dict[str, Path]) -> Artifact:
    """The trained student of an arm."""
    taught = ["loss=hard_labels"] if arm == "ce" else [*SOFT, f"targets.path={kept[arm]}"]
    students = run_of([*words, *taught, f"seed={seed}"], "student").students
    return students.obtain(students.student)


def scores(seed: int, words: list[str], students: dict[str, Artifact]) -> dict[str, Any]:
    """name -> values of each held-out position, teacher and all arms of a seed."""
    measured = run_of([*words, "loss=hard_labels", f"seed={seed}"])
    teachers = measured.teachers
    models: dict[str, Row] = {
        "teacher": (teachers.saved, fingerprint(teachers.fingerprint_fields()))
    }
    for arm, artifact in students.items():
        folder = str(artifact.path / MODEL)
        models[arm] = (SavedModel(folder, f"student {arm}", None, False), artifact.fingerprint)
    found = measured.evaluation.obtain(models)
    with np.load(found.path / SCORES) as arrays:
        return {name: arrays[name] for name in arrays.files}


def windows(words: list[str], students: dict[str, Artifact]) -> np.ndarray:
    """The window that each held-out position belongs to: those of one are not independent."""
    measured = run_of([*words, "loss=hard_labels"])
    folder = str(next(iter(students.values())).path / MODEL)
    task = measured.context.task
    tokenizer = task.load_tokenizer(folder, key="student")
    texts = measured.text.corpus.split("test")
    table, _ = task.tokenise(texts, tokenizer, label="the test texts", held_out=True)
    return np.repeat(np.arange(len(table)), table.positions)


def summary(found: list[dict[str, Any]], owner: np.ndarray) -> dict[str, Any]:
    """Means over an arm's seeds, and differences to `ce`, paired by seed and by window."""
    counts = np.bincount(owner)

    def having(arm: str) -> list[dict[str, Any]]:
        return [seed for seed in found if f"{arm}.nll" in seed]

    def each(arm: str, seeds: list[dict[str, Any]]) -> np.ndarray:
        return np.array([float(seed[f"{arm}.nll"].mean(dtype=np.float64)) for seed in seeds])

    def nats(windows: np.ndarray, _: np.ndarray) -> float:
        return float(windows[:, 0].sum() / windows[:, 1].sum())

    def by_window(arm: str, seeds: list[dict[str, Any]]) -> np.ndarray:
        mean = np.mean([seed[f"{arm}.nll"] for seed in seeds], axis=0, dtype=np.float64)
        return np.stack([np.bincount(owner, weights=mean), counts], axis=1)

    rows: dict[str, Any] = {}
    for arm in ("teacher", *ARMS):
        seeds = having(arm)
        if not seeds:
            continue
        rows[arm] = {
            "nats": float(each(arm, seeds).mean()),
            "by_seed": each(arm, seeds).tolist(),
            "agreement": float(np.mean([seed[f"{arm}.agreement"].mean() for seed in seeds])),
            "kl_to_teacher": float(np.mean([seed[f"{arm}.kl"].mean() for seed in seeds])),
        }
        if arm not in ("teacher", "ce"):
            difference, low, high = bootstrap_difference(
                nats,
                by_window(arm, seeds),
                by_window("ce", seeds),
                counts,
                resamples=2000,
                level=0.95,
            )
            rows[arm]["minus_ce"] = {
                "difference": difference,
                "low": low,
                "high": high,
                "by_seed": (each(arm, seeds) - each("ce", seeds)).tolist(),
            }
    return rows


def shown(rows: dict[str, Any]) -> str:
    """The table of scripts/bench/README.md."""
    lines = [
        "| | nats a token | minus `ce` [95 % over windows] | of each seed | agreement | KL |",
        "| --- | ---: | --- | --- | ---: | ---: |",
    ]
    for arm, row in rows.items():
        versus = row.get("minus_ce")
        parts = ["", ""]
        if versus:
            parts[0] = "{difference:+.3f} [{low:+.3f}, {high:+.3f}]".format(**versus)
            parts[1] = ", ".join(f"{value:+.3f}" for value in versus["by_seed"])
        lines.append(
            f"| {arm} | {row['nats']:.3f} | {parts[0]} | {parts[1]} | {row['agreement']:.3f} "
            f"| {row['kl_to_teacher']:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--workspace", default=".distillkit", help="where artifacts live")
    parser.add_argument("--documents", type=int, default=800, help="reviews to train on")
    parser.add_argument("--held-out", type=int, default=60, help="reviews to test on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--only",
        nargs=2,
        metavar=("ARM", "SEED"),
        help="make this student and no table: for runs side by side, once the stores are there",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="ARM-SEED",
        help="leave this student out of the table, as full-2 (again for another); never `ce`",
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("more", nargs="*", help="further overrides, as optimizer.lr=1e-3")
    chosen = parser.parse_args()
    words = [
        f"workspace={chosen.workspace}",
        f"data.train_size={chosen.documents}",
        f"data.held_out_size={chosen.held_out}",
        *chosen.more,
    ]
    kept = stores(words)
    if chosen.only:
        arm, seed = chosen.only
        student(arm, int(seed), words, kept)
        return
    found, owner = [], np.zeros(0, np.int64)
    for seed in range(chosen.seeds):
        students = {}
        for arm in ARMS:
            if f"{arm}-{seed}" in chosen.without:
                continue
            say(f"{arm}: seed {seed}")
            students[arm] = student(arm, seed, words, kept)
        found.append(scores(seed, words, students))
        owner = owner if len(owner) else windows(words, students)
        print(
            f"after {seed + 1} of {chosen.seeds} seeds\n\n{shown(summary(found, owner))}\n",
            flush=True,
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(summary(found, owner), indent=1) + "\n")


if __name__ == "__main__":
    main()
