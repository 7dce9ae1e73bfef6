"""The commands there are, each with the function that it is; nothing of them is imported here."""

from collections.abc import Callable, Iterable

from distillkit.cli import completion
from distillkit.config.paths import recipe_files

RUNS = {  # commands that are Hydra applications over the same run config
    "train": "distillkit.cli.commands.train:train",
    "generate-targets": "distillkit.cli.commands.generate_targets:generate_targets",
    "train-student": "distillkit.cli.commands.train_student:train_student",
    "evaluate": "distillkit.cli.commands.evaluate:evaluate",
    "compress": "distillkit.cli.commands.compress:compress",
    "plan": "distillkit.cli.commands.plan:plan",
}
ALONE = ("plan", "compress")  # of the runs: train no model, so one process does it
REPORTS = ("train", "evaluate", "compress")  # write a folder of their own
TOOLS = {  # commands with arguments of their own
    "predict": "distillkit.cli.commands.predict:main",
    "generate": "distillkit.cli.commands.generate:main",
    "publish": "distillkit.cli.commands.publish:main",
    "recipes": "distillkit.cli.commands.recipes:main",
    "targets": "distillkit.cli.commands.targets:main",
    "report": "distillkit.cli.commands.report:main",
    "workspace": "distillkit.cli.commands.workspace:main",
}
ARGUMENTS: dict[str, Callable[[], Iterable[str]]] = {  # the first ones, for completion
    "recipes": lambda: recipe_files(),
    "targets": lambda: ("inspect", "verify", "merge", "convert", "export"),
    "workspace": lambda: ("list", "verify", "remove", "size"),
    "completion": lambda: completion.SCRIPTS,
}
