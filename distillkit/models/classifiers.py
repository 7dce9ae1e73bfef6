"""Models with labels in Hugging Face format: loaded safely, quietly, labels matched by name."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from distillkit.console.progress import say
from distillkit.console.wording import brief, listed
from distillkit.errors import ModelError
from distillkit.models import heads
from distillkit.models.configs import check_config, config_of
from distillkit.models.folders import check_folder, check_tokenizer_files
from distillkit.models.label_spaces import whole_numbers
from distillkit.models.loading import one_line, quiet
from distillkit.models.runtimes.record import computes_in, record_of
from distillkit.models.runtimes.registry import open_runtime
from distillkit.models.runtimes.torchao import unpack_rows
from distillkit.models.saved import Loaded, SavedModel
from distillkit.models.sizes import bounded_modules, check_numbers
from distillkit.models.vocabularies import check_has_words, check_reads_back, real_vocabulary
from distillkit.types import LabelSpace

TEXTS = "AutoModelForSequenceClassification"


def load_saved(saved: SavedModel, labels: LabelSpace, *, auto_class: str = TEXTS) -> Loaded:
    """A trained classifier in eval mode, its tokenizer, and where the data's labels stand in it."""
    model = load_complete(
        saved.folder,
        key=saved.key,
        auto_class=auto_class,
        trust_remote_code=saved.trust_remote_code,
    )
    order = label_order(
        model, labels, key=f"{saved.key} = {saved.folder}", output_names=saved.labels
    )
    tokenizer = load_tokenizer(
        saved.folder, key=saved.key, trust_remote_code=saved.trust_remote_code
    )
    return Loaded(model.eval(), tokenizer, order)


def check_trainable(model: Any, *, key: str, folder: str) -> None:
    """Raise `ModelError` for a student to be trained whose weights are held quantised."""
    if key.startswith("student") and getattr(model, "hf_quantizer", None) is not None:
        raise ModelError(
            f"{key} = {folder}: its weights are quantized, and a student is trained in plain ones; "
            "name the model before quantization"
        )


