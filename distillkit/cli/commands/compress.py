"""`distillkit compress`: a trained student in other formats."""

import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from distillkit.compression.checks import check_formats, check_plain, formats_of
from distillkit.compression.formats import FORMATS
from distillkit.compression.tokenizer_pruning import content_of
from distillkit.console.progress import rank, stdout
from distillkit.data.folders import model_folder
from distillkit.data.sources import identity
from distillkit.errors import ConfigError
from distillkit.models.configs import USES, architecture_class, check_positions
from distillkit.pipeline import run_folder
from distillkit.pipeline.compression import OWN, CompressionSource
from distillkit.pipeline.licenses import licenses, of_source
from distillkit.pipeline.phases import runs
from distillkit.pipeline.run import Run
from distillkit.prediction.purpose import RECORD
from distillkit.stages.compression import load


def compress(cfg: DictConfig) -> float:
    """Write `student.path`, or the student of this config, in each format; return their number."""
    formats = formats_of(cfg)
    if not formats:
        raise ConfigError(
            f"compression: names no format; set compression=[…] to some of {', '.join(FORMATS)}"
        )
    run = runs(cfg, makes=("compressed", "quantized"))[-1]
    source = _source(cfg, run)
    for form in formats:
        run.compression.obtain(form, source)
    if rank() == 0:
        with run_folder.new_report() as draft:
            run_folder.write_run(cfg, draft)
            names = run.compression.copy(draft, source, licenses=_licenses(cfg, run, source))
            record = Path(source.folder) / RECORD
            for name in names if record.is_file() else ():
                shutil.copyfile(record, draft / name / RECORD)  # how it was trained goes along
        for name in names:
            _show(run_folder.current() / name)
    return float(len(formats))


def _source(cfg: DictConfig, run: Run) -> CompressionSource:
    """The student that is compressed, of an architecture that has these formats."""
    context, students = run.context, run.students
    path: Any = cfg.student.get("path")
    key = "student.path"
    # `path` of a pretrained student is where it starts from: its trained copy comes first
    is_start = context.student.weights_source and students.find(students.student)
    if not path or is_start:
        check_formats(formats_of(cfg), context.task.auto_class)
        return run.compression.own_source()
    source = getattr(context.student, "path", path)  # of an adapter: merged with its base
    folder = model_folder(source, key=key, cache=context.workspace.assets)
    check_plain(folder, at=f"{key} = {path}")
    auto_class = architecture_class(folder, key=key, trust_remote_code=context.trust_remote_code)
    check_formats(formats_of(cfg), auto_class)
    _check_data(cfg, run, folder, auto_class)
    return CompressionSource(folder, identity(source, key=key), f"{key} = {path}")


def _licenses(cfg: DictConfig, run: Run, source: CompressionSource) -> list[dict[str, str | None]]:
    """Of what the run's own student is made of; of another student, that of its card."""
    if source.key == OWN:
        return licenses([run.context])
    cache = run.context.workspace.assets
    return [of_source("student", cfg.student.path, key=source.key, cache=cache)]


def _check_data(cfg: DictConfig, run: Run, folder: str, auto_class: str) -> None:
    """Raise for a folder from elsewhere in a format that reads data, where that does not fit it.

    What is trained further needs its run: a folder has no soft targets.
    """
    distilled = next((form.name for form in formats_of(cfg) if form.distilled), None)
    if distilled is not None:
        raise ConfigError(
            f"compression = {distilled}: trains a student on the soft targets of its run, and "
            f"student.path = {cfg.student.path} is a folder alone; name the run's config without "
            "student.path, or choose onnx_int8"
        )
    readers = [form for form in formats_of(cfg) if form.reads_data or form.calibrates]
    if not readers:
        return
    name = readers[0].name
    task, path = run.context.task, cfg.student.path
    if not run_folder.names_data():
        raise ConfigError(
            f"compression = {name}: reads the data that a student learnt from, and none is named; "
            "name the run's recipe (+recipe=…), or set data=files data.train=FILE and the task"
        )
    if task.auto_class != auto_class:
        raise ConfigError(
            f"compression = {name}: reads texts as the student does, and student.path = {path} is "
            f"{USES.get(auto_class, auto_class)}, not what task = {type(task).__name__} is for; "
            "set task to the student's"
        )
    trusts = run.context.trust_remote_code
    model = load(folder, key="student.path", trust_remote_code=trusts)
    check_positions(model, task.max_length, owner=f"student.path = {path}")
    tokenizer = task.load_tokenizer(folder, key="student.path", trust_remote_code=trusts)
    for form in readers:
        if form.reads_data:
            content_of(tokenizer, at=f"compression = {form.name}: student.path = {path}")


def _show(folder: Path) -> None:
    stdout().print(f"{folder.name}: {run_folder.relative(folder)}", soft_wrap=True)
