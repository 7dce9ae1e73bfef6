"""`distillkit generate`: what is written is what plain transformers writes after a prompt."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests import tiny, tiny_language
from tests.cli.runs import assert_refused
from tests.cli.test_predict import lines, stdin
from tests.conftest import Distillkit


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model with random weights, large enough for its words to differ."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("generate") / "language"
    tokenizer = tiny_language.write_tokenizer(folder)
    torch.manual_seed(1)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


def plain(folder: Path, prompt: str, tokens: int, *, chat: bool = True) -> str:
    """Greedy search by transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if chat:
        messages = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    else:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    ends = {tokenizer.eos_token_id}
    if chat and "|>" in tokenizer.all_special_tokens:
        ends.add(tokenizer.convert_tokens_to_ids("|>"))
    for _ in range(tokens):
        with torch.no_grad():
            new = int(model(ids).logits[0, -1].argmax())
        if new in ends:
            break
        ids = torch.cat([ids, torch.tensor([[new]])], dim=1)
    return str(tokenizer.decode(ids[0], skip_special_tokens=True))


PROMPTS = ["the film was good", "a dull plot", "great music and a slow ending . the actor"]


@pytest.mark.parametrize("chat", [True, False])
def test_the_likeliest_tokens_are_those_of_plain_transformers(
    distillkit: Distillkit, language: Path, chat: bool
) -> None:
    words = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    words += [] if chat else ["--raw"]
    result = distillkit("generate", f"student.path={language}", "--max-new-tokens", "9", *words)
    assert result.code == 0, result.err
    assert ("its chat template" if chat else "no template") in result.err
    found = result.out.splitlines()
    assert len(found) == len(set(found)) == len(PROMPTS)
    for prompt, text in zip(PROMPTS, found, strict=True):
        assert text
        assert plain(language, prompt, 9, chat=chat).endswith(text)
        alone = distillkit(
            "generate", f"student.path={language}", "--max-new-tokens", "9", "--prompt", prompt,
            *([] if chat else ["--raw"]),
        )  # fmt: skip
        assert alone.out == f"{text}\n"


def test_a_response_ends_where_a_turn_does(distillkit: Distillkit, language: Path) -> None:
    """The mark of the template that ends a turn is no end of the model's own."""
    import shutil

    from transformers import AutoTokenizer

    folder = Path("marked").absolute()
    shutil.copytree(language, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"extra_special_tokens": ["|>"]})
    tokenizer.save_pretrained(folder)
    ends = []
    for prompt in (*PROMPTS, "bad", "warm and cold", "the camera", "rich and clever"):
        words = ("--prompt", prompt, "--max-new-tokens", "30", "--out", "o.jsonl", "--overwrite")
        assert distillkit("generate", f"student.path={folder}", *words).code == 0
        (found,) = lines(Path("o.jsonl").read_text())
        assert plain(folder, prompt, 30).rstrip().endswith(found["response"].rstrip())
        ends.append(found["finish"])
    assert "end" in ends


