"""What each way of teaching adds: one fitted teacher, one small student, as many steps in each arm.

    control      the labels alone                      kd           and the teacher's logits
    hidden       kd + hidden states and embeddings     attention    kd + attention scores
    relation     kd + query, key and value relations   pkd          kd + [CLS] states of the layers
    textcnn, bilstm, layer-init                        kd, of other students: Kim's, Tang's, and one
                                                       cut out of the teacher; each has a control

Everything is an artifact of the workspace, so that a killed run goes on with the same command, and
another seed, arm or set of text costs only itself.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.artifacts.workspace import Artifact
from distillkit.config import overrides
from distillkit.console.progress import say
from distillkit.errors import ConfigError, ModelError
from distillkit.models.saved import SavedModel
from distillkit.pipeline.build_context import build_context
from distillkit.pipeline.run import Run
from distillkit.training.learning import MODEL
from scripts.reproduction import figures, local_data

README = Path(__file__).resolve().parents[2] / "recipes" / "README.md"
LOSSES = "distillkit.losses"
RUN = [
    "task.max_length=32",
    "teacher.epochs=1",
    "optimizer.lr=1e-3",
    "scheduler.warmup=0.1",
    "trainer.steps=100",
    "trainer.epochs=null",
    "trainer.keep=last",
    "trainer.eval_every=1000000",
    "evaluation.latency_examples=1",
    "evaluation.throughput_batches=1",
    "evaluation.resamples=2",
    "control=false",
]
STUDENTS = {
    "": [
        "student=scratch",
        "student.embeddings=pca",
        "student.config={model_type:bert,num_hidden_layers:3,hidden_size:192,"
        "num_attention_heads:12,intermediate_size:768,hidden_dropout_prob:0.0,"
        "attention_probs_dropout_prob:0.0}",
    ],
    "textcnn": ["student=textcnn", "student.embeddings=pca", "student.config.embedding_size=128"],
    "bilstm": ["student=bilstm", "student.embeddings=pca", "student.config.embedding_size=128"],
    "layer-init": ["student=from_teacher", "student.layers=3"],
}
INSIDE = {  # beside the logits
    "hidden": {"_target_": f"{LOSSES}.HiddenMSE", "layers": "uniform", "projection": "shared"},
    "attention": {"_target_": f"{LOSSES}.AttentionMSE", "layers": "uniform"},
    "relation": {"_target_": f"{LOSSES}.Relations", "relation_heads": 12},
    "pkd": {"_target_": f"{LOSSES}.Patience", "layers": "skip", "projection": "shared"},
}
KL = {"_target_": f"{LOSSES}.ForwardKL", "temperature": 4.0}
MSE = {"_target_": f"{LOSSES}.LogitMSE"}  # of regression
ARMS = ("control", "kd", *INSIDE, *(f"{s}{c}" for s in STUDENTS if s for c in ("-control", "")))
TITLES = ("text", "arm", "student", "seeds", "steps", "score", "gain over its control")


def run_of(words: list[str], *makes: str, loss: dict[str, Any] | None = None) -> Run:
    """The run of a config, checked as on a command line; of a key said twice the last counts.

    `loss` takes the place of the config's.
    """
    settled = {word.partition("=")[0]: word for word in (*RUN, *words)}
    cfg = overrides.check([*settled.values()]).cfg
    if loss:
        cfg.loss = loss
    return Run(build_context(cfg, makes=makes))


def of_arm(arm: str, soft: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """(the overrides, the loss) that make an arm; `soft` is the loss on the teacher's logits."""
    student = STUDENTS.get(arm.removesuffix("-control"), STUDENTS[""])
    if arm.endswith("control"):
        return student, {"_target_": f"{LOSSES}.HardLabelLoss"}
    if arm not in INSIDE:
        return student, soft
    terms = {"kd": soft, "inside": INSIDE[arm]}
    mixture = {
        "_target_": f"{LOSSES}.Mixture",
        "terms": terms,
        "weights": dict.fromkeys(terms, 1.0),
    }
    return [*student, "targets=online"], mixture


