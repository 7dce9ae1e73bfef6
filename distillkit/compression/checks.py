"""What is wrong with a choice of formats, before any work."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from distillkit.compression.formats import CALIBRATIONS, FORMATS, Format, Kind
from distillkit.errors import ConfigError
from distillkit.models.configs import CAUSAL, MASKED
from distillkit.models.folders import place
from distillkit.models.runtimes.onnx import is_folder as is_onnx_folder
from distillkit.models.runtimes.packages import check_installed
from distillkit.models.runtimes.record import recorded_format

PLAIN = ("bf16", "pruned_vocabulary")  # formats whose folders can be written in others
KINDS: dict[str, Kind] = {CAUSAL: "causal", MASKED: "masked"}  # all others say labels
MODELS: dict[Kind, str] = {
    "labels": "a model of labels (an encoder)",
    "masked": "a masked language model",
    "causal": "a causal language model",
}


def check_formats(formats: Iterable[Format], auto_class: str) -> None:
    """Raise `ConfigError` for a format that models of `auto_class` cannot have, or lacks packages.

    `auto_class` is the one of transformers that loads the student.
    """
    kind = KINDS.get(auto_class, "labels")
    for form in formats:
        at = f"compression = {form.name}"
        if kind not in form.kinds:
            fit = [name for name, form_of_name in FORMATS.items() if kind in form_of_name.kinds]
            names = " or ".join(MODELS[kind_of_form] for kind_of_form in form.kinds)
            raise ConfigError(
                f"{at}: is for {names}, and the student is {MODELS[kind]}, which takes "
                f"{', '.join(fit)}"
            )
        check_installed(*form.packages, extra=form.extra, at=at)


def check_plain(folder: str, *, at: str) -> None:
    """Raise `ConfigError` for a student that is compressed already, and not in plain weights."""
    path = Path(folder)
    form = recorded_format(folder)
    if form is None and place(folder)[1]:
        form = "GGUF"
    if form is None and path.is_dir() and is_onnx_folder(path):
        form = "ONNX"
    if form not in (None, *PLAIN):
        raise ConfigError(f"{at}: is {form} already; name the folder that it was made of")


def formats_of(cfg: Any) -> list[Format]:
    """The formats that a config names, each once, in its order, calibrated as it says."""
    forms = [FORMATS[name] for name in dict.fromkeys(map(str, cfg.compression))]
    method = {"calibration": CALIBRATIONS[str(cfg.calibration)]}
    return [
        replace(form, settings=form.settings | method) if "calibration" in form.settings else form
        for form in forms
    ]
