"""How a student is used with transformers alone: the example of its model card, ten lines."""

from collections.abc import Mapping
from typing import Any

LOGITS = (
    'inputs = tokenizer(text, truncation=True, return_tensors="pt")',
    "with torch.no_grad():",
    "    logits = model(**inputs).logits[0]",
)
ENDS = {  # what is made of a text, by what the student is for
    "class": (
        *LOGITS,
        "for place, share in enumerate(logits.softmax(-1)):",
        "    print(model.config.id2label[place], round(float(share), 4))",
    ),
    "labels": (
        *LOGITS,
        "for place, share in enumerate(logits.sigmoid()):",
        "    print(model.config.id2label[place], round(float(share), 4))",
    ),
    "value": (*LOGITS, "print(round(float(logits[0]), 4))"),
    "tags": (
        *LOGITS,
        'for token, place in zip(inputs["input_ids"][0], logits.argmax(-1)):',
        "    print(tokenizer.decode(token), model.config.id2label[int(place)])",
    ),
    "answer": (
        'inputs = tokenizer("Who made it?", text, return_tensors="pt")',
        "with torch.no_grad():",
        "    output = model(**inputs)",
        "first, last = int(output.start_logits.argmax()), int(output.end_logits.argmax())",
        'print(tokenizer.decode(inputs["input_ids"][0, first : last + 1]))',
    ),
    "text": (
        'inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)',
        "output = model.generate(**inputs, max_new_tokens=20)",
        "print(tokenizer.decode(output[0], skip_special_tokens=True))",
    ),
    "masked": (
        *LOGITS,
        "print(tokenizer.decode(logits.argmax(-1)))",
    ),
}
OF_PIPELINE = {
    "token-classification": "tags",
    "question-answering": "answer",
    "text-generation": "text",
    "fill-mask": "masked",
}


def example(results: Mapping[str, Any]) -> list[str]:
    """Lines of Python that load the student of PATH and print what it says of a text."""
    loader = results.get("auto_class", "AutoModelForSequenceClassification")
    return [
        "import torch",
        f"from transformers import {loader}, AutoTokenizer",
        "",
        f'model = {loader}.from_pretrained("PATH")',
        'tokenizer = AutoTokenizer.from_pretrained("PATH")',
        'text = "A warm and clever film."',
        *ENDS[_use(results)],
    ]


def _use(results: Mapping[str, Any]) -> str:
    use = OF_PIPELINE.get(results.get("pipeline", ""))
    if use is not None:
        return use
    row = results["rows"]["student"]
    return "value" if "pearson" in row else "labels" if "micro_f1" in row else "class"
