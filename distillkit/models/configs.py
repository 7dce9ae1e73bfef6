"""What a model's config shows of whether it can be distilled, before any text or weight is read."""

from pathlib import Path
from typing import Any

from torch import nn

from distillkit.console.wording import nearest
from distillkit.errors import ConfigError, ModelError
from distillkit.models.folders import check_adapter, config_settings, place
from distillkit.models.loading import one_line, quiet
from distillkit.models.runtimes.record import record_of
from distillkit.models.sizes import check_numbers, check_weights

CAUSAL, MASKED = "AutoModelForCausalLM", "AutoModelForMaskedLM"
USES = {  # what an auto class of transformers is for, in words
    CAUSAL: "a causal language model",
    MASKED: "a masked language model",
    "AutoModelForQuestionAnswering": "a model that answers questions out of a passage",
    "AutoModelForSequenceClassification": "a classifier of texts",
    "AutoModelForTokenClassification": "a tagger of words",
}
BOTH_SIDES = ("xlnet",)  # which no table of transformers tells from a decoder
FEWEST = 3  # tokens of a text: one word between what begins and ends it
OTHER_SENSES = ("vision_config", "audio_config", "image_size", "num_mel_bins", "conv_kernel")


def config_of(folder: str, *, key: str, trust_remote_code: bool = False) -> Any:
    """The config of a folder, hub id or GGUF file; raises `ModelError`."""
    from transformers import AutoConfig

    location, gguf = place(folder)
    if gguf:
        return _config_of_gguf(location, gguf, key=key)
    check_adapter(Path(folder), f"{key} = {folder}")
    if not trust_remote_code:
        _check_model_type(folder, key=key)
    with quiet(), one_line(key, folder, "config"):
        return AutoConfig.from_pretrained(location, trust_remote_code=trust_remote_code)


def _config_of_gguf(location: str, name: str, *, key: str) -> Any:
    """The config that a GGUF file describes, its numbers checked before it is made."""
    from transformers import PreTrainedConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    file = Path(location) / name
    with quiet(), one_line(key, str(file), "config"):
        settings, _ = PreTrainedConfig.get_config_dict(location, gguf_file=name)
    at = f"{key} = {file}"
    check_numbers(settings, key=f"{at}: its header has ", sign="")
    if file.is_file():
        check_weights(settings, file.stat().st_size, at=at, described_in="header")
    with quiet(), one_line(key, str(file), "config"):
        return CONFIG_MAPPING[settings["model_type"]].from_dict(settings, name_or_path=location)


