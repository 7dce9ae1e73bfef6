"""Model folders as readers of several years read them."""

from pathlib import Path
from typing import Any

from distillkit.artifacts.workspace import read_json, write_json
from distillkit.models.legacy import legacy_config, legacy_tokenizer
from distillkit.models.loading import quiet
from distillkit.models.padding import takes_segments
from distillkit.models.runtimes.record import RECORD

CONFIG, TOKENIZER = "config.json", "tokenizer_config.json"
OWN_MACHINE = ("is_local", "local_files_only")  # of how a tokenizer was loaded, not of what it is


def save_folder(
    model: Any, tokenizer: Any, folder: Path, *, max_length: int, segments: bool = True
) -> None:
    """Write a model and its tokenizer in Hugging Face format, as safetensors.

    `max_length` is the tokens that the model was trained on, and becomes `model_max_length`. Where
    it was trained without `segments` the tokenizer gives none.
    """
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    settings = read_json(folder / TOKENIZER)
    config_fields = {k: v for k, v in settings.items() if k not in OWN_MACHINE}
    config_fields |= {"model_max_length": max_length, "padding_side": tokenizer.padding_side}
    if not segments or not takes_segments(model):
        names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
        config_fields["model_input_names"] = names
    write_json(folder / TOKENIZER, legacy_tokenizer(config_fields, tokenizer.model_input_names))
    config = read_json(folder / CONFIG)
    config.pop(RECORD, None)  # of what it started from
    write_json(folder / CONFIG, config | legacy_config(config))
