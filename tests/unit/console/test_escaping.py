"""Text of others stays text: in a terminal, in Markdown, in a spreadsheet."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from distillkit.artifacts.workspace import write_json
from distillkit.console.escaping import csv_cell, markdown, markdown_code, one_line
from distillkit.console.progress import stdout, visible

FOREIGN = [
    "[/x]",
    "[bold]a[/bold]",
    "a\x1b[31mb\x07\x9b2J",
    "one\r\ntwo\u2028three",
    "\u202eevil\u2066x\u200b",
    "\udc80",
    "<script>alert(1)</script> &lt; & &#65;",
    "a|b||c",
    "# title",
    "- item",
    "+ item",
    "12. item",
    "12) item",
    "> quote",
    "---",
    "===",
    "*a* **b** _c_ __d__ ~~e~~ snake_case `f` ``g``",
    "[text](https://example.org) ![i](x) [a][b] [c]: d",
    "<https://example.org>",
    "$x$ $$y$$",
    "back\\slash\\* \\",
    "    four blanks",
    "```",
    "",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_markdown_shows_text_as_it_is(text: str) -> None:
    reader = MarkdownIt("gfm-like", {"linkify": False})
    shown = " ".join(visible(text).split())
    (paragraph,) = reader.parse(f"{markdown(text)} end")[1:2]
    found = paragraph.children or []
    assert {token.type for token in found} <= {"text", "text_special"}
    assert "".join(token.content for token in found) == f"{shown} end".strip()
    table = reader.render(f"| a | b |\n| --- | --- |\n| {markdown(text)} | 1 |\n")
    assert table.count("<td>") == 2
    tags = set(re.findall(r"</?(\w+)", table.partition("<tbody>")[2]))
    assert tags == {"tr", "td", "tbody", "table"}


@pytest.mark.parametrize("text", [text for text in FOREIGN if text])
def test_code_in_markdown_shows_text_as_it_is(text: str) -> None:
    (paragraph,) = MarkdownIt().parse(f"run {markdown_code(text)} now")[1:2]
    code = [token for token in paragraph.children or [] if token.type == "code_inline"]
    assert [token.content for token in code] == [" ".join(visible(text).split())]


@pytest.mark.parametrize("text", FOREIGN)
def test_a_terminal_gets_text_that_it_obeys_in_nothing(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stdout().print(text)
    shown = capsys.readouterr().out
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\u2066\u200b\ud800-\udfff]", shown
    )
    assert shown == visible(text) + "\n"
    assert "\n" not in one_line(text)


def test_visible_text_is_left_alone() -> None:
    for text in ("häuser, 日本語 👩\u200d💻", "tab\there", "\u0645\u06cc\u200c\u062e"):
        assert visible(text) == text
    assert visible("\x1b[1m\r") == r"\x1b[1m\r"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+SUM(A1)", "'+SUM(A1)"),
        ("-x", "'-x"),
        ("@cmd", "'@cmd"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("'quoted", "''quoted"),
        ("+0.1000", "+0.1000"),
        ("-3e-4", "-3e-4"),
        ("-1+cmd", "'-1+cmd"),
        ("4,386", "4,386"),
        ("plain =x", "plain =x"),
        (-1.5, -1.5),
        ("", ""),
    ],
)
def test_a_cell_begins_no_formula_and_its_text_can_be_had_back(value: object, cell: object) -> None:
    assert csv_cell(value) == cell
    file = io.StringIO()
    csv.writer(file).writerow([cell])
    (read,) = next(csv.reader(io.StringIO(file.getvalue(), newline="")), [""])
    assert read.removeprefix("'") == str(value)


@pytest.mark.parametrize("text", FOREIGN)
def test_json_says_the_same_and_commands_no_terminal(text: str, tmp_path: Path) -> None:
    record = {text: [text, {"a": text}]}
    write_json(tmp_path / "a.json", record)
    written = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(written) == record
    assert visible(written) == written
