"""A recipe cut to what a laptop has: MiniLM-L6 as its teacher, a small student, local text.

What is kept is what the recipe is about: its loss, its optimizer's kind, its phases on the task's
own text, and how its student is made. Figures at this scale compare with none that is published.
"""

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from distillkit.config import phases
from distillkit.config.compose import load_yaml
from distillkit.config.paths import CONF
from distillkit.errors import DataError
from scripts.reproduction import local_data

SIZE = ["data.transfer_size=4000"]  # of the wheel's reviews
LENGTH = [
    "trainer.epochs=null",
    "trainer.batch_size=32",
    "trainer.micro_batch_size=null",
    "trainer.eval_every=100",
    "scheduler.warmup=0.1",
    "evaluation.latency_examples=10",
    "evaluation.throughput_batches=1",
    "evaluation.resamples=200",
]
# three layers, for the teacher's six; its number of heads, for losses that compare them one by one
NEW = [
    "student=scratch",
    "student.path=null",
    "student.embeddings=pca",
    "student.config={model_type:bert,num_hidden_layers:3,hidden_size:192,num_attention_heads:12,"
    "intermediate_size:768}",
    "optimizer.lr=1e-3",
]
OF_WHEELS = "pypi://"


def words(cfg: DictConfig, data: Path | None, out: Path, steps: int) -> list[str]:
    """The overrides that cut a recipe. Raises `DataError` where nothing local stands in for it."""
    task = str(cfg.task["_target_"]).rpartition(".")[2]
    if task in ("CausalLM", "MaskedLM", "QuestionAnswering"):
        if str(cfg.teacher.get("path") or "").startswith(OF_WHEELS):
            return [f"trainer.steps={steps}", "trainer.epochs=null"]
        raise DataError(f"task {task}: no wheel and no local set stands in for it")
    if str(cfg.data.train).startswith(OF_WHEELS):
        return [*LENGTH, *SIZE, "data.transfer_spans=0", f"trainer.steps={steps}"]
    name = text(cfg)
    chosen = local_data.overrides(name, data, out)
    length = [*LENGTH, f"trainer.steps={steps}", "task.max_length=64"]
    teacher = [] if name == "snownlp" else minilm()
    parts = (student(cfg), copies(cfg), layer_maps(cfg), length, line(cfg))
    return [*chosen, *teacher, *(word for part in parts for word in part)]


def minilm() -> list[str]:
    """The teacher of the wheel, fitted once over the text."""
    body = load_yaml(CONF / "teacher" / "minilm.yaml")["body"]
    size = ["teacher.epochs=1", "teacher.lr=5e-5", "teacher.batch_size=32"]
    return [f"teacher.body='{body}'", "teacher.path=null", *size]


def text(cfg: DictConfig) -> str:
    """The local set that stands in for a recipe's: of its own kind, or the set itself."""
    if "snownlp" in str(cfg.data.train):
        return "snownlp"
    found = re.search(r"glue:(\w+)", str(cfg.data.train))
    own = found[1] if found and found[1] in local_data.SETS else ""
    return own or ("mrpc" if cfg.data.get("text_pair") else "sst2")


def student(cfg: DictConfig) -> list[str]:
    """A student made in the recipe's way, as small as the teacher asks for."""
    kind = str(cfg.student["_target_"]).rpartition(".")[2]
    if kind == "FromTeacher":
        return ["student.layers=3", "optimizer.lr=1e-4"]
    config: Any = cfg.student.get("config") or {}
    if str(config.get("model_type", "")).startswith("distillkit_"):
        return ["student.config.embedding_size=128"]
    return NEW


def copies(cfg: DictConfig) -> list[str]:
    """Two copies of a text at most; none where a masked language model would write them."""
    kind = str(cfg.augmentation["_target_"]).rpartition(".")[2]
    if kind == "MaskAndRefill":
        return ["augmentation=none"]
    return ["augmentation.copies=2"] if cfg.augmentation.get("copies") else []


def layer_maps(cfg: DictConfig) -> list[str]:
    """Maps between the layers of the paper's models, made uniform between these."""
    loss = OmegaConf.to_container(cfg.loss, resolve=True)
    assert isinstance(loss, dict)
    terms = {f"loss.terms.{name}": term for name, term in (loss.get("terms") or {}).items()}
    found = {"loss": loss, **terms}
    pairs = {key: term.get("layers") for key, term in found.items()}
    return [
        f"{key}.layers=uniform"
        for key, layers in pairs.items()
        if isinstance(layers, list) and layers != [[-1, -1]]
    ]


def line(cfg: DictConfig) -> list[str]:
    """The phases on the task's own text; those on text of no task are left out."""
    declared = phases.declared(cfg)
    of_task = {n: w for n, w in declared.items() if not any(x.startswith("data=") for x in w)}
    # a new student of so few steps takes the run's rate, not that of a pretrained one
    own = ("trainer.epochs", "optimizer.lr")
    kept = {n: [x for x in w if not x.startswith(own)] for n, w in of_task.items()}
    gone = [f"~phases.{n}" for n in declared if n not in kept]
    return [*gone, *phases.as_words(kept, kept)]