def _check_model_type(folder: str, *, key: str) -> None:
    """Raise `ModelError` for a local folder whose architecture transformers does not know."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    file = Path(folder) / "config.json"
    if not file.is_file():
        return
    settings = config_settings(Path(folder), f"{key} = {folder}")
    kind = settings.get("model_type")
    if not kind:
        raise ModelError(
            f"{key} = {folder}: its config.json has no model_type, which names the architecture; "
            "save the model anew (model.save_pretrained)"
        )
    if kind in CONFIG_MAPPING:
        return
    if settings.get("auto_map"):
        raise ModelError(
            f"{key} = {folder}: its architecture (model_type {kind}) is code of its own; read it, "
            "and set trust_remote_code=true on the command line if you trust it"
        )
    better = nearest(str(kind), CONFIG_MAPPING.keys(), always=False)
    raise ModelError(
        f"{key} = {folder}: the installed transformers does not know its architecture (model_type "
        f"{kind}; {better}); a newer one may: `pip install -U transformers`"
    )


def architecture_class(folder: str, *, key: str, trust_remote_code: bool = False) -> str:
    """The auto class of transformers that a folder's config names by its architecture.

    Raises `ModelError` for a folder of no trained model.
    """
    config = config_of(folder, key=key, trust_remote_code=trust_remote_code)
    names = [str(name) for name in getattr(config, "architectures", None) or []]
    for auto_class in USES:
        if _class_name(config, auto_class) in names:
            return auto_class
    listing = ", ".join(names) or "none"
    raise ModelError(
        f"{key} = {folder}: its config.json names no trained model (architectures: {listing}); "
        "save it with its head (model.save_pretrained)"
    )


def check_config(config: Any, auto_class: str, *, key: str) -> None:
    """Raise `ModelError` for an architecture that cannot be what `auto_class` makes.

    Encoder-decoders are no student or teacher of any task here; `key` is "setting = value".
    """
    import transformers
    from transformers.models.auto import modeling_auto as tables

    kind, use = str(config.model_type or "unknown"), USES.get(auto_class, auto_class)
    two_parts = kind in tables.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    if getattr(config, "is_encoder_decoder", False) or (two_parts and not _is_decoder(config)):
        raise ModelError(
            f"{key}: an encoder-decoder ({kind}), which reads in one part and writes in another; "
            "distillkit distils encoders (as bert) and decoders (as llama), so choose one of these"
        )
    if auto_class in (getattr(config, "auto_map", None) or {}):
        return  # code of its own, which was trusted on the command line
    if type(config) not in getattr(transformers, auto_class)._model_mapping:
        sense = next((name for name in OTHER_SENSES if hasattr(config, name)), None)
        hint = " (it reads images or sound)" if sense else ""
        raise ModelError(
            f"{key}: {kind}{hint} cannot be {use}: transformers has no such head for it "
            f"({auto_class}); choose another architecture, or another task"
        )
    is_encoder = kind in tables.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not _is_decoder(config)
    if auto_class == CAUSAL and (is_encoder or kind in BOTH_SIDES):
        raise ModelError(
            f"{key}: {kind} sees the words on both sides, so it is no causal language model; take "
            "task=masked_lm for it, or a decoder (as llama or gpt2)"
        )


def usable_positions(model: Any) -> int | None:
    """The most tokens that a model has positions for; None where there is no such number.

    RoBERTa's kind counts from the padding's id on, and has so many fewer: 512 of 514.
    """
    recorded = record_of(model.config).get("positions")
    if recorded:  # of a model whose layers are not there to be looked at
        return int(recorded)
    config = model.config.get_text_config(decoder=True)
    is_biased = getattr(config, "position_biased_input", True)
    if getattr(config, "relative_attention", False) and not is_biased:
        return None  # DeBERTa's distances have no end
    longest = getattr(config, "max_position_embeddings", None)
    if not isinstance(longest, int) or longest <= 0:  # XLNet has -1
        return None
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "position_embeddings":
            first = getattr(module, "padding_idx", None)
            rows = getattr(module, "num_embeddings", longest)
            if first is not None:
                return min(longest, rows) - first - 1
            return min(longest, rows) if isinstance(module, nn.Embedding) else longest
    return longest


def check_positions(model: Any, max_length: int, *, owner: str) -> None:
    """Raise `ConfigError` where a model has no positions for the longest text."""
    limit = usable_positions(model)
    if limit is None or max_length <= limit:
        return
    config = model.config.get_text_config(decoder=True)
    if limit < FEWEST:
        raise ConfigError(
            f"task.max_length = {max_length}: {owner} has positions for no text: its config.json "
            f"has max_position_embeddings {config.max_position_embeddings}, and a "
            f"{config.model_type} counts them from pad_token_id {config.pad_token_id} on; mend "
            "what is wrong there"
        )
    raise ConfigError(
        f"task.max_length = {max_length}: {owner} has positions for {limit} tokens; set "
        f"task.max_length={limit} or less"
    )


def check_padding_row(error: ModelError, config: Any, *, key: str) -> None:
    """Raise `ConfigError` where torch has refused a pad token without a row of embeddings."""
    if "Padding_idx must be within" not in str(error):
        return
    text = config.get_text_config(decoder=True)
    raise ConfigError(
        f"{key}: its config.json has pad_token_id {text.pad_token_id}, for which not all of its "
        f"embeddings have a row (vocab_size {getattr(text, 'vocab_size', None)}, "
        f"max_position_embeddings {getattr(text, 'max_position_embeddings', None)}); set it to the "
        "id of its tokenizer's pad token"
    ) from error


def _class_name(config: Any, auto_class: str) -> str | None:
    """The class that an auto class of transformers makes of a config."""
    import transformers

    own = (getattr(config, "auto_map", None) or {}).get(auto_class)  # as "file.Class"
    if own:
        return str(own).rpartition(".")[2]
    mapping = getattr(transformers, auto_class)._model_mapping
    if type(config) not in mapping:
        return None
    class_name = mapping[type(config)]
    return str(class_name.__name__)


def _is_decoder(config: Any) -> bool:
    """Whether a config of a kind that could be an encoder says that it reads from left to right."""
    return bool(getattr(config, "is_decoder", False) or getattr(config, "causal", False))
