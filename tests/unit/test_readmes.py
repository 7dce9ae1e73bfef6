"""The documents: short, well linked, and true to the tree."""

import importlib
import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from distillkit import stopping
from distillkit.cli.main import REFUSED
from distillkit.config import overrides, phases
from distillkit.config.paths import CONF, groups
from distillkit.config.signatures import signature
from tests.readmes import (
    DOCUMENTS,
    READMES,
    ROOT,
    anchors,
    blocks,
    links,
    name,
    prose,
    read,
    section,
)

LONGEST_README, LONGEST_PARAGRAPH = 180, 6  # lines
WIDEST = 150  # characters of a line of prose; tables may be wider
NOT_OURS = (".distillkit/", "mine/", "outputs/", "report.md")  # a user's files, and what runs write
TO_BE_ADDED = (
    "distillkit.losses.hellinger",
    "distillkit.targets.codecs.likeliest",
)  # as an example
AMERICAN = (
    r"(?i)\b(?:behavior|color|favor|labeled|modeling|normalized?|summariz|organiz|centered)\w*"
)

each_readme = pytest.mark.parametrize("path", READMES, ids=name)
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=name)


def test_the_readme_is_short() -> None:
    assert len(read(ROOT / "README.md").splitlines()) <= LONGEST_README


@each_document
def test_it_has_one_title(path: Path) -> None:
    assert len(re.findall(r"^# ", prose(path), re.MULTILINE)) == 1


@each_readme
def test_there_is_no_wall_of_text(path: Path) -> None:
    lines = [line if line[:1] not in "|#-<0123456789" else "" for line in prose(path).splitlines()]
    assert [line for line in lines if len(line) > WIDEST] == []
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines))
    assert [text for text in paragraphs if len(text.split("\n")) > LONGEST_PARAGRAPH] == []


@each_document
def test_every_row_of_a_table_has_the_cells_of_its_head(path: Path) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", prose(path), re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", row) for row in table.splitlines()]
        assert {len(row) for row in rows} == {len(rows[0])}, table.partition("\n")[0]


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
    for module, attribute in (it for it in pairs if it[0] not in TO_BE_ADDED):
        assert hasattr(importlib.import_module(module), attribute), f"{module}.{attribute}"


@each_readme
def test_it_is_spelt_in_one_way(path: Path) -> None:
    assert re.findall(AMERICAN, prose(path)) == []
    assert re.findall(r"\d %", prose(path)) == []


def test_the_rooms_are_those_of_the_package() -> None:
    text = section(ROOT / "distillkit/README.md", "Rooms")
    rows = re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)
    packages = [path.parent.name for path in (ROOT / "distillkit").glob("*/__init__.py")]
    assert sorted(rows) == sorted(packages)
    beside = text.partition("Beside the packages: ")[2].partition("\n\n")[0]
    modules = [path.name for path in (ROOT / "distillkit").glob("*.py") if path.name[0] != "_"]
    assert sorted(re.findall(r"`(\w+\.py)`", beside)) == sorted(modules)


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


def settings_of(group: str) -> set[str]:
    """The keys that a group's entries have, or that their classes take."""
    keys: set[str] = set()
    for path in (CONF / group).glob("*.yaml"):
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
        target = entry["_target_"]
        keys |= {*entry}
        keys |= {*signature(target).parameters} if target.startswith("distillkit.") else set()
    return keys


@each_readme
def test_every_setting_and_choice_that_is_named_exists(path: Path) -> None:
    choices = groups()
    settings = {group: settings_of(group) for group in choices}
    spans = "\n".join(re.findall(r"`([^`\n]+)`", prose(path)))
    named = rf"(?<![\w./])({'|'.join(choices)})"
    for group, key in re.findall(rf"{named}\.(\w+)", spans):
        assert key in settings[group], f"{group}.{key}"
    for group, choice in re.findall(rf"{named}=(\w+)", spans):
        assert choice in choices[group], f"{group}={choice}"


def test_the_phases_and_the_schedule_are_taken_as_printed() -> None:
    (block,) = [block for block in blocks("yaml") if block.startswith("phases:")]
    repeated = phases.gathered(["phases.joint.optimizer.lr=1e-5"])[1]
    declared = phases.declared(OmegaConf.create(block), repeated)
    layers, joint = phases.settled([], declared)
    assert (layers.start, joint.start) == (None, "layers")
    assert (layers.cfg.trainer.epochs, joint.cfg.loss.hard_weight) == (3, 0.5)
    assert joint.cfg.optimizer.lr == 1e-5
    (word,) = re.findall(r"`(loss\.hard_weight=\{.+?\})`", read(CONF / "README.md"))
    assert overrides.check([word]).cfg.loss.hard_weight.end == 0.2


def test_each_status_is_that_of_the_code() -> None:
    text = section(ROOT / "conf" / "README.md", "Signals and exit status")
    rows = [int(row) for row in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert rows == [0, REFUSED, stopping.STATUS, stopping.INTERRUPTED]


def test_the_row_of_the_contract_is_one_of_its_table() -> None:
    (block,) = (it for it in blocks("python") if it in read(ROOT / "tests/contract/README.md"))
    table = read(ROOT / "tests" / "contract" / "listing.py")
    lines = [line.strip() for line in table.splitlines()]
    row = [line.strip() for line in block.strip().splitlines()[:-1]]  # there a comma follows
    assert any(lines[i : i + len(row)] == row for i in range(len(lines)))
