"""What no file and no other program is told: secrets of the environment, credentials in addresses.

Values are named in their place: `${oc.env:HF_TOKEN}` says where one was, and not what it was.
"""

import html
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

SHORTEST = 6  # characters of a secret; shorter ones stand in any text
HIDDEN = "***"
_SECRET = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|CONNECTION_?STRING|BEARER|COOKIE|_(JWT|PWD|PAT|AUTH)$|"
    r"(API|ACCESS|ACCOUNT|AUTH|ENCRYPTION|LICENSE|MASTER|PRIVATE|SIGNING|STORAGE)_?KEY",
    re.IGNORECASE,
)
_NO_SECRET = ("TOKENIZERS_PARALLELISM",)
_IN_ADDRESS = re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://)[^\s/?#'\"@]{1,500}@")
_ADDRESS = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s'\"<>]{1,4000}")
_IN_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:token|secret|password|passwd|signature|credential)|sig|key|api_?key|"
    r"awsaccesskeyid)=)[^\s&;#'\"<>\])}]{1,2000}",
    re.IGNORECASE,
)
# of a variable, as in `hydra.job.env_set.X_TOKEN=…`, `export X_TOKEN=…`, YAML and JSON; no number
_ASSIGNED = re.compile(
    r"""\b([A-Z][A-Z0-9]*_[A-Z0-9_]{1,60})(\\?["']?(?:=|:\s?)\\?["']?)(?![$*]|[-\d.,e+]+(?:[\s"',;\]}\\]|$))"""
    r"""([^\s"',;\]}\\]{6,2000})"""
)
_OF_HUB = re.compile(r"\bhf_[A-Za-z0-9]{20,}\b")
_REFERENCE = re.compile(r"\$\{oc\.env:\s*([A-Za-z_]\w*)")


def names_of(words: Iterable[str]) -> set[str]:
    """The variables of the environment that overrides refer to."""
    return {name for word in words for name in _REFERENCE.findall(word)}


def is_secret(name: str) -> bool:
    """Whether a variable of the environment holds a secret, by its name."""
    return bool(_SECRET.search(name)) and name not in _NO_SECRET


def masked(text: str, names: Iterable[str] = ()) -> str:
    """A text without secrets, and without the values of the variables `names`."""
    hidden = {name for name in os.environ if is_secret(name)} | set(names)
    values = {name: os.environ.get(name, "") for name in hidden}
    for name, value in sorted(values.items(), key=lambda item: -len(item[1])):
        if len(value) >= SHORTEST:
            for form in {
                value,
                json.dumps(value)[1:-1],
                json.dumps(value, ensure_ascii=False)[1:-1],
                html.escape(value).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
            }:
                text = text.replace(form, f"${{oc.env:{name}}}")
    text = _ASSIGNED.sub(
        lambda match: match[1] + match[2] + (HIDDEN if is_secret(match[1]) else match[3]), text
    )
    text = _IN_ADDRESS.sub(rf"\1{HIDDEN}@", text)
    text = _ADDRESS.sub(lambda address: _IN_QUERY.sub(rf"\1{HIDDEN}", address[0]), text)
    return _OF_HUB.sub(HIDDEN, text)


def mask_file(path: Path, names: Iterable[str]) -> None:
    """Write a file anew with its secrets named, as `masked` does, if it is there and has some."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:  # not there, or of a name too long to be
        return
    named = masked(text, names)
    if named != text:
        path.write_text(named, encoding="utf-8")


def for_downloads(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that downloads from an index: without the secrets of others."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PIP_") or not is_secret(name)
    }
