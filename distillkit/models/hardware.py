"""How fast machines multiply, and how much they hold: this one by a probe, others as published."""

import os
import time
from dataclasses import dataclass

import torch

from distillkit.models.precision import Precision, resolve

UTILISATION = 0.35  # of the published peak that a transformer's training reaches, all in all
# Of the probe's products. Measured in processor time on one core with AVX2, widths 128 to 768,
# 2 to 10 layers: 0.69 to 0.97 forward, 0.54 to 0.84 in training; what a codec picks comes on top.
SHARE = 0.6
PROBE_SECONDS = 2.0
MOST_ROWS = 4096
MOST_SIDE = 16_384  # a larger product is no faster


# Assumptions of a plan on many processes, not published figures of a device.
SUSTAINED = 0.7  # of the published bandwidth of memory and of links, in large pieces
DISK = 2e9  # bytes a second that a machine reads or writes of what all machines share
HOST_LINK = 20e9  # bytes a second between a device and its machine's memory (PCIe, either way)


@dataclass(frozen=True, slots=True)
class Peak:
    """Published dense peaks in FLOP/s, without sparsity, and memory in bytes.

    `bfloat16` is None where the tensor cores have none: distillkit then computes in float32.
    `bandwidth` is that of the memory, `link` one direction between devices of a machine, both in
    bytes a second. `network` is a device's share of what its machine sends to others, and `a_node`
    the devices of a machine: those of the maker's own system where it sells one, else 8 devices
    that share 100 Gbit/s.
    """

    bfloat16: float | None
    float32: float
    memory: float
    bandwidth: float
    link: float
    network: float = 1.5e9
    a_node: int = 8


# NVIDIA's data sheets; where they give the figure with sparsity, half of it. Links: NVLink's total
# or PCIe's, halved for one direction. Networks: data sheets of DGX-1 (4 x 100 Gbit/s), DGX A100
# (8 x 200) and DGX H100 and H200 (8 x 400).
HARDWARE = {
    "a10": Peak(125e12, 31.2e12, 24e9, 600e9, 32e9),  # A10 data sheet, 2021
    "a100": Peak(312e12, 19.5e12, 80e9, 2039e9, 300e9, 25e9),  # A100 80GB SXM data sheet, 2021
    "h100": Peak(989e12, 67e12, 80e9, 3350e9, 450e9, 50e9),  # H100 SXM data sheet, 2023
    "h200": Peak(989e12, 67e12, 141e9, 4800e9, 450e9, 50e9),  # H200 SXM data sheet, 2024
    "l4": Peak(121e12, 30.3e12, 24e9, 300e9, 32e9),  # L4 data sheet, 2023
    "l40s": Peak(362e12, 91.6e12, 48e9, 864e9, 32e9),  # L40S data sheet, 2023
    "rtx4090": Peak(165e12, 82.6e12, 24e9, 1008e9, 32e9),  # Ada architecture whitepaper, 2022
    "t4": Peak(None, 8.1e12, 16e9, 300e9, 16e9),  # T4 data sheet, 2019
    "v100": Peak(None, 15.7e12, 32e9, 900e9, 150e9, 6.25e9),  # V100 SXM2 32GB, 2020
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan is made for: this machine with its device, or hardware by name."""

    device: torch.device
    name: str | None = None

    @property
    def is_device(self) -> bool:
        """Whether models have a memory of their own, apart from the machine's."""
        return self.name is not None or self.device.type == "cuda"

    def precision(self, precision: Precision) -> str:
        """The format that `precision` means here."""
        if self.name is None:
            return str(resolve(precision, self.device)).removeprefix("torch.")
        has = HARDWARE[self.name].bfloat16 is not None
        return "bfloat16" if precision != "float32" and has else "float32"

    def rate(self, precision: str, *, rows: int, width: int, neurons: int, seconds: float) -> float:
        """FLOP/s that real work will reach: a share of the probe's, or of the published peak."""
        if self.name is None:
            dtype = getattr(torch, precision)
            shape = (min(rows, MOST_ROWS), min(width, MOST_SIDE), min(neurons, MOST_SIDE))
            return SHARE * probe(*shape, dtype=dtype, device=self.device, seconds=seconds)
        peak = HARDWARE[self.name]
        return UTILISATION * (peak.float32 if precision == "float32" else peak.bfloat16 or 0.0)

    @property
    def memory(self) -> float:
        """Bytes that models and batches have room in."""
        if self.name is not None:
            return HARDWARE[self.name].memory
        if self.device.type == "cuda":
            return float(torch.cuda.get_device_properties(self.device).total_memory)
        return main_memory()


def main_memory() -> float:
    """The machine's memory in bytes."""
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


@torch.inference_mode()
def probe(
    rows: int,
    width: int,
    neurons: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    seconds: float = PROBE_SECONDS,
) -> float:
    """FLOP/s of products [rows, width] x [width, neurons], over about so many seconds."""
    factor = torch.ones(rows, width, dtype=dtype, device=device)
    right = torch.ones(width, neurons, dtype=dtype, device=device)
    _wait(factor @ right)  # the first one finds its way, and allocates
    products, start = 0, time.perf_counter()
    while True:
        product = factor @ right
        products += 1
        if products % 8 == 0 or device.type == "cpu":
            _wait(product)
            spent = time.perf_counter() - start
            if spent >= seconds:
                return 2.0 * rows * width * neurons * products / spent


def _wait(product: torch.Tensor) -> None:
    if product.is_cuda:
        torch.cuda.synchronize(product.device)
