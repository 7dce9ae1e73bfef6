"""The README.md of a compressed student: what it is, and how it is run."""

from pathlib import Path
from typing import Any

from distillkit.compression.formats import Format
from distillkit.console.escaping import markdown

ONNX = """\
import numpy as np
import onnxruntime
from transformers import AutoTokenizer

session = onnxruntime.InferenceSession("PATH/model.onnx")
tokenizer = AutoTokenizer.from_pretrained("PATH")
names = [it.name for it in session.get_inputs()]
inputs = tokenizer(["a text", "another one"], padding=True, truncation=True, return_tensors="np")
zeros = np.zeros_like(inputs["input_ids"])  # segments, where a tokenizer gives none
outputs = session.run(None, {name: inputs.get(name, zeros).astype(np.int64) for name in names})
"""
TORCH = """\
from transformers import AutoTokenizer, {auto_class}

model = {auto_class}.from_pretrained("PATH", dtype="auto")
tokenizer = AutoTokenizer.from_pretrained("PATH")
"""
LLAMA_CPP = """\
llama-server -m PATH/model.gguf
# or, with a Modelfile of the line `FROM PATH/model.gguf`: ollama create student -f Modelfile
"""
HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "CausalLM")


def card(form: Format, config: dict[str, Any], folder: Path) -> str:
    """The card of a student in a format; its labels are in the folder's config.json."""
    language, code = "python", ONNX
    if form.name.startswith("gguf"):
        language, code = "sh", LLAMA_CPP
    elif not form.name.startswith("onnx"):
        code = TORCH.format(auto_class=_auto_class(config))
    labels = config.get("id2label") if "labels" in form.kinds else None
    lines = ["---", "tags:", "- distillkit", f"- {form.name}", "---", f"# Student, {form.name}", ""]
    lines += [f"A distilled student: {form.title}.", ""]
    if labels:
        lines += [f"Labels, in the order of the logits: {markdown(', '.join(_names(labels)))}.", ""]
    return "\n".join([*lines, f"```{language}", code.rstrip(), "```", ""])


def _names(labels: dict[str, str]) -> list[str]:
    return [str(labels[place]) for place in sorted(labels, key=int)]


def _auto_class(config: dict[str, Any]) -> str:
    architecture = str((config.get("architectures") or [""])[0])
    return next(
        (f"AutoModelFor{head}" for head in HEADS if architecture.endswith(head)), "AutoModel"
    )
