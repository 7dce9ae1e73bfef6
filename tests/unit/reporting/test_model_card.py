"""What a model card says of licenses."""

from typing import Any

import pytest
import yaml

from distillkit.reporting.model_card import licensed, model_card
from tests.unit.reporting.test_report import results


def of(what: str, license: str | None) -> dict[str, Any]:
    return {"what": what, "source": f"my/{what}", "license": license, "origin": "its card"}


@pytest.mark.parametrize(
    ("licenses", "metadata"),
    [
        (["mit", "mit"], {"license": "mit"}),
        (["mit", "cc-by-4.0"], {"license": "other", "license_name": "mit-and-cc-by-4.0"}),
        (["mit", None], {"license": "unknown"}),
    ],
)
def test_the_metadata_name_a_license_that_all_sources_have(
    licenses: list[str | None], metadata: dict[str, str]
) -> None:
    sources = [of(*pair) for pair in zip(("teacher", "data"), licenses, strict=True)]
    card = model_card(results() | {"licenses": sources}, name="s", recipe="")
    other = licensed("---\ntags:\n- onnx\n---\n# s\n", sources)
    for text in (card, other):
        head = yaml.safe_load(text.split("---\n")[1])
        assert {k: v for k, v in head.items() if k.startswith("license")} == metadata
        for what, name in zip(("teacher", "data"), licenses, strict=True):
            assert f"- {what} `my/{what}`: {name or 'unknown'} (its card)" in text
        assert ("ask its authors" in text) == (None in licenses)


def test_foreign_names_are_text_of_a_card() -> None:
    source = of("data", "mit\n---\n<script>") | {"source": "`a` | b"}
    card = model_card(results() | {"licenses": [source]}, name="s", recipe="")
    assert "<script>" not in card.split("\n---\n", 1)[1]
    assert yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))["license"]
