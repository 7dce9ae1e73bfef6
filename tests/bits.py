"""Bits of losses, codecs and whole runs, to tell whether a change of the code changed any result.

    python -m tests.bits record FILE [PART…]    sha256 of everything, or of what begins with PART
    python -m tests.bits compare FILE [PART…]   the same again; says what differs, exit code 1

Bits hold for one machine, one set of versions and one number of threads: record before a change and
compare after it, in the same place.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from tests import tiny, tiny_language
from tests.cli.runs import QUICK
from tests.contract.listing import LOSSES

WHOLE = [*QUICK, "evaluation.resamples=5", "control=false"]
SHORT = [  # after `WHOLE`, which has epochs
    "data.transfer_size=600",
    "data.transfer_spans=0",
    "teacher.max_steps=10",
    "teacher.check=off",
    "trainer.steps=60",
    "trainer.epochs=null",
]
RECIPES = {
    "bert-tiny": SHORT,
    "textcnn": SHORT,
    "smollm2-mini": ["data.train_size=8", "data.held_out_size=2", "student.calibration_examples=1"],
}
ENCODER = [
    "loss=forward_kl",
    "loss=logit_mse",
    "loss=dkd",
    "loss=taid",
    "loss=rank_net",
    "student=textcnn",
    "student=bilstm",
    "data.transfer_spans=2",
]
LANGUAGE = [
    "targets=stored",
    "targets=last_hidden",
    "targets=sampled",
    "targets=sampled_logits",
    "targets=top_k targets.codec.k=8",
    "targets=top_p targets.codec.k=8",
    "targets=online",
]
RESULTS = (".safetensors", ".arrow")
LONGEST = 3600  # seconds of a run


def every_loss() -> Iterator[tuple[str, str]]:
    """The name and bits of each listed loss: values and gradient at each of its settings."""
    for loss in LOSSES:
        for dtype in (torch.float32, torch.float64):
            digest = hashlib.sha256()
            for settings in loss.settings():
                student, target = loss.random(7, dtype=dtype)
                student.requires_grad_()
                values = loss.values(student, target, **settings)
                (gradient,) = torch.autograd.grad(values.sum(), student)
                for tensor in (values, gradient):
                    digest.update(tensor.detach().numpy().tobytes())
            yield f"loss {loss.name} {str(dtype).removeprefix('torch.')}", digest.hexdigest()


def every_run() -> Iterator[tuple[str, list[str], Path]]:
    """A name, the words and the folder of each run."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        reviews, body = folder / "reviews", folder / "body"
        for each in (reviews, body):
            each.mkdir()
        train, transfer = tiny.write_reviews(reviews)
        tiny.write_model(body)
        teacher = tiny_language.write_model(folder / "teacher")
        documents = tiny_language.write_documents(reviews)
        for more in ENCODER:
            words = tiny.small(body, train, transfer, folder / "encoder" / more)
            if more.startswith("student="):  # has other sizes
                words = [word for word in words if not word.startswith("student.")]
            yield f"encoder {more}", [*words, *more.split()], folder
        for more in LANGUAGE:
            workspace = folder / "language" / more
            words = tiny_language.small(teacher, documents, workspace, *more.split())
            if more == "targets=online":  # which has no shards
                words = [word for word in words if not word.startswith("targets.")]
            yield f"language {more}", words, folder
        for name, more in RECIPES.items():
            words = [f"+recipe={name}", *WHOLE, *more, f"workspace={folder / 'recipes'}"]
            yield f"recipe {name}", words, folder


def bits(workspace: Path) -> Iterator[tuple[str, str]]:
    """The kind and file name, and the sha256, of each tensor and table of the workspace's last run.

    Runs may share a workspace; what the others made is not theirs, and downloads have checksums.
    """
    records = sorted((workspace / ".runs").glob("*.json"), key=lambda path: path.stat().st_mtime)
    content = json.loads(records[-1].read_text())
    for name in sorted({*content["made"], *content["used"]}):
        for path in sorted((workspace / name).rglob("*")):
            if path.suffix in RESULTS and path.is_file():
                inside = path.relative_to(workspace / name).as_posix()
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                yield f"{name.rsplit('-', 1)[0]}/{inside}", digest


def every_part(parts: list[str]) -> Iterator[tuple[str, str | list[str]]]:
    """Each name and its bits, of what begins with one of `parts`; files of one name are sorted."""

    def is_wanted(name: str) -> bool:
        return not parts or any(name.startswith(part) for part in parts)

    yield from ((name, digest) for name, digest in every_loss() if is_wanted(name))
    if parts and all(part.startswith("loss ") for part in parts):
        return
    for name, words, folder in every_run():
        if not is_wanted(name):
            continue
        sys.stderr.write(f"{name}\n")
        result = tiny.run("train", *words, cwd=folder, timeout=LONGEST)
        if result.returncode:
            sys.stderr.write(f"failed: {result.stderr[-2000:]}\n")
            yield name, "failed"
            continue
        (word,) = (word for word in words if word.startswith("workspace="))
        files: dict[str, list[str]] = {}
        for file, digest in bits(Path(word.partition("=")[2])):
            files.setdefault(f"{name}: {file}", []).append(digest)
        yield from ((file, sorted(digests)) for file, digests in files.items())


def record(file: Path, parts: list[str]) -> dict[str, str | list[str]]:
    """Write each part as soon as it is there, beside what the file holds of others."""
    now = json.loads(file.read_text()) if file.exists() else {}
    for name, digest in every_part(parts):
        now[name] = digest
        file.write_text(json.dumps(now, indent=1) + "\n")
    return now


def main(command: str, file: str, *parts: str) -> None:
    """Record, or compare."""
    if command == "record":
        now = record(Path(file), list(parts))
        sys.stdout.write(f"{len(now)} recorded\n")
        sys.exit(1 if "failed" in now.values() else 0)
    now = dict(every_part(list(parts)))
    before = json.loads(Path(file).read_text())
    if parts:
        before = {k: v for k, v in before.items() if any(k.startswith(part) for part in parts)}
    differing = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    for name in differing:
        in_both = name in before and name in now
        sys.stdout.write(f"{'differs' if in_both else 'only in one'}: {name}\n")
    equal = len(before.keys() & now.keys()) - len(differing)
    sys.stdout.write(f"{equal} equal, {len(differing)} not\n")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
