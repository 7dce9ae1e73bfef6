"""Causal language models from Hugging Face folders or GGUF files: loaded safely, saved clean."""

import contextlib
import copy
import importlib.util
import io
import json
from pathlib import Path
from typing import Any, Literal

from distillkit.chat.templates import ChatTemplate
from distillkit.errors import ConfigError, DataError, ModelError
from distillkit.models.classifiers import load_tokenizer
from distillkit.models.configs import CAUSAL, check_config, config_of
from distillkit.models.folders import check_folder, place
from distillkit.models.lm_head import Body, body_and_head, check_head
from distillkit.models.loading import one_line, quiet
from distillkit.models.runtimes.record import recorded_format
from distillkit.models.saving import save_folder
from distillkit.models.sizes import bounded_modules, check_numbers
from distillkit.models.vocabularies import check_reads_back, check_same_tokenizer, real_vocabulary

__all__ = [
    "Body",
    "Quantization",
    "body_and_head",
    "check_head",
    "check_same_tokenizer",
    "load_causal_lm",
    "load_causal_tokenizer",
    "new_causal_lm",
    "real_vocabulary",
    "save_causal_lm",
]

Quantization = Literal["8bit", "4bit"]


def load_causal_lm(
    folder: str,
    *,
    key: str,
    dtype: str = "float32",
    device_map: Any = None,
    quantization: Quantization | None = None,
    trust_remote_code: bool = False,
) -> Any:
    """The language model of a folder, hub id or GGUF file, in eval mode, its head checked.

    A GGUF file's weights are unpacked to `dtype`; 8-bit ones compute in float16. Raises
    `ModelError` for pickled or missing weights and for a head that `check_head` does not know,
    `ConfigError` for a quantization that cannot be had.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    location, gguf = place(folder)
    options: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code}
    if gguf:
        options |= {"gguf_file": gguf} | _unpacked()
        if quantization:
            raise ConfigError(
                f"{_qualified(key, 'quantization')} = {quantization}: {folder} is a GGUF file, "
                "which has a quantization of its own; set it to null"
            )
        is_student = (recorded_format(location) or "").startswith("gguf")
        # transformers takes less from the file than is in it: no positions of GPT-2's
        own = _as_gguf(AutoConfig.from_pretrained(location)) if is_student else None
        options["config"] = own or config_of(folder, key=key)
    else:
        check_folder(folder, key=key)
        options |= {"use_safetensors": True, "device_map": device_map}
        options |= _quantized(quantization, dtype, key=_qualified(key, "quantization"))
    with quiet(), _no_bar(gguf), one_line(key, folder, "model"):
        model, report = AutoModelForCausalLM.from_pretrained(
            location, output_loading_info=True, **options
        )
        if gguf:
            model = _without_quantizer(model, device_map=device_map)
    if report["missing_keys"]:
        raise ModelError(
            f"{key} = {folder}: it has no weights for {_some(report['missing_keys'])}; it is no "
            f"complete language model ({type(model).__name__})"
        )
    check_head(model, key=f"{key} = {folder}")
    return model.eval()


def load_causal_tokenizer(folder: str, *, key: str, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a folder, hub id or GGUF file, with its chat template."""
    from transformers import AutoTokenizer

    location, gguf = place(folder)
    if gguf and (recorded_format(location) or "").startswith("gguf"):
        # of a student: in the file its words are cut by a name, which transformers may not know
        folder, gguf = location, None
    if not gguf:
        return load_tokenizer(folder, key=key, trust_remote_code=trust_remote_code)
    with quiet(), one_line(key, folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(location, gguf_file=gguf)
        _drop_strangers(tokenizer)
        return tokenizer


def new_causal_lm(config: dict[str, Any], tokenizer: Any, *, key: str) -> Any:
    """A language model of any transformers config, with new weights (seed torch before).

    Its vocabulary and special tokens are the tokenizer's unless the config says otherwise. On the
    meta device its head is not checked.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = dict(config)
    model_type = shape.pop("model_type", None)
    if not model_type:
        raise ModelError(f"{key}.model_type: not set; it names the architecture, as in `llama`")
    check_numbers(shape, key=key)
    size = real_vocabulary(tokenizer)
    shape = {"vocab_size": size, **_special_ids(tokenizer), **shape}
    if shape["vocab_size"] < size:
        raise ModelError(
            f"{key}.vocab_size = {shape['vocab_size']}: the tokenizer has ids up to {size - 1}"
        )
    check_reads_back(model_type, tokenizer, key=f"{key}.model_type")
    with quiet(), one_line(key, model_type, "config"), bounded_modules(f"{key} = {model_type}"):
        new_config = AutoConfig.for_model(model_type, **shape)
        check_config(new_config, CAUSAL, key=f"{key}.model_type = {model_type}")
        model = AutoModelForCausalLM.from_config(new_config, dtype="float32")
    if not next(model.parameters()).is_meta:
        check_head(model, key=f"{key}.model_type = {model_type}")
    return model


def save_causal_lm(model: Any, tokenizer: Any, folder: Path, *, max_length: int) -> None:
    """Write a model folder in Hugging Face format, as safetensors, free of any quantization.

    Raises `ModelError` for weights that are quantized in memory: they are no student.
    """
    if getattr(model, "hf_quantizer", None) is not None:
        if any(not p.is_floating_point() for p in model.parameters()):
            raise ModelError(
                f"{folder}: {type(model).__name__} is held in quantized weights, which cannot be "
                "saved as a model of their own; load it without quantization"
            )
        model = _without_quantizer(model)
    _mend_generation(model)
    _stop_at_end_of_turn(model, tokenizer)
    save_folder(model, tokenizer, folder, max_length=max_length, segments=False)


def _drop_strangers(tokenizer: Any) -> None:
    """Drop the tokens that a GGUF file does not have.

    transformers reads every byte-level vocabulary as GPT-2's and appends <|endoftext|> where it is
    missing: an id that no row of the model's belongs to.
    """
    from tokenizers import Tokenizer

    inner = tokenizer.backend_tokenizer
    size = inner.get_vocab_size(with_added_tokens=False)
    tokenizer_json = json.loads(inner.to_str())
    own = [token for token in tokenizer_json["added_tokens"] if token["id"] < size]
    if len(own) < len(tokenizer_json["added_tokens"]):
        tokenizer._tokenizer = Tokenizer.from_str(
            json.dumps(tokenizer_json | {"added_tokens": own})
        )


def _qualified(key: str, name: str) -> str:
    """Another setting of the same group."""
    return ".".join([*key.split(".")[:-1], name])


def _no_bar(gguf: str | None) -> contextlib.AbstractContextManager[Any]:
    """Keep the bar off the terminal that the GGUF reader draws whatever it is told."""
    return contextlib.redirect_stderr(io.StringIO()) if gguf else contextlib.nullcontext()


def _unpacked() -> dict[str, Any]:
    """Ask for plain weights: newer versions keep a GGUF file's blocks packed if they can."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {"quantization_config": config(dequantize=True)} if config else {}


def _quantized(quantization: Quantization | None, dtype: str, *, key: str) -> dict[str, Any]:
    if quantization is None:
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"{key} = {quantization}: needs bitsandbytes, which is not installed; "
            "pip install 'distillkit[bitsandbytes]' brings it, or set it to null"
        )
    from transformers import BitsAndBytesConfig

    if quantization == "8bit":
        # its products are float16 whatever they are given, and each cast is a line in the log
        return {
            "quantization_config": BitsAndBytesConfig(load_in_8bit=True),
            "dtype": "float16",
        }
    # NF4 with nested constants: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314, section 3
    compute = "bfloat16" if dtype == "auto" else dtype
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute,
        )
    }


