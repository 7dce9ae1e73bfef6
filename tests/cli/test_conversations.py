"""Teacher and student of one vocabulary and two templates: the ids of a run are made once."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import chats, tiny_language
from tests.cli.runs import artifact_kinds, assert_refused
from tests.conftest import Distillkit


def write_model(folder: Path, tokenizer: Any, *, layers: int = 1) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(layers)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("teacher"), chats.for_template("chatml"), layers=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of the same vocabulary without a chat template, whose text ends otherwise."""
    tokenizer = chats.for_template("chatml")
    tokenizer.chat_template, tokenizer.eos_token, tokenizer.pad_token = None, "<unk>", "<unk>"
    return write_model(tmp_path_factory.mktemp("base"), tokenizer)


def write_talks(path: Path, count: int = 40, **more: Any) -> Path:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {number} + {number}?"},
                {"role": "assistant", "content": f"It is {number}.", **more},
            ]
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def words(teacher: Path, student: Path, talks: Path, workspace: Path) -> list[str]:
    kept = [
        word
        for word in tiny_language.small(teacher, talks, workspace)
        if not word.startswith(("data", "student", "task.max_length", "trainer.epochs"))
    ]
    return [
        *kept,
        "task.max_length=128",
        "trainer.epochs=1",
        "control=false",
        "student=pretrained",
        f"student.path={student}",
        "data=conversations",
        f"data.train={talks}",
        "data.messages=messages",
        "data.validation_fraction=0.2",
        "data.test_fraction=0.2",
    ]


def test_responses_that_leave_no_room_for_a_prompt_are_refused_before_the_teacher_answers(
    distillkit: Distillkit, teacher: Path, base: Path, tmp_path: Path
) -> None:
    from transformers import AutoConfig

    most = AutoConfig.from_pretrained(base).max_position_embeddings
    workspace = tmp_path / "workspace"
    given = words(teacher, base, write_talks(tmp_path / "talks.jsonl"), workspace)
    measured = ["evaluation.rouge_examples=3", f"evaluation.rouge_tokens={most}"]
    assert_refused(
        distillkit("train", *given, *measured),
        f"evaluation.rouge_tokens = {most}: leaves no room for a prompt in the {most} tokens",
    )
    assert not {"targets", "student"} & {*artifact_kinds(workspace)}


def test_a_base_student_takes_its_instruct_teachers_template_and_tokenizer(
    distillkit: Distillkit, teacher: Path, base: Path, tmp_path: Path
) -> None:
    talks = write_talks(tmp_path / "talks.jsonl")
    result = distillkit("train", *words(teacher, base, talks, tmp_path / "workspace"))
    assert result.code == 0, result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("student: reads")]
    assert line == (
        "student: reads, and is saved with, the teacher's tokenizer; its own differs in end of "
        "text (<unk>, the teacher's </s>); padding (<unk>, the teacher's None); the chat "
        "template, of which it has none"
    )
    assert result.err.index(line) < result.err.index("targets: ")

    from transformers import AutoTokenizer, GenerationConfig

    (folder,) = (tmp_path / "outputs" / "run").iterdir()
    saved = AutoTokenizer.from_pretrained(folder / "student")
    own = chats.for_template("chatml")
    assert saved.chat_template.rstrip("\n") == chats.template("chatml").rstrip("\n")
    assert saved.eos_token == own.eos_token
    ends = GenerationConfig.from_pretrained(folder / "student").eos_token_id
    assert set(ends) >= {own.eos_token_id, own.convert_tokens_to_ids("<|im_end|>")}


def test_another_vocabulary_is_refused_before_anything_is_asked(
    distillkit: Distillkit, teacher: Path, tmp_path: Path
) -> None:
    other = write_model(tmp_path / "other", chats.for_template("gemma"))
    talks = write_talks(tmp_path / "talks.jsonl")
    result = distillkit("train", *words(teacher, other, talks, tmp_path / "workspace"))
    assert result.code == 2
    assert "the student's tokenizer is not the teacher's: token" in result.err
    assert not {"tokens", "targets"} & {*artifact_kinds(tmp_path / "workspace")}


def test_a_held_out_conversation_that_is_refused_stops_the_run_before_the_teacher_is_asked(
    distillkit: Distillkit, teacher: Path, base: Path, tmp_path: Path
) -> None:
    talks = write_talks(tmp_path / "talks.jsonl")
    bad = write_talks(tmp_path / "bad.jsonl", 3)
    template = tmp_path / "mine.jinja"
    template.write_text(
        "{% for m in messages %}{% if m['content'] == 'It is 2.' %}{{ raise_exception('no two') }}"
        "{% endif %}{% endfor %}" + chats.template("chatml")
    )
    given = [w for w in words(teacher, base, talks, tmp_path / "workspace") if "fraction" not in w]
    change = [f"data.chat_template={template}", f"data.test={bad}", "data.where=null"]
    first = [json.loads(line) for line in talks.read_text().splitlines()]
    talks.write_text("".join(json.dumps(row) + "\n" for row in first[3:]))
    result = distillkit("train", *given, *change, "data.validation_fraction=0.2")
    assert result.code == 2, result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("distillkit: ")]
    assert line == (
        "distillkit: data: row 3 of data.test: the chat template refuses it: no two; mend it, or "
        "set data.bad_rows=drop"
    )
    assert "targets" not in artifact_kinds(tmp_path / "workspace")
