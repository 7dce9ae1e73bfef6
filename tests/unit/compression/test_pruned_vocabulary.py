"""A pruned vocabulary: the texts of the data have the same tokens and logits as before."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.chat.conversation import PLAIN
from distillkit.compression import pruned_vocabulary
from distillkit.compression.compress import compress
from distillkit.compression.formats import FORMATS
from distillkit.compression.student import TrainedStudent
from distillkit.compression.tokenizer_pruning import closure, content_of, tokens_of
from distillkit.compression.tokenizer_pruning import prune as prune_content
from distillkit.data.corpus import Split
from distillkit.errors import ModelError
from distillkit.models.saving import save_folder
from distillkit.stages.compression import StudentTexts
from distillkit.tasks import CausalLM, Classification
from tests import tiny
from tests.unit.compression import language, models

TEXTS = [text for text, _ in tiny.labelled(60)]
ODD = "Ünïcode, naïve 電影 ﬁlm 😀 don't 1234\n\n\ttabs — and so  on…"
OTHERS = [f"{a}{b} {b}-{a}" for a, b in zip(tiny.GOOD, tiny.PLAIN, strict=False)] + [ODD]
TOKENIZERS = ("wordpiece", "wordlevel", "byte_level", "unigram", "llama", "suffixed")


def tokenizer_of(kind: str) -> Any:
    """A tokenizer with tokens for more texts than those of the data."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers import models as splitting
    from transformers import PreTrainedTokenizerFast

    texts = TEXTS[:10] + OTHERS * 5 + [f"{word}ing un{word}s" for word in tiny.BAD]
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    shared: dict[str, Any] = {"vocab_size": 420, "special_tokens": special, "show_progress": False}
    if kind == "wordpiece":
        made = Tokenizer(splitting.WordPiece(unk_token="<unk>"))
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.train_from_iterator(texts, trainers.WordPieceTrainer(**shared))
    elif kind == "wordlevel":
        made = Tokenizer(splitting.WordLevel(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        made.train_from_iterator([*texts, *TEXTS], trainers.WordLevelTrainer(**shared))
    elif kind == "byte_level":
        made = Tokenizer(splitting.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        made.train_from_iterator(texts, trainers.BpeTrainer(initial_alphabet=alphabet, **shared))
    elif kind == "unigram":
        made = Tokenizer(splitting.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        made.train_from_iterator(texts, trainers.UnigramTrainer(unk_token="<unk>", **shared))
    elif kind == "llama":  # pieces of sentences, and bytes where there is none
        bytes_ = [f"<0x{i:02X}>" for i in range(256)]
        made = Tokenizer(splitting.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        made.normalizer = normalizers.Replace(" ", "▁")
        made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Replace("▁", " ")])
        shared |= {"vocab_size": 700, "special_tokens": [*special, *bytes_]}
        made.train_from_iterator(texts, trainers.BpeTrainer(**shared))
        content = json.loads(made.to_str())
        content["added_tokens"] = content["added_tokens"][: len(special)]
        made = Tokenizer.from_str(json.dumps(content))
    else:
        made = Tokenizer(splitting.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        made.train_from_iterator(texts, trainers.BpeTrainer(end_of_word_suffix="</w>", **shared))
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[("<s>", 1), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        model_max_length=48,
    )


def tokens_of_texts(tokenizer: Any, texts: list[str]) -> list[list[str]]:
    return [tokenizer.encode(text).tokens for text in texts]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("texts", [TEXTS, [*TEXTS[:20], ODD], OTHERS[:3]], ids=["a", "odd", "few"])
def test_texts_of_the_data_have_the_same_tokens(kind: str, texts: list[str]) -> None:
    from tokenizers import Tokenizer

    content = content_of(tokenizer_of(kind), at="x")
    before = Tokenizer.from_str(json.dumps(content))
    used = {i for text in texts for i in before.encode(text).ids}
    selection = closure(content, used)
    after = Tokenizer.from_str(json.dumps(prune_content(content, selection)))
    assert tokens_of_texts(after, texts) == tokens_of_texts(before, texts)
    order = sorted(selection)
    assert used <= selection < {*tokens_of(content)}
    assert [[order[i] for i in after.encode(t).ids] for t in texts] == [
        before.encode(t).ids for t in texts
    ]
    assert after.get_vocab() == {
        t: order.index(i) for t, i in before.get_vocab().items() if i in selection
    }
    if kind in ("byte_level", "llama"):  # whatever is written can be read
        for text in [*OTHERS, ODD]:
            assert after.decode(after.encode(text).ids) == before.decode(before.encode(text).ids)
    elif kind != "wordlevel":  # words of characters that the data has are spelt as far as before
        for text in [text.split()[0][::-1] for text in texts]:
            unknown = ["<unk>" in it.encode(text).tokens for it in (before, after)]
            assert unknown[0] == unknown[1]


def test_a_word_that_was_unknown_stays_unknown(tmp_path: Path) -> None:
    """The longest piece of `filmx` leads nowhere; a shorter one would not."""
    from transformers import BertTokenizerFast

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "a",
        "f",
        "##ilmx",
        "film",
        "##m",
        "##z",
        "m",
    ]
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    texts = ["a filmx a", "fm a", "milmx"]
    assert tokenizer.tokenize("filmx a")[0] == "[UNK]"
    folder = save_classifier(tokenizer, tmp_path / "student", vocab_size=len(words))
    out = prune(folder, texts, tmp_path / "out")
    from transformers import AutoTokenizer

    after = AutoTokenizer.from_pretrained(out)
    for text in texts:
        assert after.tokenize(text) == tokenizer.tokenize(text)
    assert "##z" not in after.get_vocab()
    assert "film" in after.get_vocab()


def save_classifier(tokenizer: Any, folder: Path, **changes: Any) -> Path:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    shape = models.BERT | {"vocab_size": len(tokenizer), "initializer_range": 0.5} | changes
    model = BertForSequenceClassification(BertConfig(**shape, num_labels=3))
    save_folder(model, tokenizer, folder, max_length=32)
    return folder


def texts_as_data(
    texts: list[str], held_out: list[str], task: Any = None, pairs: bool = False
) -> StudentTexts:
    def split(name: str) -> Split:
        chosen = held_out if name == "test" else texts
        keys = np.arange(len(chosen)).astype("S16")
        return Split(keys, chosen, chosen[::-1] if pairs else None, np.zeros(len(chosen), np.int64))

    corpus: Any = SimpleNamespace(split=split, transfer=None, chat=PLAIN)
    return StudentTexts(task or Classification(max_length=32), corpus, "student.path", True)


def prune(folder: Path, texts: list[str], out: Path, task: Any = None, **more: bool) -> Path:
    data = texts_as_data(texts, OTHERS, task, **more)
    student = TrainedStudent(
        folder, lambda: None, lambda: iter(()), "student.path = x", lambda: data
    )
    compress(FORMATS["pruned_vocabulary"], student, out)
    return out


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_folder_opens_with_plain_transformers_and_says_the_same(
    kind: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = save_classifier(tokenizer_of(kind), tmp_path / "student", vocab_size=1000)
    out = prune(folder, TEXTS, tmp_path / "out")
    config = json.loads((out / "config.json").read_text())
    facts = config["distillkit_compression"]["vocabulary"]
    outputs = []
    for path in (folder, out):
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForSequenceClassification.from_pretrained(path).eval()
        rows = model.get_input_embeddings().weight
        inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
        tokens = [tokenizer.convert_ids_to_tokens(ids) for ids in inputs["input_ids"]]
        with torch.no_grad():
            outputs.append((len(tokenizer), len(rows), tokens, model(**inputs).logits))
    (old, rows, tokens, logits), (new, new_rows, new_tokens, new_logits) = outputs
    assert rows == facts["of"] == 1000
    assert new == new_rows == facts["tokens"] == config["vocab_size"] < old
    assert new_tokens == tokens
    torch.testing.assert_close(new_logits, logits, rtol=0, atol=1e-6)
    assert config["pad_token_id"] == 0
    size = (out / "model.safetensors").stat().st_size
    assert size < (folder / "model.safetensors").stat().st_size - 4 * 16 * (1000 - new) + 2000


KINDS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "textcnn", "siamese")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_encoder_says_the_same(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    model = models.save(kind, tmp_path / "student")
    out = prune(tmp_path / "student", TEXTS, tmp_path / "out", pairs=kind == "siamese")
    after = texts_as_data([], []).model(out)
    assert after.num_parameters() < model.num_parameters()
    inputs = [
        AutoTokenizer.from_pretrained(it)(
            TEXTS,
            TEXTS[::-1],
            padding=True,
            truncation=True,
            max_length=40,
            return_tensors="pt",
            return_token_type_ids=True,
        )
        for it in (tmp_path / "student", out)
    ]
    with torch.no_grad():
        outputs = [it(**of_it) for it, of_it in zip((model, after), inputs, strict=True)]
    for name in ("logits", "start_logits", "end_logits"):
        if name in outputs[0]:
            torch.testing.assert_close(outputs[1][name], outputs[0][name], rtol=0, atol=1e-6)
    assert after.config.id2label == model.config.id2label


@pytest.mark.parametrize("kind", language.SHAPES)
def test_a_language_model_says_the_same_of_the_tokens_that_remain(
    kind: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = language.save(kind, tmp_path / "student")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    texts = TEXTS[:15]
    out = prune(tmp_path / "student", texts, tmp_path / "out", CausalLM(max_length=16))
    after = AutoModelForCausalLM.from_pretrained(out).eval()
    new_tokenizer = AutoTokenizer.from_pretrained(out)
    assert new_tokenizer.chat_template == tokenizer.chat_template
    rows = len(new_tokenizer)
    assert 256 < rows < len(tokenizer) == model.config.vocab_size - 4
    assert after.config.vocab_size == rows == len(after.get_output_embeddings().weight)
    tied = after.get_output_embeddings().weight is after.get_input_embeddings().weight
    assert tied == model.config.tie_word_embeddings
    assert after.generation_config.eos_token_id == [
        new_tokenizer.convert_tokens_to_ids(end) for end in language.ENDS
    ]
    order = [
        tokenizer.convert_tokens_to_ids(new_tokenizer.convert_ids_to_tokens(i)) for i in range(rows)
    ]
    for text in texts:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        new_ids = new_tokenizer(text, return_tensors="pt")["input_ids"]
        assert [order[i] for i in new_ids[0]] == ids[0].tolist()
        with torch.no_grad():
            before, now = model(ids).logits, after(new_ids).logits
        torch.testing.assert_close(now, before[..., order], rtol=0, atol=1e-5)
    for text in (ODD, *OTHERS):
        assert new_tokenizer.decode(new_tokenizer(text)["input_ids"]) == text


def test_weights_keep_their_type(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = save_classifier(tokenizer_of("wordpiece"), tmp_path / "student", vocab_size=500)
    half = tmp_path / "half"
    plain = TrainedStudent(folder, lambda: None, lambda: iter(()), "student.path = x")
    compress(FORMATS["bf16"], plain, half)
    out = prune(half, TEXTS, tmp_path / "out")
    assert {it.dtype for it in load_file(out / "model.safetensors").values()} == {torch.bfloat16}


def test_a_tokenizer_that_cannot_be_pruned_is_refused() -> None:
    from transformers import ByT5Tokenizer

    with pytest.raises(ModelError, match=r"x: its tokenizer \(ByT5Tokenizer\) has no"):
        content_of(ByT5Tokenizer(), at="x")


def test_a_folder_whose_logits_change_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_classifier(tokenizer_of("wordpiece"), tmp_path / "student", vocab_size=500)
    keep_rows = pruned_vocabulary._keep_rows

    def wrong(model: Any, order: list[int]) -> None:
        keep_rows(model, order)
        model.classifier.weight.data += 0.01

    monkeypatch.setattr(pruned_vocabulary, "_keep_rows", wrong)
    with pytest.raises(ModelError, match="x: says something else without the tokens"):
        prune(folder, TEXTS, tmp_path / "out")
