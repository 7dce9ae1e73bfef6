"""`predict` and `generate` take a student in every format, and say of it what the student says."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from transformers import AutoTokenizer

from tests import tiny
from tests.cli.test_predict import LABELS, lines, named, write_head
from tests.conftest import Distillkit
from tests.unit.compression.language import save
from tests.unit.compression.test_gguf import write


@pytest.mark.parametrize("form", ["onnx", "bf16"])
def test_a_classifier_in_another_format(distillkit: Distillkit, tmp_path: Path, form: str) -> None:
    folder = write_head(tmp_path / "student", "ForSequenceClassification", **named(LABELS))
    record = '{"columns": {"text": "review"}}'
    (folder / "distillkit.json").write_text(record)
    tiny.write_csv(tmp_path / "in.csv", ("text", "label"), [("good", 1), ("bad", 0)])
    words = ("compress", f"student.path={folder}", f"compression=[{form}]", "task.max_length=24")
    result = distillkit(*words, "data=files", "data.train=in.csv", "workspace=w")
    assert result.code == 0, result.err
    given = [word for text, _ in tiny.labelled(5) for word in ("--text", text)]
    own = lines(distillkit("predict", f"student.path={folder}", *given).out)
    (artifact,) = Path("w").glob("compressed-*")
    (report,) = Path("outputs").glob(f"*/*/student-{form}")
    assert (report / "distillkit.json").read_text() == record
    for path in (artifact, report):
        found = lines(distillkit("predict", f"student.path={path}", *given).out)
        assert [it["text"] for it in found] == [it["text"] for it in own]
        within = 1e-4 if form == "onnx" else 0.05
        for it, expected in zip(found, own, strict=True):
            assert it["probabilities"] == pytest.approx(expected["probabilities"], abs=within)


def test_a_text_in_int8_says_the_same_whatever_stands_beside_it(
    distillkit: Distillkit, tmp_path: Path
) -> None:
    """ONNX Runtime's dynamic int8 rounds activations by the range of all texts of a batch."""
    folder = write_head(tmp_path / "student", "ForSequenceClassification", **named(LABELS))
    words = (f"student.path={folder}", "compression=[onnx_int8]", "workspace=w")
    assert distillkit("compress", *words).code == 0
    (int8,) = Path("outputs").glob("*/*/student-onnx_int8")
    session = onnxruntime.InferenceSession(int8 / "model.onnx")
    tokenizer = AutoTokenizer.from_pretrained(int8)
    texts = [text for text, _ in tiny.labelled(12)]
    given = [word for text in texts for word in ("--text", text)]
    together = lines(distillkit("predict", f"student.path={int8}", *given).out)
    for row, text in zip(together, texts, strict=True):
        inputs = tokenizer(text, return_tensors="np")
        feed = {it.name: inputs[it.name].astype("int64") for it in session.get_inputs()}
        logits = session.run(None, feed)[0][0]
        expected = np.exp(logits) / np.exp(logits).sum()
        assert [*row["probabilities"].values()] == pytest.approx(expected, abs=2e-6)


def test_a_gguf_file_and_its_folder(distillkit: Distillkit, tmp_path: Path) -> None:
    _, folder = write("llama", "gguf_f16", tmp_path)
    words = ("--prompt", "the film was good", "--max-new-tokens", "8")
    own = distillkit("generate", f"student.path={tmp_path / 'student'}", *words)
    assert own.code == 0 and own.out.strip()
    for path in (folder, folder / "model.gguf"):
        result = distillkit("generate", f"student.path={path}", *words)
        assert result.code == 0, result.err
        assert result.out == own.out


def test_characters_of_several_tokens_come_whole(tmp_path: Path) -> None:
    """A byte-level tokenizer has tokens of half a character."""
    import torch

    from distillkit.models.saved import Loaded
    from distillkit.prediction.generate import Streamer

    save("gpt2", tmp_path / "student")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    parts: list[tuple[str, bool]] = []
    streamer = Streamer(Loaded(None, tokenizer), lambda text, ended: parts.append((text, ended)))
    text = "naïve 🎬 good"
    streamer.put(torch.tensor([[1, 2, 3]]))
    for token in tokenizer(text)["input_ids"]:
        streamer.put(torch.tensor([token]))
    streamer.end()
    assert "".join(part for part, _ in parts) == text
    assert not any("\ufffd" in part for part, _ in parts)
    assert parts[-1][1] and not any(ended for _, ended in parts[:-1])
