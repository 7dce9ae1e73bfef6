"""What llama.cpp says of a GGUF file; run by itself, with xllamacpp on the path.

Reads {"model", "texts", "messages", "ids", "rows", "letter"} as JSON from stdin; prints {"tokens",
"nats", "written", "rendered"}: the ids of each text, the nats of each of `ids` after those before
it, 8 greedy tokens after `ids`, and the messages as the file's chat template has them.
"""

import json
import math
import sys
import urllib.request
from typing import Any

import xllamacpp


def main() -> None:
    asked = json.load(sys.stdin)
    settings = xllamacpp.CommonParams()
    settings.model.path = asked["model"]
    settings.n_ctx, settings.n_gpu_layers, settings.n_parallel = 256, 0, 1
    settings.cpuparams.n_threads = 1
    settings.warmup = False
    settings.verbosity = -1
    server = xllamacpp.Server(settings)

    def post(path: str, **content: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            server.listening_address + path,
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    ids, rows = asked["ids"], asked["rows"]
    # one letter is drawn each time: with half of a letter the answer has no probabilities, which
    # are of the logits before this
    drawn = {"temperature": 0, "n_predict": 1, "logit_bias": [[asked["letter"], 1000.0]]}
    nats = []
    for place in range(1, len(ids)):
        said = post("/completion", prompt=ids[:place], n_probs=rows, **drawn)
        shares = said["completion_probabilities"][0]["top_logprobs"]
        nats.append(-next(it["logprob"] for it in shares if it["id"] == ids[place]))
    assert all(map(math.isfinite, nats))
    written = post(
        "/completion", prompt=ids, n_predict=8, temperature=0, return_tokens=True, ignore_eos=True
    )
    tokens = [
        post("/tokenize", content=text, add_special=True)["tokens"] for text in asked["texts"]
    ]
    rendered = post("/apply-template", messages=asked["messages"])["prompt"]
    found = {"tokens": tokens, "nats": nats, "written": written["tokens"], "rendered": rendered}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
