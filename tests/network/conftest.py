"""Runtimes that are no part of the environment of the tests, each in a folder of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

LLAMA_CPP = "xllamacpp==2026.10.11549"


@pytest.fixture(scope="session")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with llama.cpp in it: an environment of its own, beside ours."""
    folder = tmp_path_factory.mktemp("llama-cpp")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, LLAMA_CPP], check=True)
    return folder
