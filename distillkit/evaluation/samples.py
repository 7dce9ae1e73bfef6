"""What models write: greedy continuations of the same held-out text, side by side."""

from collections.abc import Mapping
from itertools import islice

from distillkit.data.corpus import Split
from distillkit.evaluation.efficiency import Measured
from distillkit.generation.decode import continuations
from distillkit.generation.prompts import Prompts
from distillkit.metrics import EvaluationSettings


def samples(
    loaded: Mapping[str, Measured], test: Split, settings: EvaluationSettings
) -> list[dict[str, str]]:
    """[{"prompt": …, row: what the model writes, …}] for the first few held-out texts."""
    tokenizer = next(iter(loaded.values())).loaded.tokenizer
    read = Prompts(test, tokenizer)
    usable = (prompt for prompt in map(read, range(len(test))) if prompt is not None)
    prompts = list(islice(usable, settings.samples))
    texts_by_row = {
        row: continuations(
            measured.loaded.model,
            measured.loaded.tokenizer,
            prompts,
            tokens=settings.sample_tokens,
            batch_size=settings.batch_size,
            seed=None,
            label=f"samples of {row}",
        )
        for row, measured in loaded.items()
    }
    return [
        {
            "prompt": tokenizer.decode(p.ids, skip_special_tokens=True),
            **{row: texts_of_row[i] for row, texts_of_row in texts_by_row.items()},
        }
        for i, p in enumerate(prompts)
    ]
