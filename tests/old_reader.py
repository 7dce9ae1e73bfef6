"""Run by an older transformers: what it makes of the folders that are named, as JSON.

Nothing here may import distillkit. Each folder has `asked.json`: the auto class, the texts, token
ids, and whether the folder's own code may run.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import torch  # noqa: E402
import transformers  # noqa: E402

transformers.utils.logging.set_verbosity_error()


def answers(folder: Path) -> dict:
    asked = json.loads((folder / "asked.json").read_text())
    trust = {"trust_remote_code": asked.get("own_code", False)}
    model = getattr(transformers, asked["auto_class"]).from_pretrained(folder, **trust).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trust)
    ids = torch.tensor(asked["ids"])
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    texts, batch = torch.zeros(1), {}
    if asked["padded"]:
        batch = tokenizer(asked["texts"], padding=True, return_tensors="pt")
        with torch.no_grad():
            texts = model(**batch).logits
    found = {
        "logits": logits.float().tolist(),
        "texts": texts.float().tolist(),
        "token_ids": [tokenizer(text)["input_ids"] for text in asked["texts"]],
        "inputs": sorted(batch),
        "model_max_length": tokenizer.model_max_length,
        "pad": tokenizer.pad_token_id,
        "padding_side": tokenizer.padding_side,
        "dtype": str(model.dtype),
    }
    if asked.get("messages"):
        found["chat"] = tokenizer.apply_chat_template(asked["messages"], tokenize=False)
    return found


def main() -> None:
    found = {}
    for name in sys.argv[2:]:
        try:
            found[name] = answers(Path(name))
        except Exception as error:  # told to the test, folder by folder
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    found["version"] = transformers.__version__
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
