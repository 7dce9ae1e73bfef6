"""The keys at the root of a run config, beside its groups."""

from dataclasses import dataclass, field
from typing import Any, Literal

from distillkit.artifacts.digests import Mode
from distillkit.compression.formats import Calibration, Name
from distillkit.setting_types import Positive, PositiveInt, Seed


@dataclass(frozen=True)
class WorkspaceSettings:
    """The folder that artifacts live in, and how they are looked after.

    Files are held against the sha256 in their artifact's manifest: `once` in a machine's session
    (since it was started), `always`, once a command, or `never`. With `repair` what is damaged is
    made again.
    """

    path: str
    verify: Mode = "once"
    repair: bool = False


@dataclass(frozen=True)
class SweepSettings:
    """What a sweeper that chooses for itself goes by: one objective, or a list of them.

    `validation` is the student's score on the validation rows; nothing is tuned on held-out ones.
    """

    objective: str | list[str] = "validation"


@dataclass(frozen=True)
class RunSettings:
    """`workspace` holds the fields of `WorkspaceSettings`, and `sweep` those of `SweepSettings`.

    `control`: also train the same student on hard labels alone, for as many steps.

    `trusted` adds names and packages that `_target_` may be of, and `trust_remote_code` lets
    transformers run a model's own code; both are taken from the command line only. `about` is what
    a recipe says of itself, and `published` what others measured with its settings.

    `phases` are trainings one after the other: name -> overrides of the run's config. Each starts
    from the student of the one before; `start` among its overrides names an earlier one, or `new`.

    `compression` names the formats that the student is also written in, and evaluated, and
    `calibration` how onnx_int8_static has its ranges of activations. `models`
    are what `evaluate` measures in place of the run's own student: folders and hub ids.
    `hardware`, `processes` and `tokens` are what `plan` is made for, no part of a run.
    `quantization` holds the fields of `QuantizationSettings`.
    `tracker` is where training is logged beside metrics.jsonl.
    """

    workspace: dict[str, Any]
    run_name: str
    seed: Seed = 0
    control: bool = True
    trusted: list[str] | None = None
    trust_remote_code: bool = False
    hardware: (
        Literal["a10", "a100", "h100", "h200", "l4", "l40s", "rtx4090", "t4", "v100"] | None
    ) = None
    processes: PositiveInt | None = None
    tokens: Positive | None = None
    about: dict[str, Any] | None = None
    published: list[dict[str, Any]] | None = None
    phases: dict[str, list[str]] | None = None
    start: str | None = None
    sweep: dict[str, Any] = field(default_factory=dict)
    compression: list[Name] = field(default_factory=list)
    calibration: Calibration = "minmax"
    quantization: dict[str, Any] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    tracker: Literal["none", "tensorboard", "wandb", "mlflow", "trackio"] = "none"


GROUPS = (
    "teacher",
    "student",
    "loss",
    "data",
    "augmentation",
    "optimizer",
    "scheduler",
    "task",
    "targets",
    "trainer",
    "evaluation",
)
COMMAND_LINE_ONLY = ("trusted", "trust_remote_code")
