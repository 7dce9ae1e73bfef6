"""What the files of a model folder show, before anything is loaded from it."""

import importlib.util
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from distillkit.console.wording import brief
from distillkit.errors import ModelError
from distillkit.limits import is_of_system
from distillkit.models.runtimes.record import GGUF_FILE, RECORD
from distillkit.models.sizes import check_numbers, check_weights

INDEX = "model.safetensors.index.json"
PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
OTHER_FRAMEWORKS = {"tf_model*.h5": "TensorFlow's", "flax_model*.msgpack": "Flax's"}
# what a folder with weights of any format has, whole or not
_OF_WEIGHTS = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".gguf"),
    ".index.json",
)
VOCABULARIES = ("tokenizer.json", "vocab*", "merges.txt", "*.model", "*.tiktoken", "*.bpe.codes")
WITHOUT_VOCABULARY = (
    "ByT5",
    "Canine",
    "Perceiver",
    "Reformer",
)  # tokenizers of plain bytes or such
_KERNEL = re.compile(r"(?:paged\|)?\w*")  # by name, as sdpa or eager
_NAMED_WEIGHTS = "transformers_weights"  # a field of a config that names another file of weights
POINTER = b"version https://git-lfs"
# what transformers needs to read weights of a kind
PACKAGES = {
    "aqlm": "aqlm",
    "auto-round": "auto_round",
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "bitnet": "accelerate",
    "compressed-tensors": "compressed_tensors",
    "eetq": "eetq",
    "gptq": "gptqmodel",
    "higgs": "flute",
    "hqq": "hqq",
    "quanto": "optimum.quanto",
    "quark": "quark",
    "torchao": "torchao",
    "vptq": "vptq",
}


def is_config_alone(folder: Path) -> bool:
    """Whether a folder describes a model, and has no weights of any kind in it."""
    files = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return "config.json" in files and not any(name.endswith(_OF_WEIGHTS) for name in files)


def check_folder(folder: str, *, key: str, weights: bool = True) -> None:
    """Raise `ModelError` if a local folder holds no model with its own weights as safetensors.

    Without `weights` these are not looked for: those of the hub are downloaded later.

    Adapters, weights of other formats, shards that are missing or cut short, and quantized weights
    where a student starts from them are each named, with the way out.
    """
    path = Path(folder)
    if not path.is_dir():
        return
    at = f"{key} = {folder}"
    _check_links(path, at)
    check_adapter(path, at)
    config = config_settings(path, at)
    if weights:
        _check_weights(path, at)
        check_weights(config, sum(p.stat().st_size for p in path.glob("*.safetensors")), at=at)
    _check_quantization(
        config.get("quantization_config"),
        at,
        trains=key.startswith("student"),
        is_result=RECORD in config,  # a compressed student: to be measured, not trained
    )


def check_tokenizer_files(folder: str, *, key: str) -> None:
    """Raise `ModelError` if a local folder has no vocabulary.

    transformers makes a tokenizer of a handful of special tokens then, and says nothing.
    """
    path = Path(folder)
    if path.is_dir():
        _check_links(path, f"{key} = {folder}")
    if not path.is_dir() or any(any(path.glob(pattern)) for pattern in VOCABULARIES):
        return
    settings = path / "tokenizer_config.json"
    kind = str(_json(settings).get("tokenizer_class", "")) if settings.is_file() else ""
    if kind.startswith(WITHOUT_VOCABULARY) or any(path.glob("tokenization_*.py")):
        return
    raise ModelError(
        f"{key} = {folder}: it has no tokenizer (tokenizer.json, vocab.txt and their kin are "
        "missing), and every word would be unknown; copy these files from the model that it was "
        "made of, or save the tokenizer there (tokenizer.save_pretrained)"
    )


def _check_links(path: Path, at: str) -> None:
    """Raise `ModelError` where a file of a model leads to what the system shows of itself."""
    for file in (*path.iterdir(), *path.glob("additional_chat_templates/*")):
        if file.is_symlink() and is_of_system(file):
            raise ModelError(f"{at}: {file.name} in it leads to {file.readlink()}")


def place(folder: str) -> tuple[str, str | None]:
    """(folder or hub id, name of the GGUF file in it or None)."""
    path = Path(folder)
    if (path / GGUF_FILE).is_file() and not any(path.glob("*.safetensors")):
        return folder, GGUF_FILE
    if not folder.endswith(".gguf"):
        return folder, None
    return str(path.parent), path.name


def check_adapter(path: Path, at: str) -> None:
    """Raise `ModelError` for a folder that holds an adapter; `at` is "setting = value"."""
    settings = path / "adapter_config.json"
    if not settings.is_file():
        return
    adapter = _json(settings)
    kind = str(adapter.get("peft_type", "LoRA"))
    base = adapter.get("base_model_name_or_path") or "its base model"
    raise ModelError(
        f"{at}: an adapter ({kind}, of {base}), not a model; merge it into its base first: "
        f"peft.AutoPeftModelForCausalLM.from_pretrained({str(path)!r}).merge_and_unload()"
        ".save_pretrained(FOLDER) (…ForSequenceClassification of a classifier), save the "
        "tokenizer there too, and name FOLDER"
    )


