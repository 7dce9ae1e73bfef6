"""Secrets of the environment and credentials in addresses: named in their place, never written."""

import json

import pytest

from distillkit.console.masking import for_downloads, is_secret, masked, names_of


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", 'hf-"s3cret"\\x')
    monkeypatch.setenv("MY_PLACE", "/somewhere/private")
    monkeypatch.setenv("SHORT_TOKEN", "abcde")
    monkeypatch.setenv("LONG_TOKEN", "zzyyxx")


def test_a_secret_is_named_in_text_and_in_json() -> None:
    value = 'hf-"s3cret"\\x'
    assert masked(f"x {value} y") == "x ${oc.env:HF_TOKEN} y"
    written = masked(json.dumps({"a": f"x-{value}", "b": 1}))
    assert json.loads(written) == {"a": "x-${oc.env:HF_TOKEN}", "b": 1}


def test_what_an_override_refers_to_is_named_whatever_its_name() -> None:
    names = names_of(["data.train='${oc.env:MY_PLACE}/a.csv'", "seed=${oc.env:SEED,1}"])
    assert names == {"MY_PLACE", "SEED"}
    assert masked("/somewhere/private/a.csv") == "/somewhere/private/a.csv"
    assert masked("/somewhere/private/a.csv", names) == "${oc.env:MY_PLACE}/a.csv"


def test_a_short_value_stands_in_any_text_and_is_left() -> None:
    assert masked("abcdefzzyyxx") == "abcdef${oc.env:LONG_TOKEN}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://user:pass@host/x", "see https://***@host/x"),
        ("https://oauth2:hf@a.b/x https://c@d", "https://***@a.b/x https://***@d"),
        ("https://host/a@b", "https://host/a@b"),
        ("s3://b/x?a=1&token=abc#y", "s3://b/x?a=1&token=***#y"),
        (
            "'https://h/x?X-Amz-Signature=0a&X-Amz-Date=2' z",
            "'https://h/x?X-Amz-Signature=***&X-Amz-Date=2' z",
        ),
        ("[https://h/x?api_key=a-b] ?token=x", "[https://h/x?api_key=***] ?token=x"),
        ("https://h/x?tokens=3&keys=4&monkey=5", "https://h/x?tokens=3&keys=4&monkey=5"),
        ("mail me@host.org", "mail me@host.org"),
        ("owner/name@main", "owner/name@main"),
        ("hf_abcdefghijklmnopqrstuvwxyz123456", "***"),
        ("+hydra.job.env_set.WANDB_API_KEY=typed-1", "+hydra.job.env_set.WANDB_API_KEY=***"),
        ("['export A_TOKEN=\"typed-1\"', b]", "['export A_TOKEN=\"***\"', b]"),
        ("env_set:\n  A_TOKEN: typed-1\n  b: c", "env_set:\n  A_TOKEN: ***\n  b: c"),
        ('{"A_TOKEN": "typed-1", "b": 1}', '{"A_TOKEN": "***", "b": 1}'),
        ("A_TOKEN=${oc.env:A_TOKEN}", "A_TOKEN=${oc.env:A_TOKEN}"),
        ("A_TOKEN=12-34ab", "A_TOKEN=***"),
        ("A_TOKEN=1234567 OUT_PATH=/somewhere", "A_TOKEN=1234567 OUT_PATH=/somewhere"),
        (
            "targets.batch_tokens=4096000 token=abcdefg",
            "targets.batch_tokens=4096000 token=abcdefg",
        ),
        ("hf_hub_url", "hf_hub_url"),
    ],
)
def test_credentials_are_hidden_and_addresses_stay(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_names_tell_what_is_secret() -> None:
    secret = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY")
    assert all(map(is_secret, (*secret, "PGPASSWORD", "GITHUB_PAT", "KEY_PASSPHRASE")))
    assert all(map(is_secret, ("SLURM_JWT", "MYSQL_PWD", "AZURE_STORAGE_KEY", "COMET_API_KEY")))
    assert not any(map(is_secret, ("PATH", "HOME", "TOKENIZERS_PARALLELISM", "PYTHONPATH")))
    assert not any(map(is_secret, ("PWD", "OLDPWD", "SSH_AUTH_SOCK", "GPG_KEY", "SLURM_JOB_ID")))


def test_a_downloader_gets_no_secret_of_another_program() -> None:
    given = {"HF_TOKEN": "a", "PIP_INDEX_URL": "https://u:p@h", "PATH": "/bin", "X_API_KEY": "b"}
    assert for_downloads(given) == {"PIP_INDEX_URL": "https://u:p@h", "PATH": "/bin"}
