"""A new student's fields are checked as every other setting is: transformers takes any name."""

import subprocess
import sys
from pathlib import Path

import pytest

from distillkit.config import overrides
from distillkit.config.architectures import architectures, fields_of
from distillkit.errors import ConfigError


def faults(*words: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        overrides.check(list(words))
    return caught.value.problems


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["student.config.hiden_size=64"],
            "student.config.hiden_size: no such field of BertConfig (model_type bert); did you "
            "mean hidden_size?",
        ),
        (
            ["student=textcnn", "student.config.feature_map=9"],
            "student.config.feature_map: no such field of TextCNNConfig (model_type "
            "distillkit_textcnn); did you mean feature_maps?",
        ),
        (
            ["student=scratch", "student.config={model_type: distilbert, intermediate_size: 9}"],
            "student.config.intermediate_size: no such field of DistilBertConfig",
        ),
        (
            ["student=scratch", "student.config={model_type: lama, hidden_size: 9}"],
            "student.config.model_type = lama: no such architecture; did you mean llama?",
        ),
        (
            ["student.config.hidden_size=many"],
            "student.config.hidden_size = many: must be an integer",
        ),
        (
            ["student.config.num_hidden_layers=2.5"],
            "student.config.num_hidden_layers = 2.5: must be an integer",
        ),
        (
            ["student.config.hidden_act=7"],
            "student.config.hidden_act = 7: must be a string",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_nearest(words: list[str], said: str) -> None:
    assert any(said in line for line in faults(*words)), faults(*words)


def test_it_is_found_with_the_other_faults() -> None:
    found = faults("student.config.hiden_size=64", "loss.temprature=2", "trainer.keep=worst")
    assert len(found) == 3


@pytest.mark.parametrize(
    "config",
    [
        "model_type: llama, rope_theta: 1e6, rope_scaling: {rope_type: linear, factor: 2.0}",
        "model_type: gpt_neox, rotary_pct: 0.5, rotary_emb_base: 30000",
        "model_type: gpt2, n_embd: 32, n_layer: 2, n_head: 4, hidden_size: 32",
        "model_type: distilbert, dim: 32, num_hidden_layers: 2",
        "model_type: gemma3_text, rope_local_base_freq: 2e4, sliding_window_pattern: 6",
        "model_type: modernbert, global_rope_theta: 9e4, local_attention: 8",
        "model_type: distillkit_bilstm, hidden_size: 8, initializer_range: 0.1",
        "model_type: data2vec-text, hidden_size: 32",
    ],
)
def test_every_name_that_a_config_reads_is_taken(config: str) -> None:
    overrides.check(["student=scratch", f"student.config={{{config}}}"])


def test_all_that_transformers_reads_is_known() -> None:
    """Held against the classes themselves, of the architectures that students are made of."""
    import dataclasses

    from transformers.models.auto import modeling_auto as auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kinds = {
        *auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        *auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
        *auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        *auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    }
    assert kinds - {"gpt-sw3"} <= set(architectures())  # that one is a GPT-2
    for kind in ("bert", "roberta", "distilbert", "modernbert", "llama", "qwen3", "gpt2", "phi3"):
        config = CONFIG_MAPPING[kind]
        fields = fields_of(kind)
        assert fields is not None and fields.name == config.__name__
        declared = {it.name for it in dataclasses.fields(config) if not it.name.startswith("_")}
        assert declared | set(config.attribute_map) <= set(fields.types)


def test_nothing_is_imported_for_it(tmp_path: Path) -> None:
    script = (
        "import sys; from distillkit.config.architectures import fields_of; "
        "assert 'hidden_size' in fields_of('bert').types; "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
