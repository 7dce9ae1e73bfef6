"""A report page to look at: results that have all that a page can show, and how a page is read."""

import copy
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from distillkit.metrics.calibration import reliability

EVIL = (
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "[bold]x[/bold]",
    '"><img src=x onerror=alert(1)>',
    "$x^2$",
    "\x1b[31mred\u202e",
    "</style></svg>",
    "&amp;",
)


def row(**changes: Any) -> dict[str, Any]:
    """A row of the table."""
    usual = {
        "accuracy": 0.8,
        "macro_f1": 0.75,
        "ece": 0.05,
        "nll": 0.5,
        "headline_interval": [0.78, 0.82],
        "parameters": 4_386_178,
        "megabytes": 17.6,
        "latency_p50_ms": 2.0,
        "latency_p95_ms": 3.0,
        "sentences_per_second": 900.0,
        "unknown_tokens": 0.001,
    }
    return usual | changes


def results(labels: tuple[str, ...] = ("negative", "positive")) -> dict[str, Any]:
    """Of a run over these labels; the first two are those of an example that the two differ on."""
    import numpy as np

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, len(labels))) * 2
    bins = reliability(logits, rng.integers(0, len(labels), 200), bins=5).record()
    rows = {"teacher": row(accuracy=0.9, parameters=22_713_986, megabytes=90.9, latency_p50_ms=9.0)}
    rows |= {"student": row(agreement=0.9), "control": row(accuracy=0.79)}
    gain = {"difference": 0.01, "low": -0.01, "high": 0.03}
    worse = {"difference": 0.2, "low": 0.1, "high": 0.3}
    better = {"difference": -0.1, "low": -0.2, "high": -0.05}
    scores = {"precision": [0.5] * len(labels), "recall": [0.25] * len(labels)}
    confusion = np.eye(len(labels), dtype=int).tolist()
    of_classes = scores | {"f1": [1 / 3] * len(labels), "confusion": confusion}
    curve = [
        {"step": n, "lr": 0.1, "loss": 1 / n, "soft": 0.5 / n, "hard": 0.5 / n, "tokens": 1.0}
        | {"validation_accuracy": n / 10}
        for n in range(1, 9)
    ]
    return copy.deepcopy(
        {
            "schema": 1,
            "rows": rows,
            "headline": "accuracy",
            "higher_is_better": True,
            "metrics": {},
            "examples": 1293,
            "ece_bins": 5,
            "level": 0.95,
            "batch_size": 32,
            "device": "cpu",
            "environment": {"threads": "2", "torch": "2.9.0"},
            "reliability": dict.fromkeys(rows, bins),
            "curves": {"student": curve, "control": curve},
            "teacher_validation": 0.85,
            "comparison": {
                "kept": 0.8 / 0.9,
                "smaller": 5.18,
                "faster": 4.5,
                "faster_batched": 6.0,
                "student_minus_control": gain,
                "columns_minus_control": {"accuracy": gain, "nll": better, "ece": worse},
                "columns_minus_teacher": {"accuracy": better, "nll": worse},
                "classes": {
                    "classes": len(labels),
                    "names": list(labels),
                    "support": [100] * len(labels),
                    "rows": dict.fromkeys(rows, of_classes),
                },
                "slices": [
                    {
                        "slice": "length",
                        "value": labels[0],
                        "examples": 321,
                        "rows": dict.fromkeys(rows, 0.75),
                        "student_minus_control": gain,
                    }
                ],
                "disagreements": [
                    {
                        "row": 3,
                        "distance": 0.75,
                        "text": f"a text with {labels[0]}",
                        "label": labels[0],
                        "teacher": labels[0],
                        "teacher_confidence": 0.9,
                        "student": labels[1],
                        "student_confidence": 0.6,
                    }
                ],
            },
            "run": {
                "command": "distillkit train data.train=x.csv",
                "teacher": "a teacher",
                "student": labels[0],
                "seed": 0,
            },
            "layer_maps": {"hidden": "0 <- 0\n1 <- 2"},
            "phases": [],
            "stages": [
                {
                    "stage": "teacher",
                    "artifact": "teacher-0",
                    "seconds": 75.0,
                    "megabytes": 90.0,
                    "made": True,
                },
                {
                    "stage": "student",
                    "artifact": "student-0",
                    "seconds": None,
                    "megabytes": 17.0,
                    "made": False,
                },
            ],
            "targets": {
                "codec": {"name": "dense", "dtype": "float32"},
                "examples": 2000,
                "tokens": 20000,
                "positions": 2000,
                "outputs": 2,
                "megabytes": 0.5,
                "bytes_per_position": 8.0,
                "quality": {"positions": 100, "kept_mass": 1.0, "kl": 1.5e-8, "entropy": 0.4},
            },
            "data": {
                "rows": {"train": 6387, "test": 1293},
                "dropped": {"duplicate": 12},
                "classes": len(labels),
                "class_counts": dict.fromkeys(labels, 50),
            },
        }
    )


class Page(HTMLParser):
    """What a browser would see of a page: its elements, their attributes, its text."""

    VOID = ("meta", "br", "img", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Mapping[str, str | None]]] = []
        self.open: list[str] = []
        self.parts: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {*self.open}:
            self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)
