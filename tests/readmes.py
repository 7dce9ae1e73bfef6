"""The project's documents: their fenced blocks, commands, headings and links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READMES = [
    ROOT / name
    for name in (
        "README.md",
        "conf/README.md",
        "recipes/README.md",
        "distillkit/README.md",
        "scripts/bench/README.md",
        "tests/contract/README.md",
    )
]
DOCUMENTS = [*READMES, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
LAUNCHER = re.compile(r"^(?:torchrun|accelerate launch)(?: --?\w+(?: \d+)?)* -m (?=distillkit )")
_FENCE = re.compile(r"^ *```")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name(path: Path) -> str:
    """A document's path from the root, for a test's id."""
    return path.relative_to(ROOT).as_posix()


def fenced(path: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block of a document."""
    language: str | None = None
    text = ""
    for line in read(path).splitlines(keepends=True):
        if not _FENCE.match(line):
            text += line
        elif language is None:
            language, text = line.strip().removeprefix("```"), ""
        else:
            yield language, text
            language = None


def blocks(language: str = "") -> list[str]:
    """The fenced blocks of a language, of all READMEs."""
    return [text for path in READMES for of, text in fenced(path) if of == language]


def commands() -> list[str]:
    """The words of every distillkit command in a fenced block, without launcher and comment."""
    found = []
    for block in blocks():
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for part in re.split(r" && ", line):
                command = LAUNCHER.sub("", part)
                if command.startswith("distillkit "):
                    found.append(shlex.join(shlex.split(command, comments=True)[1:]))
    return [*dict.fromkeys(found)]


def prose(path: Path) -> str:
    """A document without its fenced blocks; their lines are empty."""
    lines, inside = [], False
    for line in read(path).splitlines():
        fence = bool(_FENCE.match(line))
        lines.append("" if inside or fence else line)
        inside = inside != fence
    return "\n".join(lines) + "\n"


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = sum(bool(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", it)) for it in found)
        found.add(f"{anchor}-{count}" if count else anchor)
    return found


def links(path: Path) -> list[str]:
    """The targets of a document's links, but for those into the web."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    return [target for target in found if "://" not in target]


def section(path: Path, heading: str) -> str:
    """The text below a heading of two marks, up to the next."""
    _, _, rest = prose(path).partition(f"\n## {heading}\n")
    assert rest, f"{name(path)} has no section {heading}"
    return rest.partition("\n## ")[0]
