"""What sources say of their license: by their card, their file or their package."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from distillkit.data.licenses import License, license_of


def with_card(folder: Path, head: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text(f"---\n{head}\n---\n# It\n")
    return folder


def found(source: object, tmp_path: Path) -> License:
    return license_of(str(source), key="teacher.path", cache=tmp_path / "assets")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("license: apache-2.0", "apache-2.0"),
        ("license: [mit, cc-by-4.0]", "mit and cc-by-4.0"),
        ("license: other\nlicense_name: gemma", "gemma"),
        ("license: other", "other"),
        ("license: unknown", None),
        ("license: 3", None),
        ("license: {a: b}", None),
        ("language: en", None),
        ("license: [", None),
        ("- license", None),
    ],
)
def test_a_folder_has_the_license_of_its_card(tmp_path: Path, head: str, name: str | None) -> None:
    assert found(with_card(tmp_path / "model", head), tmp_path).name == name


def test_what_has_no_card_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n")
    assert found(tmp_path / "train.csv", tmp_path) == License(None, "a file without a card")
    (tmp_path / "bare").mkdir()
    assert found(tmp_path / "bare", tmp_path) == License(None, "it has no card")
    assert found(tmp_path / "missing", tmp_path).name is None


def test_a_card_of_many_aliases_says_nothing(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    bomb = with_card(tmp_path / "model", "\n".join([*lines, "license: mit"]))
    assert found(bomb, tmp_path).name is None


def test_the_license_of_a_package_is_not_that_of_what_is_in_it(tmp_path: Path) -> None:
    wheel = tmp_path / "texts-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("texts/data.csv", "text,label\n")
        archive.writestr("texts/model/README.md", "---\nlicense: apache-2.0\n---\n")
        archive.writestr("texts-1.0.dist-info/METADATA", "Name: texts\nLicense: MIT\n\nLong text")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    home = tmp_path / "assets" / digest[:16]
    home.mkdir(parents=True)
    wheel.rename(home / wheel.name)
    data = found(f"pypi://texts==1.0/texts/data.csv#sha256={digest}", tmp_path)
    assert data == License(None, "a file without a card; its package is under MIT")
    model = found(f"pypi://texts==1.0/texts/model#sha256={digest}", tmp_path)
    assert model == License("apache-2.0", "its card")


def test_a_gguf_file_names_its_own(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("general.quantization_version", 2)
    writer.add_tags(["one", "two"])
    writer.add_float32("general.share", 0.5)
    writer.add_bool("general.open", True)
    writer.add_license("apache-2.0")
    writer.add_token_list(["a", "b"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert found(path, tmp_path) == License("apache-2.0", "its file")
    whole = path.read_bytes()
    for length in range(0, whole.index(b"apache"), 7):
        path.write_bytes(whole[:length])
        assert found(path, tmp_path) == License(None, "its file names none")
    path.write_bytes(whole[:24] + b"\xff" * 40)
    assert found(path, tmp_path).name is None
