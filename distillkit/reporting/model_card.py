"""The student's README.md: what it is, how good, how it is used, and what it may be used for."""

from collections.abc import Mapping, Sequence
from typing import Any

from distillkit.console.escaping import markdown, markdown_code
from distillkit.console.progress import visible
from distillkit.models.legacy import OLDEST_READER
from distillkit.reporting.report import QUALITY, footnote, markdown_table, sentences, setting
from distillkit.reporting.usage import example

UNKNOWN = "unknown"  # a license of the hub's list
OWN_CODE = [  # with distillkit at hand no code of the folder need be trusted
    "transformers lacks this architecture, distillkit has it:",
    "",
    "```python",
    "from distillkit.students.architectures import register_architectures",
    "",
    "register_architectures()",
    "```",
    "",
    "Where distillkit is not installed, the same code lies beside the weights. Read it, then let",
    "transformers run it with `trust_remote_code=True` in both calls.",
]


def model_card(results: Mapping[str, Any], *, name: str, recipe: str) -> str:
    """The student's README.md with the metadata that the hub reads, made from the results.

    `recipe` is empty where none was chosen.
    """
    from huggingface_hub import EvalResult, ModelCardData

    pipeline = results.get("pipeline", "text-classification")
    kind = "text-scoring" if results["headline"] == "pearson" else pipeline
    row, license = results["rows"]["student"], _license(results.get("licenses") or [])
    data = ModelCardData(
        library_name="transformers",
        tags=["distillkit", "knowledge-distillation"],
        pipeline_tag=pipeline,
        model_name=visible(name),
        license=license["license"],
        license_name=license.get("license_name"),
        eval_results=[
            EvalResult(
                task_type=kind,
                dataset_type="held-out",
                dataset_name=f"held-out split of {visible(recipe)}" if recipe else "held-out split",
                metric_type=metric,
                metric_value=round(row[metric], 4),
            )
            for metric in QUALITY
            if metric in row
        ],
    )
    use = [
        "```python",
        *example(results),
        "```",
        "",
        f"The oldest version that reads this folder alike: {OLDEST_READER}.",
    ]
    if results.get("own_code"):
        use = [*OWN_CODE, "", *use]
    lines = ["---", data.to_yaml(), "---", f"# {markdown(name)}", ""]
    recipe_text = f", recipe {markdown_code(recipe)}" if recipe else ""
    lines += [
        f"Distilled with distillkit{recipe_text}.",
        "",
        *map(markdown, sentences(results)),
        "",
    ]
    lines += [*_made_of(results), *markdown_table(results), "", markdown(footnote(results)) + "."]
    lines += ["", "## Use", "", *use, "", *_licenses(results.get("licenses") or [])]
    return "\n".join(lines)


def licensed(card: str, sources: Sequence[Mapping[str, Any]]) -> str:
    """A card that was made without them, with the licenses of what the student is made of."""
    if not sources:
        return card
    head = "".join(f"{name}: {value}\n" for name, value in _license(sources).items())
    return card.replace("---\n", f"---\n{head}", 1) + "\n" + "\n".join(_licenses(sources))


def _license(sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The license in the metadata: that of all sources, `other` of several, else `unknown`."""
    names = [*dict.fromkeys(it["license"] for it in sources)]
    if not names or None in names:
        return {"license": UNKNOWN}
    if len(names) == 1:
        return {"license": visible(names[0])}
    return {"license": "other", "license_name": visible("-and-".join(names)).replace(" ", "-")}


def _licenses(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the sources of a student are licensed under, and by whose word."""
    if not sources:
        return []
    lines = ["## Licenses", "", "Of what the student is made of, as far as it is known:", ""]
    for it in sources:
        name = it["license"] or UNKNOWN
        source = markdown_code(it["source"])
        lines.append(f"- {it['what']} {source}: {markdown(name)} ({markdown(it['origin'])})")
    if any(it["license"] is None for it in sources):
        lines += ["", "Where it is unknown, ask its authors before the student is passed on."]
    return [*lines, ""]


def _made_of(results: Mapping[str, Any]) -> list[str]:
    """What a student was made of, and by which command, where its run is known."""
    names = ("teacher", "student", "data", "loss", "targets", "optimizer", "command")
    run = results.get("run", {})
    lines = [f"- {name}: {setting(name, run[name])}" for name in names if name in run]
    return [*lines, ""] if lines else []