def load_tokenizer(folder: str, *, key: str, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a folder or hub id."""
    from transformers import AutoTokenizer

    check_tokenizer_files(folder, key=key)
    with quiet(), one_line(key, folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    check_has_words(tokenizer, key=f"{key} = {folder}")
    return tokenizer


def load_classifier(
    folder: str,
    labels: LabelSpace,
    *,
    key: str,
    problem_type: str | None,
    auto_class: str = TEXTS,
    trust_remote_code: bool = False,
) -> Any:
    """The body of a folder or hub id, in float32, with a head for `labels` (seed torch before).

    The head is new, unless the folder has one of the same labels, by name: that is kept, its rows
    in the data's order. `auto_class` of transformers says of what kind. Raises `ModelError` where
    the body itself lacks weights.
    """
    model, report = load_model(
        folder,
        key=key,
        auto_class=auto_class,
        trust_remote_code=trust_remote_code,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **head_options(labels, problem_type),
    )
    check_trainable(model, key=key, folder=folder)
    body = {name for name, _ in model.base_model.named_parameters(prefix=model.base_model_prefix)}
    mismatched = {key for key, *_ in report["mismatched_keys"]}
    # language models have no pooler: a classifier's is new, as its head is
    without = sorted(n for n in body & {*report["missing_keys"]} if "pooler" not in n)
    if without and body <= {*report["missing_keys"]}:
        options: Any = {"key": key, "trust_remote_code": trust_remote_code}
        without = [] if _body_of_other_name(model, folder, **options) else without
    if without or body & mismatched:
        name, fault = (
            (without or sorted(body & mismatched))[0],
            "no weights" if without else "others",
        )
        raise ModelError(
            f"{key} = {folder}: its config.json and its weights do not belong together: it has "
            f"{fault} for {name}; download or save it anew"
        )
    head = {name for name, _ in model.named_parameters()} - body
    if not labels.names or not head or head & (mismatched | {*report["missing_keys"]}):
        return model
    config = config_of(folder, key=key, trust_remote_code=trust_remote_code)
    return _with_head_of(model, config, labels, key=f"{key} = {folder}")


def _with_head_of(model: Any, config: Any, labels: LabelSpace, *, key: str) -> Any:
    """A classifier whose head came with its body: in the data's order, or new for other labels.

    `config` is the folder's own, which names the outputs of the head. What is done is said.
    """
    outputs = [str(config.id2label.get(i, f"LABEL_{i}")) for i in range(int(config.num_labels))]
    try:
        order = output_order(config, labels, key=key, silent=True)
        heads.order_outputs(model, order, labels)
    except ModelError:
        say(f"{key}: its head is of other labels ({listed(outputs)}); the labels get a new one")
        return heads.with_new_head(model)
    if outputs != list(labels.names):
        say(f"{key}: its head of {listed(outputs)} is kept, for {listed(labels.names)}")
    return model


def _body_of_other_name(model: Any, folder: str, *, key: str, trust_remote_code: bool) -> bool:
    """Take a body's weights that are saved under another name; whether they are there.

    LlamaForQuestionAnswering has its body as `transformer`, all other Llamas as `model`.
    """
    body, report = load_model(
        folder,
        key=key,
        auto_class="AutoModel",
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
    )
    if type(body) is not type(model.base_model) or report["missing_keys"]:
        return False
    model.base_model.load_state_dict(body.state_dict())
    return True


def load_model(
    folder: str, *, key: str, auto_class: str, trust_remote_code: bool = False, **options: Any
) -> Any:
    """The model of a folder or hub id, in float32 unless the options say otherwise.

    With `output_loading_info` among them, (the model, what was and was not found). Raises
    `ModelError` for weights of other sizes, unless the options have `ignore_mismatched_sizes`.
    """
    import transformers

    check_folder(folder, key=key)
    config = config_of(folder, key=key, trust_remote_code=trust_remote_code)
    check_config(config, auto_class, key=f"{key} = {folder}")
    options = {"dtype": "float32", "use_safetensors": True, **options}
    has_report = options.pop("output_loading_info", False)
    may_differ = options.pop("ignore_mismatched_sizes", False)
    with quiet(), one_line(key, folder, "model"):
        model, report = getattr(transformers, auto_class).from_pretrained(
            folder,
            trust_remote_code=trust_remote_code,
            ignore_mismatched_sizes=True,  # transformers' own refusal names no weight
            output_loading_info=True,
            **options,
        )
    for name, stored, expected in () if may_differ else sorted(report["mismatched_keys"]):
        raise ModelError(
            f"{key} = {folder}: its config.json and its weights do not belong together: {name} is "
            f"{[*stored]} there, and {[*expected]} by its config; download or save it anew"
        )
    return (model, report) if has_report else model


def load_complete(
    folder: str, *, key: str, auto_class: str, trust_remote_code: bool = False, **options: Any
) -> Any:
    """The model of a folder or hub id, in PyTorch or the runtime that the folder is for.

    Raises `ModelError` where it lacks weights, as of a head.
    """
    model = open_runtime(
        folder, key=key, auto_class=auto_class, trust_remote_code=trust_remote_code
    )
    if model is not None:
        return model
    config = config_of(folder, key=key, trust_remote_code=trust_remote_code)
    model, report = load_model(
        folder,
        key=key,
        auto_class=auto_class,
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
        **{"dtype": computes_in(config), **options},
    )
    missing = sorted(report["missing_keys"])
    if missing:
        # of the body, but for its pooler, which comes with a head
        body = [n for n in missing if n.startswith(f"{model.base_model_prefix}.")]
        body = [n for n in body if "pooler" not in n]
        reason = (
            "its weights are not whole, or have other names; download or save it anew"
            if body
            else f"it is no complete {type(model).__name__}. teacher.body=… fits such a head first"
        )
        raise ModelError(
            f"{key} = {folder}: it has no weights for {(body or missing)[0]}; {reason}"
        )
    if record_of(config).get("format") == "int8":
        unpack_rows(model)
    return model


def new_classifier(
    config: dict[str, Any],
    labels: LabelSpace,
    tokenizer: Any,
    *,
    key: str,
    problem_type: str | None,
    auto_class: str = TEXTS,
) -> Any:
    """A classifier of any transformers config, with new weights (seed torch before)."""
    options = head_options(labels, problem_type)
    return new_model(config, tokenizer, key=key, auto_class=auto_class, **options)


def new_model(
    config: dict[str, Any], tokenizer: Any, *, key: str, auto_class: str, **options: Any
) -> Any:
    """A model of any transformers config, with new weights (seed torch before).

    Its vocabulary is the tokenizer's unless the config says otherwise; `options` are further fields
    of the config.
    """
    import transformers

    shape = dict(config)
    model_type = shape.pop("model_type", None)
    if not model_type:
        raise ModelError(f"{key}.model_type: not set; it names the architecture, as in `bert`")
    check_numbers(shape, key=key)
    size = real_vocabulary(tokenizer)
    shape.setdefault("vocab_size", size)
    shape.setdefault("pad_token_id", tokenizer.pad_token_id)
    if shape["vocab_size"] < size:
        raise ModelError(
            f"{key}.vocab_size = {shape['vocab_size']}: the tokenizer has ids up to {size - 1}"
        )
    check_reads_back(model_type, tokenizer, key=f"{key}.model_type")
    with quiet(), one_line(key, model_type, "config"), bounded_modules(f"{key} = {model_type}"):
        model_config = transformers.AutoConfig.for_model(model_type, **shape, **options)
        check_config(model_config, auto_class, key=f"{key}.model_type = {model_type}")
        return getattr(transformers, auto_class).from_config(model_config)


def head_options(labels: LabelSpace, problem_type: str | None) -> dict[str, Any]:
    """The config fields that name a head's classes; `problem_type` is a whole text's."""
    if not labels.names:
        return {"num_labels": 1, "problem_type": problem_type}
    return {
        "num_labels": labels.outputs,
        "id2label": dict(enumerate(labels.names)),
        "label2id": {name: i for i, name in enumerate(labels.names)},
        "problem_type": problem_type,
    }


def label_order(
    model: Any, labels: LabelSpace, *, key: str, output_names: list[str] | None = None
) -> np.ndarray:
    """Where each label of the data stands among the model's outputs, [classes].

    See `output_order`.
    """
    return output_order(model.config, labels, key=key, output_names=output_names)


def output_order(
    config: Any,
    labels: LabelSpace,
    *,
    key: str,
    output_names: list[str] | None = None,
    silent: bool = False,
) -> np.ndarray:
    """Where each label of the data stands among the outputs of a model's config, [classes].

    Matched by name (`output_names` names the model's outputs where its config does not), never by
    position; by name without regard to case only where that leaves no doubt. LABEL_i is the number
    i, and unless `silent` that it is taken so is said. Raises `ModelError` that names both sets.
    """
    outputs = int(config.num_labels)
    if not labels.names:
        if outputs != 1:
            raise ModelError(f"{key}: it has {outputs} outputs, but the label is one real value")
        return np.zeros(1, np.int64)
    own_names = output_names or [str(config.id2label.get(i, f"LABEL_{i}")) for i in range(outputs)]
    twice = next(
        (name for place, name in enumerate(own_names) if name in own_names[:place]),
        None,
    )
    if twice is not None:
        raise ModelError(
            f"{key}: two of its {outputs} outputs are named {brief(twice, 60)!r}; name them in "
            f"their order with {_setting(key)}=[…]"
        )
    if outputs != labels.outputs:
        raise ModelError(
            f"{key}: it has {outputs} outputs ([{listed(own_names)}]), but the data has "
            f"{labels.outputs} labels ([{listed(labels.names)}]); take a model of as many, or have "
            "one fitted on the data, as with teacher=minilm"
        )
    if len(own_names) == outputs:
        for label_names, names in _readings(list(labels.names), own_names, numeric=labels.numeric):
            places = {name: place for place, name in enumerate(names)}
            if len(places) == outputs and places.keys() == set(label_names):
                return np.array([places[name] for name in label_names], np.int64)
        if labels.numeric and set(own_names) == {f"LABEL_{i}" for i in range(outputs)}:
            return _numbered(list(labels.names), own_names, key=None if silent else key)
    raise ModelError(
        f"{key}: its labels are [{listed(own_names)}], but the data's are "
        f"[{listed(labels.names)}]; name its outputs in their order with "
        f"{_setting(key)}=[…], or "
        "the data's with data.label_names=[…]"
    )


def _setting(key: str) -> str:
    """What names the outputs of the model of a setting."""
    return "teacher.labels" if key.startswith("teacher") else "student.labels"


def _readings(
    labels: list[str], outputs: list[str], *, numeric: bool
) -> Iterator[tuple[list[str], list[str]]]:
    """The data's names and the model's as they are compared: the surest way first."""
    yield labels, outputs
    yield labels, [name.strip() for name in outputs]  # the data's have no blanks around them
    yield [name.casefold() for name in labels], [name.strip().casefold() for name in outputs]
    numbers = whole_numbers(labels) if numeric else {}
    yield [f"LABEL_{numbers.get(name)}" for name in labels], outputs


def _numbered(label_names: list[str], output_names: list[str], *, key: str | None) -> np.ndarray:
    """Labels that are numbers, or names of 0, 1, …, in their order: LABEL_0 is the first."""
    if key is not None and whole_numbers(label_names):
        say(
            f"{key}: its labels have no names but LABEL_0, …, and are taken for the data's in "
            f"their order: {listed(label_names)}; {_setting(key)}=[…] names them otherwise"
        )
    places = {int(name.removeprefix("LABEL_")): place for place, name in enumerate(output_names)}
    return np.array([places[rank] for rank in range(len(label_names))], np.int64)