def fitted(words: list[str]) -> str:
    """The folder of the teacher that all arms and seeds share."""
    fit = run_of([*words, "teacher=minilm", "loss=hard_labels", "seed=0"], "teacher")
    return fit.teachers.members[0].saved.folder


def score(measured: Run, model: SavedModel, fingerprint: str) -> float:
    """The headline on the held-out split, in per cent where it is a share."""
    found: Artifact = measured.evaluation.obtain({"student": (model, fingerprint)})
    headline = measured.context.task.headline
    return figures.scaled(headline, [found.facts()["rows"]["student"][headline]])[0]


def measure(arm: str, seed: int, words: list[str], soft: dict[str, Any]) -> float:
    """Train an arm's student, unless it is there, and score it."""
    own, loss = of_arm(arm, soft)
    run = run_of([*words, *own, f"seed={seed}"], "targets", "student", loss=loss)
    student = run.students.obtain(run.students.student)
    saved = SavedModel(str(student.path / MODEL), "student", None, False)
    return score(run, saved, student.fingerprint)


def control_of(arm: str) -> str:
    """The same student on hard labels alone."""
    return f"{arm}-control" if arm in STUDENTS else "control"


def row(arm: str, scores: dict[str, list[float]], text: str, steps: int) -> list[str]:
    """A row of the table; the gain is paired by seed, over the seeds that both have."""
    shape = arm.removesuffix("-control")
    values, against = scores[arm], scores.get(control_of(arm), [])
    gains = [value - other for value, other in zip(values, against, strict=False)]
    told = "" if arm.endswith("control") or not gains else figures.shown(gains)
    name = shape if shape in STUDENTS else "3 layers x 192"
    return [text, arm, name, str(len(values)), str(steps), figures.shown(values), told]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("arms", nargs="*", help=f"of {', '.join(ARMS)}; none: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--text", default="reviews", help="reviews (of the wheel), sst2, trec, …")
    parser.add_argument("--data", type=Path, help="the folder of the other sets")
    parser.add_argument("--workspace", type=Path, default=Path(".distillkit"))
    parser.add_argument("--more", nargs="*", default=[], help="overrides, as trainer.steps=1000")
    parser.add_argument("--table", type=Path, default=README, help="where the rows are written")
    chosen = parser.parse_args()
    unknown = [arm for arm in chosen.arms if arm not in ARMS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such arm; there are {', '.join(ARMS)}")
    converted = chosen.workspace / "local"
    words = [f"workspace={chosen.workspace}", *chosen.more]
    words += local_data.overrides(chosen.text, chosen.data, converted)
    soft = MSE if "task=regression" in words else KL
    teacher = fitted(words)
    words += ["teacher=local", f"teacher.path={teacher}"]

    first = run_of([*words, "loss=hard_labels"])
    model = first.teachers.members[0].model
    best = score(first, model.saved, model.origin["fingerprint"])
    steps = first.context.trainer.steps or 0
    write = partial(figures.write_rows, chosen.table, "ablation", TITLES, keys=2)
    write([[chosen.text, "teacher", "MiniLM-L6", "1", "", f"{best:.2f}", ""]])
    scores: dict[str, list[float]] = {}
    arms = [arm for arm in ARMS if arm in chosen.arms or not chosen.arms]
    for seed in range(chosen.seeds):
        for arm in [arm for arm in arms if len(scores.get(arm, [])) == seed]:
            say(f"{chosen.text}, {arm}: seed {seed}")
            try:
                value = measure(arm, seed, words, soft)
            except (ConfigError, ModelError) as error:
                say(f"{arm}: not for this text ({error})")
                continue
            scores.setdefault(arm, []).append(value)
        # after each seed, so that a run which is cut short has said what it knows
        write([row(arm, scores, chosen.text, steps) for arm in arms if arm in scores])


if __name__ == "__main__":
    main()
