"""The formats that a student can be compressed to or exported in; imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Any, Literal

Name = Literal[
    "bf16",
    "int8",
    "onnx",
    "onnx_int8",
    "onnx_int8_distilled",
    "onnx_int8_static",
    "gguf_f16",
    "gguf_q8_0",
    "gguf_q4_0",
    "pruned_vocabulary",
]
Calibration = Literal["minmax", "percentile", "entropy"]
Kind = Literal["labels", "masked", "causal"]  # what a model says: labels, or words


@dataclass(frozen=True, slots=True)
class Format:
    """How a trained student is written anew.

    `write` is the function that does it, `settings` what decides what it writes, and `version` goes
    up where the same settings give another content. `start` is the format whose folder it begins
    with; None: the student's own. `packages` come with the extra `extra`. One that `calibrates`
    reads texts of the training set; one that `reads_data`, all of them and those held out. What
    is `distilled` begins with the student after further training in the format's arithmetic.
    """

    name: str
    title: str  # of a model card
    write: str
    kinds: tuple[Kind, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    start: str | None = None
    packages: tuple[str, ...] = ()
    extra: str = ""
    calibrates: bool = False
    reads_data: bool = False
    distilled: bool = False


_ONNX: dict[str, Any] = {
    "kinds": ("labels",),
    "packages": ("onnx", "onnxruntime", "onnxscript"),
    "extra": "export",
}
_GGUF = "distillkit.compression.gguf_export:write"
CALIBRATIONS: dict[str, str] = {  # ONNX Runtime's names
    "minmax": "MinMax",
    "percentile": "Percentile",
    "entropy": "Entropy",
}
FORMATS = {
    it.name: it
    for it in (
        Format(
            "bf16",
            "weights in bfloat16, computed in bfloat16",
            "distillkit.compression.bf16:write",
            ("labels", "masked", "causal"),
        ),
        Format(
            "int8",
            "matrices in int8, by torchao",
            "distillkit.compression.torchao_int8:write",
            ("labels", "causal"),
            version=2,
            packages=("torchao",),
            extra="quantize",
        ),
        Format(
            "onnx",
            "ONNX, float32",
            "distillkit.compression.onnx_export:write",
            settings={"opset": 18},
            **_ONNX,
        ),
        Format(
            "onnx_int8",
            "ONNX, weights in int8, activations quantised as they come",
            "distillkit.compression.onnx_int8:write_dynamic",
            settings={"per_channel": True},
            start="onnx",
            **_ONNX,
        ),
        Format(
            "onnx_int8_distilled",
            "ONNX, in int8 as onnx_int8, after training in that arithmetic on the soft targets",
            "distillkit.compression.onnx_int8:write_distilled",
            settings={"per_channel": True},
            start="onnx",
            calibrates=True,
            distilled=True,
            **_ONNX,
        ),
        Format(
            "onnx_int8_static",
            "ONNX, weights and activations in int8, their ranges from texts of the training set",
            "distillkit.compression.onnx_int8:write_static",
            settings={
                "per_channel": True,
                "calibration": CALIBRATIONS["minmax"],
                "op_types_to_quantize": ["MatMul", "Gemm", "Gather", "Conv"],
            },
            start="onnx",
            calibrates=True,
            **_ONNX,
        ),
        Format("gguf_f16", "GGUF, float16", _GGUF, ("causal",), {"type": "F16"}),
        Format("gguf_q8_0", "GGUF, weights in 8 bits", _GGUF, ("causal",), {"type": "Q8_0"}),
        Format("gguf_q4_0", "GGUF, weights in 4 bits", _GGUF, ("causal",), {"type": "Q4_0"}),
        Format(
            "pruned_vocabulary",
            "with the tokens of its training texts alone",
            "distillkit.compression.pruned_vocabulary:write",
            ("labels", "causal"),
            reads_data=True,
        ),
    )
}
