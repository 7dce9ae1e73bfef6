"""The README's "Adding to it" as printed: one file, one YAML, one row, in a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from distillkit.config.paths import ROOT
from tests import tiny

README = ROOT / "distillkit" / "README.md"
EXAMPLE = Path(__file__).parent / "distillkit_extension_example" / "codec.py"
COPIED = ("distillkit", "conf", "recipes", "tests", "pyproject.toml")


def blocks(title: str) -> list[str]:
    """The code of a section, block by block."""
    _, _, rest = README.read_text(encoding="utf-8").partition(f"### {title}\n")
    return re.findall(r"^```\w+\n(.*?)^```$", rest.partition("\n### ")[0], re.MULTILINE | re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            leave_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tmp_path / name, ignore=leave_out)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def add_row(listing: Path, begin: str, row: str) -> None:
    """Put a row at the head of a listing, and the import that its comment names above."""
    (imported,) = re.findall(r"  # (from distillkit\..*)$", row, re.MULTILINE)
    text = listing.read_text(encoding="utf-8")
    assert text.count(begin) == 1
    row = re.sub(r"\)(  #.*)?$", r"),\1", row.rstrip())
    text = text.replace(begin, f"{begin}{row}\n")
    first = text.index("\nfrom distillkit") + 1
    listing.write_text(f"{text[:first]}{imported}\n{text[first:]}", encoding="utf-8")


def run_tests(project: Path, *words: str) -> str:
    """What pytest says of the copy."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *words],
        cwd=project,
        capture_output=True,
        text=True,
        env=tiny.env(PYTHONPATH=str(project)),
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def number(output: str) -> int:
    """How many tests passed."""
    return int(re.findall(r"(\d+) passed", output)[0])


def test_a_loss_is_one_file_one_yaml_and_one_row(project: Path) -> None:
    code, settings, row = blocks("A loss")
    (project / "distillkit/losses/hellinger.py").write_text(code, encoding="utf-8")
    (project / "conf/loss/hellinger.yaml").write_text(settings, encoding="utf-8")
    add_row(project / "tests/contract/listing.py", "LOSSES = (\n", row)
    contract = [f"tests/contract/test_{name}.py" for name in ("functions", "corners", "sparse")]
    assert number(run_tests(project, *contract, "-k", "hellinger")) > 50
    assert number(run_tests(project, "tests/configs/test_groups.py", "-k", "hellinger")) > 3


def test_a_codec_is_one_file_one_yaml_and_one_row(project: Path) -> None:
    settings, row = blocks("A codec")
    shutil.copy(EXAMPLE, project / "distillkit/targets/codecs/likeliest.py")
    (project / "conf/targets/likeliest.yaml").write_text(settings, encoding="utf-8")
    add_row(project / "tests/unit/targets/test_codecs.py", "EVERY: list[Codec] = [\n", row)
    codecs = run_tests(project, "tests/unit/targets/test_codecs.py", "-k", "Likeliest or every")
    assert number(codecs) > 10
    assert number(run_tests(project, "tests/configs/test_groups.py", "-k", "likeliest")) > 3
