"""Sizes of models that no machine holds: refused by their numbers, with key and figure."""

import json
import resource
from pathlib import Path

import pytest
import torch

from distillkit import limits
from distillkit.errors import ModelError
from distillkit.models import sizes
from distillkit.models.classifiers import load_tokenizer, new_model
from distillkit.models.configs import config_of
from distillkit.models.folders import check_folder
from distillkit.models.sizes import check_memory, check_numbers, least_parameters

CASES = {
    "channels": ({"hidden_size": 10**9}, "hidden_size = 1,000,000,000: no model has more"),
    "layers": ({"num_hidden_layers": 10**6}, "num_hidden_layers = 1,000,000: no model has more"),
    "layers of gpt2": ({"n_layer": 10**9}, "n_layer = 1,000,000,000: no model has more than 1,000"),
    "layers as a float": ({"num_hidden_layers": 1e30}, "num_hidden_layers = 1"),
    "vocabulary": ({"vocab_size": 10**12}, "vocab_size = 1,000,000,000,000: no model has more"),
    "labels": ({"num_labels": 10**9}, "num_labels = 1,000,000,000: no model has more"),
    "experts": ({"num_local_experts": 10**6}, "num_local_experts = 1,000,000: no model has more"),
    "positions": ({"max_position_embeddings": 10**15}, "max_position_embeddings = 1,000,000,000,0"),
    "no width": ({"hidden_size": 0}, "hidden_size = 0: must be 1 or more"),
    "no heads": ({"num_attention_heads": -2}, "num_attention_heads = -2: must be 1 or more"),
    "a part": ({"text_config": {"num_hidden_layers": 2000}}, "text_config.num_hidden_layers = 2,0"),
    "a product": (
        {"hidden_size": 10**6, "num_hidden_layers": 100, "vocab_size": 100},
        "its sizes make 2e\\+14 parameters or more, and no model has 1e\\+13",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_size_that_cannot_be_meant_is_refused_with_its_key(name: str) -> None:
    settings, words = CASES[name]
    with pytest.raises(ModelError, match=rf"^student\.config[.:] ?{words}"):
        check_numbers(settings, key="student.config")


def test_the_largest_that_may_be_is_taken_and_no_larger_one() -> None:
    for name, most in {
        "num_hidden_layers": 1_000,
        "num_local_experts": 1_000,
        "num_labels": 1_000_000,
        "hidden_size": 1_000_000,
    }.items():
        check_numbers({name: most}, key="a")
        with pytest.raises(ModelError, match=rf"^a\.{name} = .*: no model has more than {most:,};"):
            check_numbers({name: most + 1}, key="a")


def test_sizes_of_published_models_are_taken() -> None:
    check_numbers({"vocab_size": 256_000, "hidden_size": 16_384, "num_hidden_layers": 126}, key="a")
    check_numbers(
        {"max_position_embeddings": 10_485_760, "rope_theta": 1e12, "seed": 2**62}, key="a"
    )


@pytest.mark.parametrize(
    "sizes", [{"num_hidden_layers": 10**9}, {"vocab_size": 10**12}, {"num_labels": 10**9}]
)
def test_a_new_model_is_refused_before_its_config_is_made(
    sizes: dict[str, int], body: Path
) -> None:
    tokenizer = load_tokenizer(str(body), key="a")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with pytest.raises(ModelError, match="no model has more than"):
        new_model(
            {"model_type": "bert", **sizes},
            tokenizer,
            key="student.config",
            auto_class="AutoModelForSequenceClassification",
        )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 2


REPEATED = {
    "albert": {"inner_group_num": 10**7},
    "albert ": {"num_hidden_groups": 10**7},
    "mobilebert": {"num_feedforward_networks": 10**7},
    "canine": {"num_hash_functions": 10**7},
    "longformer": {"attention_window": 10**7, "num_hidden_layers": 1},
    "longformer ": {"attention_window": [512, 10**7], "num_hidden_layers": 2},
}


@pytest.mark.parametrize("kind", REPEATED)
def test_parts_that_are_there_ten_million_times_are_given_up(
    kind: str, body: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "MOST_MODULES", 3_000)  # for the test's time
    config = {"model_type": kind.strip(), "hidden_size": 16, "num_attention_heads": 2}
    with torch.device("meta"), pytest.raises(ModelError, match=r"^student\.config.*no model has"):
        new_model(
            config | {"intermediate_size": 32} | REPEATED[kind],
            load_tokenizer(str(body), key="a"),
            key="student.config",
            auto_class="AutoModelForSequenceClassification",
        )
    torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(3_001))  # others are not counted


@pytest.mark.parametrize("field", ["num_hidden_layers", "vocab_size", "num_labels"])
def test_a_folder_with_such_a_size_is_refused(field: str, body: Path, tmp_path: Path) -> None:
    for path in body.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {field: 10**12}))
    words = f"teacher.path = {tmp_path}: its config.json has {field} = 1,000,000,000,000"
    for look in (check_folder, config_of):
        with pytest.raises(ModelError) as refused:
            look(str(tmp_path), key="teacher.path")
        assert str(refused.value).startswith(words)


def test_a_config_that_describes_far_more_than_its_weights_is_refused(
    body: Path, tmp_path: Path
) -> None:
    for path in body.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    large = {"hidden_size": 10_000, "intermediate_size": 40_000, "num_hidden_layers": 100}
    (tmp_path / "config.json").write_text(json.dumps(config | large))
    with pytest.raises(ModelError, match=r"describes 80,.* parameters or more, and its"):
        check_folder(str(tmp_path), key="teacher.path")


def test_a_student_larger_than_the_memory_is_refused_and_the_advice_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ModelError) as refused:
        check_memory(6_607_000_000, 24e9, key="student.config")
    assert str(refused.value) == (
        "student.config: 6,607 million parameters, whose weights alone take 26.4 GB (float32), and "
        "24.0 GB is the limit; set smaller sizes, or if you mean it DISTILLKIT_MAX_MODEL in the "
        "environment, as DISTILLKIT_MAX_MODEL=27G"
    )
    check_memory(5_000_000_000, 24e9, key="student.config")
    name, _, size = str(refused.value).rpartition(" ")[2].partition("=")
    monkeypatch.setenv(name, size)
    check_memory(6_607_000_000, 24e9, key="student.config")
    monkeypatch.setenv(limits.MODEL, "1M")
    with pytest.raises(ModelError, match=r"1.0 MB is the limit"):
        check_memory(1_000_000, 24e9, key="student.config")


def test_the_fewest_parameters_are_counted() -> None:
    bert = {"vocab_size": 30_522, "hidden_size": 768, "intermediate_size": 3_072}
    assert least_parameters(bert | {"num_hidden_layers": 12}) == 30_522 * 768 + 24 * 768 * 3_072
    assert least_parameters(bert | {"num_hidden_layers": 12}) < 110_000_000
    albert = {"vocab_size": 30_000, "embedding_size": 128, "hidden_size": 4_096}
    albert |= {"num_hidden_layers": 12, "num_hidden_groups": 1, "intermediate_size": 16_384}
    assert least_parameters(albert) == 30_000 * 128 + 2 * 4_096 * 16_384
