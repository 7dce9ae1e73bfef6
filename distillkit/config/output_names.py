"""Where a run's outputs go: a name that is a folder's, and none that came from the environment."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from distillkit.config.file_checks import NO_RUN_NAME, RUN_NAME
from distillkit.config.keys import as_written
from distillkit.config.schema import display
from distillkit.console.masking import masked

OF_ENVIRONMENT = (
    "a run's name stands in folders and reports, and what comes from the environment is written "
    "nowhere; write the name out"
)


WRITTEN = ("data.label_names", "teacher.labels", "data.template")  # into the student's own files
OF_STUDENT = (
    "it stands in the files of the student, and what comes from the environment is written "
    "nowhere; write it out"
)


def folder_problems(hydra: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the folders of Hydra's own settings: one that is empty is the current."""
    for name in ("run", "sweep"):
        folder = (hydra.get(name) or {}).get("dir")
        if isinstance(folder, str) and not folder.strip():
            key = f"hydra.{name}.dir"
            yield f"{key} = {folder!r}", f"needs a folder after it, as {key}=FOLDER"


def output_problems(
    cfg: DictConfig, *, by_hand: bool, secret: Collection[str]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the names of a run and its workspace.

    `by_hand`: the command line names the run, and not a file, whose name is to be a plain one.
    `secret` are the variables of the environment that the command line refers to.
    """
    path = OmegaConf.select(cfg, "workspace.path", throw_on_missing=False)
    if isinstance(path, str) and not path.strip():
        yield f"workspace.path = {path!r}", "needs a folder after it, as workspace=FOLDER"
    for key in WRITTEN:
        value, text = OmegaConf.select(cfg, key), as_written(cfg, key)
        if isinstance(value, ListConfig):
            value = OmegaConf.to_container(value, resolve=True)
        if masked(str(value), secret) != str(value) or "{oc.env:" in str(text):
            yield f"{key} = {display(text)}", OF_STUDENT
    name, text = str(cfg.run_name), as_written(cfg, "run_name")
    if masked(name, secret) != name or "{oc.env:" in str(text):
        yield f"run_name = {text}", OF_ENVIRONMENT
    elif not by_hand and not RUN_NAME.fullmatch(name):
        yield f"run_name = {display(name)}", NO_RUN_NAME
