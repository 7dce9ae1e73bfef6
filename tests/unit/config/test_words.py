"""What stands behind the = of a word: any name of a file, a comma included, is that name."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from distillkit.config import overrides
from distillkit.config.words import quoted

NAMES = [
    "com,ma.csv",
    "a, b.csv",
    "a b.csv",
    "it's.csv",
    'a"b.csv',
    'it\'s "a".csv',
    "a=b.csv",
    "d[1].csv",
    "x (1).csv",
    "glob(x).csv",
    "{a}.csv",
    "über.csv",
    "日本.csv",
    "~/x.csv",
    "50%.csv",
    "a;b#c&d!.csv",
    "a\\b.csv",
    "C:\\text\\",
    "parts/*.csv",
    "null.csv",
    "01",
    "1e3",
    "true",
    "7",
    "[a,b].csv",
]


def value_of(word: str, key: str, *, sweeps: bool = False) -> Any:
    found = overrides.check(["data=files", "data.train=a.csv", word], sweeps=sweeps)
    again = overrides.check(found.overrides, sweeps=sweeps)  # as Hydra gets them
    assert again.cfg == found.cfg
    return OmegaConf.to_container(again.cfg)["data"][key]  # type: ignore[call-overload, index]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_file_is_that_name(name: str) -> None:
    assert value_of(f"data.test={name}", "test") == name


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("[a.csv,b.csv]", ["a.csv", "b.csv"]),
        ("[über.csv,d[1].csv]", ["über.csv", "d[1].csv"]),
        ("['a,b.csv','it''s.csv']", ["a,b.csv", "it's.csv"]),
        ("null", None),
        ("'com,ma.csv'", "com,ma.csv"),
    ],
)
def test_lists_and_null_stay_what_they_are(written: str, value: Any) -> None:
    assert value_of(f"data.test={written}", "test") == value


def test_values_of_a_mapping_are_of_any_letters() -> None:
    found = value_of("data.where={lang:日本,year: 1999,source:[ü,b c],seen:true}", "where")
    assert found == {"lang": "日本", "year": 1999, "source": ["ü", "b c"], "seen": True}


def test_numbers_are_names_of_columns(tmp_path: Path) -> None:
    assert value_of("data.columns=[0,1]", "columns") == ["0", "1"]
    assert value_of("data.text=0", "text") == "0"
    assert value_of("data.separator=,", "separator") == ","
    assert value_of("data.train_size=7", "train_size") == 7


def test_with_a_sweep_a_comma_stands_between_its_values() -> None:
    found = overrides.check(["data=files", "data.train=a,b", "seed=1,2"], sweeps=True)
    assert found.overrides[1:] == ["data.train=a,b", "seed=1,2"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("loss.temperature=1,2", r"^loss\.temperature = 1,2: must be a number.*add -m"),
        ("loss=forward_kl,dkd", r"^loss = forward_kl,dkd: no such loss; .*add -m"),
        ("seed=range(1,3)", r"^seed: range\(1,3\) is a sweep; add -m"),
        ("seed=choice(1,3)", "is a sweep; add -m"),
    ],
)
def test_a_sweep_without_its_option_names_it(word: str, said: str) -> None:
    from distillkit.errors import ConfigError

    with pytest.raises(ConfigError, match=said):
        overrides.check(["data=files", "data.train=a.csv", word], sweeps=False)


@pytest.mark.parametrize("text", ["a", "", "it's", 'a"b', "'\"", "\\", "a\\'b\"", "\\\\'\"\\"])
def test_what_is_quoted_comes_back(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert OverridesParser.create().parse_override(f"key={quoted(text)}").value() == text