def config_settings(path: Path, at: str) -> dict[str, Any]:
    """What a folder's config.json holds; raises `ModelError`, which `at` begins."""
    file = path / "config.json"
    if not file.is_file():
        gguf = sorted(p.name for p in path.glob("*.gguf"))
        if gguf:
            raise ModelError(f"{at}: a folder of GGUF files; name one of them, as {path / gguf[0]}")
        if (path / "params.json").is_file():
            raise ModelError(
                f"{at}: weights in their maker's own format (params.json); convert them to a "
                "Hugging Face folder, or take the repository's Hugging Face version"
            )
        raise ModelError(f"{at}: no config.json in it; it must be a Hugging Face model folder")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError(f"{at}: its config.json cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise ModelError(f"{at}: its config.json is no mapping of settings")
    check_numbers(config, key=f"{at}: its config.json has ", sign="")
    _check_kernels(config, at)
    named = config.get(_NAMED_WEIGHTS)
    if named not in (None, "model.safetensors", INDEX):
        raise ModelError(
            f"{at}: its config.json has {_NAMED_WEIGHTS} = {brief(named)}, and weights of another "
            "name are not loaded; call the file model.safetensors, and take the field out"
        )
    return config


def _check_kernels(config: dict[str, Any], at: str, name: str = "") -> None:
    """Raise `ModelError` where attention, or what experts do, is code of a repository."""
    for key, value in config.items():
        if isinstance(value, dict):
            _check_kernels(value, at, str(key))
        elif f"{name} {key}".find("_implementation") >= 0 and not _KERNEL.fullmatch(str(value)):
            raise ModelError(
                f"{at}: its config.json has {key} = {value}, code of a repository, which is not "
                "run; take the field out of it"
            )


def _check_weights(path: Path, at: str) -> None:
    """That there are weights which may be loaded, whole."""
    index = path / INDEX
    if not index.is_file() and not (path / "model.safetensors").is_file():
        _refuse_weights(path, at)
    files = ["model.safetensors"]
    if index.is_file():
        shards = _json(index).get("weight_map")
        files = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else [""]
        strange = [name for name in files if not _is_shard(name)]
        if strange:
            raise ModelError(
                f"{at}: its {INDEX} names {strange[0]!r} as weights, which is no *.safetensors "
                "file inside the folder; download it anew"
            )
        missing = [name for name in files if not (path / name).is_file()]
        if missing:
            raise ModelError(
                f"{at}: {len(missing)} of the {len(files)} files of its weights are missing "
                f"({missing[0]}); download it anew"
            )
    for name in files:
        _check_whole(path / name, at)


def _is_shard(name: str) -> bool:
    """Whether a name in the index of weights is that of a file of them, below the same folder."""
    parts = PurePosixPath(name).parts
    leaves = name.startswith("/") or any(part.startswith(".") for part in parts)
    return name.endswith(".safetensors") and not leaves and "\\" not in name


def _refuse_weights(path: Path, at: str) -> None:
    shards = sorted(p.name for p in path.glob("model-*-of-*.safetensors"))
    if shards:
        raise ModelError(f"{at}: {INDEX} is missing beside {shards[0]}; download it anew")
    files = sorted(p.name for p in path.glob("*.safetensors"))
    if files:
        raise ModelError(f"{at}: no model.safetensors in it (only {files[0]})")
    pickled = sorted(p.name for pattern in PICKLED for p in path.glob(pattern))
    if pickled:
        raise ModelError(
            f"{at}: its weights are pickled ({pickled[0]}), and unpickling runs code; save them as "
            "safetensors first (model.save_pretrained does)"
        )
    for pattern, framework in OTHER_FRAMEWORKS.items():
        if any(path.glob(pattern)):
            raise ModelError(
                f"{at}: its weights are {framework}; convert them with the transformers 4 that "
                "wrote them (from_tf=True or from_flax=True, then save_pretrained)"
            )
    if exported := [*sorted(path.glob("*.onnx")), *sorted(path.glob("onnx/*.onnx"))]:
        raise ModelError(
            f"{at}: its weights are {exported[0].relative_to(path)}, and ONNX is read as "
            "model.onnx beside its config.json and tokenizer; copy it there under that name"
        )
    raise ModelError(f"{at}: no *.safetensors in it")


def _check_whole(file: Path, at: str) -> None:
    """That a safetensors file is as long as its header says."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(len(POINTER))
        if start == POINTER:
            raise ModelError(
                f"{at}: {file.name} is a pointer of Git LFS, not the weights; `git lfs pull` in it"
            )
        head = int.from_bytes(start[:8], "little")
        opened.seek(8)
        header = opened.read(head) if head <= size else b""
    try:
        tensors = json.loads(header)
        ends = [t["data_offsets"][1] for n, t in tensors.items() if n != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        raise ModelError(
            f"{at}: {file.name} is no safetensors file, or damaged; save or download it anew"
        ) from None
    expected = 8 + head + max(ends, default=0)
    if size != expected:
        raise ModelError(f"{at}: {file.name} has {size:,} bytes of {expected:,}; download it anew")


def _check_quantization(settings: Any, at: str, *, trains: bool, is_result: bool) -> None:
    if not isinstance(settings, dict):
        return
    method = str(settings.get("quant_method") or "bitsandbytes")
    if trains and not is_result:
        raise ModelError(
            f"{at}: its weights are quantized ({method}), and a student is trained in plain ones; "
            "name the model before quantization"
        )
    package = PACKAGES.get(method)
    if package and not _is_installed(package):
        raise ModelError(
            f"{at}: its weights are quantized ({method}), which needs {package}, and that is not "
            f"installed; `pip install {package.replace('_', '-').replace('.', '-')}`, or name the "
            "model before quantization"
        )


def _is_installed(package: str) -> bool:
    top = package.partition(".")[0]
    return importlib.util.find_spec(top) is not None


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