def _as_gguf(config: Any) -> Any:
    """A student's config under the name that its GGUF file has: a Mistral's is a Llama's there."""
    from transformers import LlamaConfig

    if config.model_type != "mistral":
        return config
    settings = config.to_dict()
    return LlamaConfig(**{name: settings[name] for name in settings if name != "model_type"})


def _without_quantizer(model: Any, *, device_map: Any = None) -> Any:
    """The same weights in a model that never knew a quantizer, tied ones still tied.

    transformers leaves `hf_quantizer` and `config.quantization_config` behind on a model whose
    weights it has unpacked, and then refuses to save it.
    """
    config = copy.deepcopy(model.config)
    for holder in (config, config.get_text_config()):
        if hasattr(holder, "quantization_config"):
            del holder.quantization_config
    generation = model.generation_config
    fresh = type(model).from_pretrained(
        None,
        config=config,
        state_dict=model.state_dict(),
        dtype=model.dtype,
        device_map=device_map,
    )
    fresh.generation_config = generation
    return fresh


def _special_ids(tokenizer: Any) -> dict[str, int | None]:
    """The ids that a config wants to know.

    A pad token that also has another meaning is left out: the embedding of a padding id gets no
    gradient, and then a model would never learn its own end of text.
    """
    bos, eos, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    means_more = pad in (bos, eos, tokenizer.unk_token_id)
    return {
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": None if means_more else pad,
    }


def _mend_generation(model: Any) -> None:
    """Make the generation settings such as can be saved.

    Many published models have a temperature without `do_sample`, which transformers loads but
    refuses to save; sampling is what they mean.
    """
    generation = getattr(model, "generation_config", None)
    if generation is None:
        return
    try:
        generation.validate(strict=True)
    except ValueError:
        generation.do_sample = True
        with contextlib.suppress(ValueError):
            generation.validate(strict=True)
            return
        model.generation_config = type(generation).from_model_config(model.config)


def _stop_at_end_of_turn(model: Any, tokenizer: Any) -> None:
    """Let a saved model stop where its chat template ends a turn, not at end of text only."""
    if not tokenizer.chat_template or getattr(model, "generation_config", None) is None:
        return
    with contextlib.suppress(DataError):  # a template that nobody can read
        end = ChatTemplate(tokenizer).end_of_turn
        token = tokenizer.get_vocab().get(end)
        eos = model.generation_config.eos_token_id
        ends = list(eos) if isinstance(eos, (list, tuple)) else [eos]
        ends = [token_id for token_id in ends if token_id is not None]
        if token is not None and token not in ends:
            model.generation_config.eos_token_id = [*ends, token] if ends else token
            model.generation_config._from_model_config = False  # whose ends are fewer


def _some(names: Any, limit: int = 3) -> str:
    listing = sorted(names)
    return ", ".join(listing[:limit]) + (
        f" and {len(listing) - limit} more" if len(listing) > limit else ""
    )