def test_a_table_of_messages_keeps_its_rows(
    distillkit: Distillkit, language: Path, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = [
        {"id": i, "messages": [{"role": "user", "content": prompt}]}
        for i, prompt in enumerate(PROMPTS)
    ]
    rows.insert(1, {"id": 9, "messages": None})
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    at = ("generate", f"student.path={language}", "in.jsonl", "--max-new-tokens", "5")
    result = distillkit(*at, "--out", "out.jsonl")
    assert "1 of 4 rows have no prompt" in result.err
    found = lines((tmp_path / "out.jsonl").read_text())
    assert [it["id"] for it in found] == [0, 9, 1, 2]
    assert [it["row"] for it in found] == [1, 2, 3, 4]
    assert [it["messages"] for it in found] == [row["messages"] for row in rows]
    assert found[1]["response"] is None
    for it, prompt in zip([found[0], *found[2:]], PROMPTS, strict=True):
        assert plain(language, prompt, 5).endswith(it["response"])
        assert it["tokens"] == len(it["response"].split())
        assert it["finish"] == ("length" if it["tokens"] == 5 else "end")
    assert distillkit(*at, "--out", "out.csv").code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["response"] == found[0]["response"]


def test_draws_are_those_of_their_seed(distillkit: Distillkit, language: Path) -> None:
    at = ("generate", f"student.path={language}", "--prompt", PROMPTS[0], "--max-new-tokens", "12")
    greedy = distillkit(*at).out
    one, same, other = (distillkit(*at, "--seed", seed).out for seed in ("1", "1", "2"))
    assert one == same != other
    assert distillkit(*at, "--temperature", "0.001").out == greedy
    assert distillkit(*at, "--top-p", "0.0001").out == greedy


def test_a_prompt_a_line_and_one_that_leaves_little_room(
    distillkit: Distillkit, language: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = " ".join(["film"] * 50)
    stdin(monkeypatch, f"the film\n\n{long}\n".encode())
    result = distillkit("generate", f"student.path={language}", "--max-new-tokens", "20")
    assert "1 of 2 prompts leave room for fewer than 20 tokens, of the 64" in result.err
    first, second, third = result.out.split("\n")[:3]
    assert plain(language, "the film", 20).endswith(first)
    assert second == ""
    assert third
    words = ("--prompt", " ".join(["film"] * 70))
    line = assert_refused(distillkit("generate", f"student.path={language}", *words), "row 1: its")
    assert "this student reads 64" in line


def test_a_student_of_a_plain_template_is_asked_by_it(
    distillkit: Distillkit, language: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "plain"
    shutil.copytree(language, folder)
    (folder / "distillkit.json").write_text(
        json.dumps({"template": "user : {prompt} assistant : "})
    )
    words = ("--prompt", "the film", "--max-new-tokens", "6")
    result = distillkit("generate", f"student.path={folder}", *words)
    assert "the template of its training" in result.err
    expected = plain(language, "user : the film assistant :", 6, chat=False)
    assert expected.endswith(result.out.strip())


def test_text_comes_as_it_is_written(language: Path) -> None:
    import torch

    from distillkit.generation.decode import continue_each
    from distillkit.models.saved import SavedModel
    from distillkit.prediction.generate import Streamer, opened, writer_of

    loaded = opened(SavedModel(str(language), "student.path"))
    writer = writer_of(loaded, str(language), raw=False, system=None)
    parts: list[tuple[str, bool]] = []
    how: Any = {"tokens": [9], "batch_size": 1, "seed": None, "label": "x"}
    prompts = [writer(PROMPTS[0], 1)]
    streamer = Streamer(loaded, lambda text, ended: parts.append((text, ended)))
    (found,) = continue_each(loaded.model, loaded.tokenizer, prompts, streamer=streamer, **how)
    assert "".join(text for text, _ in parts) == found.text
    assert [ended for _, ended in parts] == [*[False] * (len(parts) - 1), True]
    assert len(parts) > found.tokens // 2
    assert torch.is_tensor(loaded.model(torch.tensor([prompts[0].ids])).logits)


def test_what_is_wrong_is_one_line_before_the_model_is_loaded(
    distillkit: Distillkit, language: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distillkit.models.saved import SavedModel

    monkeypatch.setattr(SavedModel, "open", lambda *_: pytest.fail("a model was loaded"))
    classifier = tiny.write_model(tmp_path / "classifier", labels=("a", "b"))
    tiny.write_csv(tmp_path / "in.csv", ("a", "b"), [(1, 2)])
    at, one = f"student.path={language}", ("--prompt", "good")
    for words, *parts in (
        (one, "student.path: required, but not set"),
        (
            (f"student.path={classifier}", *one),
            "BertForSequenceClassification is no causal language model",
            f"`distillkit predict student.path={classifier}`",
        ),
        ((at, "in.csv"), "it has no column prompt, messages, text; its columns are a, b"),
        ((at, "in.csv", *one), "--prompt: in.csv has the prompts"),
        ((at, "--prompt", " "), "--prompt: is empty"),
        ((at, *one, "--temperature", "0"), "0 is no number above 0 (greedy: leave it out)"),
        ((at, *one, "--top-p", "1.5"), "1.5 is not above 0 and at most 1"),
        ((at, *one, "--raw", "--system", "x"), "--system: is for a chat template"),
        ((at, *one, "--out", "x.txt"), "must end in one of"),
    ):
        assert_refused(distillkit("generate", *words), *parts)
