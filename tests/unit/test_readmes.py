"""The documents: short, well linked, and true to the tree."""

import importlib
import re
from pathlib import Path

import pytest

from distillkit import stopping
from distillkit.cli.main import REFUSED
from distillkit.config.paths import groups
from tests.readmes import DOCUMENTS, READMES, ROOT, anchors, links, name, prose, read, section

LONGEST_README, LONGEST_PARAGRAPH = 180, 6  # lines
WIDEST = 150  # characters of a line of prose; tables may be wider
NOT_OURS = (".distillkit/", "mine/", "outputs/", "report.md")  # a user's files, and what runs write
AMERICAN = (
    r"(?i)\b(?:behavior|color|favor|labeled|modeling|normalized?|summariz|organiz|centered)\w*"
)

each_readme = pytest.mark.parametrize("path", READMES, ids=name)
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=name)


def test_the_readme_is_short() -> None:
    assert len(read(ROOT / "README.md").splitlines()) <= LONGEST_README


@each_readme
def test_there_is_no_wall_of_text(path: Path) -> None:
    lines = [line if line[:1] not in "|#-<0123456789" else "" for line in prose(path).splitlines()]
    assert [line for line in lines if len(line) > WIDEST] == []
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines))
    assert [text for text in paragraphs if len(text.split("\n")) > LONGEST_PARAGRAPH] == []


@each_document
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in links(path):
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@each_readme
def test_every_path_that_is_named_is_there(path: Path) -> None:
    named = re.findall(r"`((?:[\w-]+/)*[\w.-]+(?:\.py|\.yaml|\.md|/))`", prose(path))
    named += re.findall(r"`(?:python )?(scripts/[\w/.]+)", prose(path))
    ours = [file for file in named if not file.startswith(NOT_OURS)]
    here_or_from_root = [(path.parent / file, ROOT / file) for file in ours]
    missing = [paths[1] for paths in here_or_from_root if not any(it.exists() for it in paths)]
    assert missing == []


@each_readme
def test_every_name_of_ours_can_be_imported(path: Path) -> None:
    text = read(path)
    pairs = [
        it.rpartition(".")[::2] for it in re.findall(r"\bdistillkit(?:\.\w+)+\.[A-Z]\w+", text)
    ]
    pairs += [(m, f) for f, m in re.findall(r"`(\w+)\(\)` of\s`(distillkit[\w.]+)`", text)]
    for module, attribute in pairs:
        assert hasattr(importlib.import_module(module), attribute), f"{module}.{attribute}"


@each_readme
def test_it_is_spelt_in_one_way(path: Path) -> None:
    assert re.findall(AMERICAN, prose(path)) == []
    assert re.findall(r"\d %", prose(path)) == []


def test_the_rooms_are_those_of_the_package() -> None:
    rows = re.findall(
        r"^\| `(\w+)/` \|", section(ROOT / "distillkit/README.md", "Rooms"), re.MULTILINE
    )
    packages = [path.parent.name for path in (ROOT / "distillkit").glob("*/__init__.py")]
    assert sorted(rows) == sorted(packages)


def test_every_group_has_a_section_whose_choices_exist() -> None:
    path = ROOT / "conf" / "README.md"
    choices = groups()
    linked = dict(re.findall(r"\[`(\w+)`\]\(#([\w-]+)\)", prose(path)))
    assert set(linked) == set(choices)
    for group, anchor in linked.items():
        text = section(path, anchor.replace("-", " "))
        tables = re.findall(
            rf"^\| (?:entry|`{group}=`) \|(?:.*\n)((?:\|.*\n)+)", text, re.MULTILINE
        )
        rows = re.findall(r"^\| ((?:`\w+` ?)+)\|", "".join(tables), re.MULTILINE)
        stale = {word for row in rows for word in re.findall(r"`(\w+)`", row)} - {*choices[group]}
        assert not stale, group


def test_each_status_is_that_of_the_code() -> None:
    text = section(ROOT / "conf" / "README.md", "Signals and exit status")
    rows = [int(row) for row in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert rows == [0, REFUSED, stopping.STATUS, stopping.INTERRUPTED]
