"""Files as people bring them: the rows that stand in them, or one line with the way out."""

import bz2
import gzip
import json
import lzma
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from distillkit.data.tables import read_table
from distillkit.data.text_format import TextFormat, text_format
from distillkit.errors import ConfigError, DataError
from tests.tiny import write_csv

ROWS = [("a good film, really", "pos"), ("it costs 5; no more", "neg"), ("dull | grey", "neg")]
Read = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The rows (text, label) of a file with this content."""

    def call(
        content: str | bytes,
        name: str = "a.csv",
        *,
        names: Any = ("text", "label"),
        **settings: Any,
    ) -> list[tuple[Any, ...]]:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
        usual = {"separator": None, "encoding": None, "quoting": None, "header": None}
        columns = {f"data.{column}": column for column in names}
        table = read_table(
            str(tmp_path / name),
            key="data.train",
            split="train",
            cache=tmp_path / "cache",
            columns=columns,
            texts=columns,
            form=text_format(**usual | {"columns": None} | settings),
        )
        return list(zip(*(table[column] for column in names), strict=True))

    return call


def lines(rows: Any, separator: str, header: str | None = "text,label", end: str = "\n") -> str:
    head = [header.replace(",", separator)] if header else []
    return end.join([*head, *(separator.join(row) for row in rows)]) + end


# separators


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("|", "'|'"), ("\t", "tabs")])
def test_a_separator_that_finds_the_columns_is_taken_and_said(
    read: Read, capsys: pytest.CaptureFixture[str], separator: str, name: str
) -> None:
    rows = [(text.replace(separator, "/"), label) for text, label in ROWS]
    assert read(lines(rows, separator)) == rows
    assert f"data.train: a.csv has {name} between fields" in capsys.readouterr().err


def test_a_usual_csv_is_read_without_a_word(
    read: Read, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_csv(tmp_path / "b.csv", ["text", "label"], ROWS)
    assert read(path.read_bytes()) == ROWS
    assert capsys.readouterr().err == ""


def test_texts_full_of_semicolons_are_no_columns(read: Read) -> None:
    rows = [(f"a; b; c {i}", "x;y") for i in range(3)]
    assert read(lines(rows, ",")) == rows


def test_a_file_of_one_column_has_no_separator(read: Read) -> None:
    assert read("text\na; b\nc | d\te\n", names=["text"]) == [("a; b",), ("c | d\te",)]


def test_a_separator_of_another_kind_is_asked_for_and_then_taken(read: Read) -> None:
    content = lines(ROWS, "^")
    with pytest.raises(DataError, match=r"set data\.separator to it$"):
        read(content)
    assert read(content, separator="^") == ROWS


def test_a_first_line_of_excel_says_the_separator(read: Read) -> None:
    assert read("sep=;\r\ntext;label\r\na,b;1\r\n") == [("a,b", "1")]


# encodings


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("cp1252", "cp1252"),
        ("latin-1", "cp1252"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16-LE"),
        ("utf-32", "UTF-32"),
    ],
)
def test_an_encoding_that_shows_is_taken_and_said(
    read: Read, capsys: pytest.CaptureFixture[str], encoding: str, shown: str | None
) -> None:
    text = "café naïve, Größe, señor: déjà vu"
    text += "" if encoding == "latin-1" else " “smart” – 5 €"  # noqa: RUF001
    rows = [(text, "sí"), *((f"a film number {i}", "no") for i in range(9))]
    assert read(lines(rows, ";").encode(encoding)) == rows
    notes = capsys.readouterr().err
    assert ("encoding" in notes) == bool(shown)
    assert f"encoding {shown}" in notes or not shown


@pytest.mark.parametrize("text", ["plain words", "café Größe", "日本語の映画"])
def test_a_stray_byte_changes_no_other_letter(
    read: Read, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """The row is named, and what the line advises reads all other letters as they are."""
    rows = [(f"{text} {i}", "yn"[i % 2]) for i in range(12)]
    data = lines(rows, ",").encode()
    at = data.index(b" 5,")
    data = data[:at] + b"\xff" + data[at:]
    with pytest.raises(DataError, match="line 7 is not UTF-8") as refused:
        read(data)
    (advised,) = set(re.findall(r"utf-8:replace", str(refused.value)))
    capsys.readouterr()
    stray = [(f"{text}\ufffd 5", label) if it.endswith(" 5") else (it, label) for it, label in rows]
    assert read(data, encoding=advised) == stray
    assert "1 places that are not utf-8, now U+FFFD" in " ".join(capsys.readouterr().err.split())


def test_the_line_of_the_first_letter_of_another_encoding_is_said(
    read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("a plain film", "no"), ("b café", "yes"), ("c naïve film", "no")]
    assert read(lines(rows, ",").encode("cp1252")) == rows
    assert "encoding cp1252 (line 3 is not UTF-8)" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("dashes", ["|---|---|", "| :--- | ---: |", "--- | :-:"])
def test_a_markdown_table_is_named_as_that(read: Read, dashes: str) -> None:
    bars = [f"| a film {i} | {'yn'[i % 2]} |" for i in range(8)]
    table = ["| text | label |", dashes, *bars]
    if not dashes.startswith("|"):
        table = [line.strip("| ") for line in table]
    with pytest.raises(DataError, match="it is a Markdown table"):
        read("\n".join(table) + "\n")


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        ("Привет, хороший фильм", "cp1251", "data.encoding to .* as cp1251"),
        ("Привет, хороший фильм", "koi8-r", "data.encoding to .* as koi8-r"),
        ("był miły wieczór, zażółć gęślą jaźń", "cp1250", "data.encoding to .*cp1250"),
        ("güzel bir gün, ağaç şöyle ışık", "cp1254", "data.encoding"),  # noqa: RUF001
        ("příliš žluťoučký kůň", "iso-8859-2", "data.encoding"),
        ("hűség, erdő és öröm, kívül, áll", "cp1250", "data.encoding to .*cp1250"),
        ("この映画はとても良い", "shift_jis", "data.encoding to .* as shift_jis"),
        ("这部电影很好看", "gb18030", "data.encoding to .*gb18030"),
        ("café, don’t “smart” naïve", "mac-roman", "data.encoding"),  # noqa: RUF001
        ("café naïve", "cp437", "data.encoding"),
    ],
)
def test_an_encoding_that_could_be_another_is_refused_and_taken_when_named(
    read: Read, text: str, encoding: str, named: str
) -> None:
    rows = [(text, "yes"), *((f"a film number {i}", "no") for i in range(9))]
    content = lines(rows, "\t").encode(encoding)
    with pytest.raises(DataError, match=f"line 2 is not UTF-8 .*; set {named}"):
        read(content)
    assert read(content, encoding=encoding) == rows


def test_a_stray_byte_in_utf8_is_no_other_encoding(read: Read) -> None:
    content = "text,label\ncafé é è à,1\n".encode() + b"na\xefve,0\n"
    with pytest.raises(DataError, match=r"line 3 is not UTF-8 .* the rest is UTF-8, so mend"):
        read(content)


# quotation marks


def test_tabs_have_no_quotation_marks_unless_told(
    read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [('"We are open', "a"), ('he said "no"', "b"), ('"all" of it', "a"), ('5" wide', "b")]
    content = lines(rows, "\t")
    for name in ("a.tsv", "a.txt", "a.csv"):
        assert read(content, name) == rows
    quoted = 'text\tlabel\n"a ""good"" film"\t1\n'
    assert read(quoted, "a.tsv") == [('"a ""good"" film"', "1")]
    assert "1 fields of text stand in quotation marks, which are kept" in capsys.readouterr().err
    assert read(quoted, "a.tsv", quoting="double") == [('a "good" film', "1")]


def test_quoted_line_breaks_of_a_csv_are_text(
    read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("Dear Sir,\nbest wishes", "pos"), ("one\r\ntwo\u2028three\x85four\x0bfive", "neg")] * 3
    content = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows)
    assert read(content) == rows
    assert capsys.readouterr().err == ""


def test_a_quotation_mark_that_swallows_rows_is_refused(read: Read) -> None:
    rows = [f"film {i},{'pos' if i % 2 else 'neg'}" for i in range(20)]
    rows[3], rows[9] = '"film 3,pos', 'a screen of 5",neg'
    content = "\n".join(["text,label", *rows]) + "\n"
    with pytest.raises(
        DataError, match=r"mark of line 5 is closed in line 11, .* looks like a row"
    ):
        read(content)
    found = read(content, quoting="none")
    assert (len(found), found[3], found[9]) == (20, ('"film 3', "pos"), ('a screen of 5"', "neg"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('"never closed,1', "line 3: a quotation mark opens here that is not closed"),
        ('"a" film,1', 'line 3: a field in " goes on after it is closed'),
        ("a\rb,1", r"line 3: a carriage return \(.r\) inside a field"),
    ],
)
def test_a_broken_row_is_named_by_its_line(read: Read, row: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"cannot be read: {reason}.*quot"):
        read(f"text,label\ngood,1\n{row}\nbad,0\n")


def test_apostrophes_are_marks_when_told(read: Read) -> None:
    assert read("text,label\n'a, b',1\n", quoting="single") == [("a, b", "1")]


# headers


def test_a_file_without_header_names_the_setting_and_is_read_with_it(
    read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(f"a long film review number {i}", "ab"[i % 2]) for i in range(6)]
    content = lines([(label, text) for text, label in rows], ",", header=None)
    with pytest.raises(DataError, match=r"no such column .*: data\.columns=\[label,text\]$"):
        read(content)
    assert read(content, columns=["label", "text"]) == rows
    assert "no header row (its first row: a, a long film" in capsys.readouterr().err


def test_columns_rename_a_header_and_skip_one_of_their_names(read: Read) -> None:
    named = "text,label\ngood,1\n"
    assert read(named, columns=["text", "label"]) == [("good", "1")]
    other = "sentence,class\ngood,1\n"
    assert read(other, columns=["text", "label"], header=True) == [("good", "1")]
    with pytest.raises(DataError, match=r"data\.columns gives 3 names, and the header has 2"):
        read(other, columns=["text", "label", "more"], header=True, separator=",")


def test_columns_find_the_separator_of_every_row(read: Read) -> None:
    rows = [("1", "a, b; c"), ("0", "d, e"), ("1", "f")]
    content = lines([(label, text) for label, text in rows], "\t", header=None)
    found = read(content, columns=["label", "text"])
    assert found == [(text, label) for label, text in rows]
    with pytest.raises(DataError, match=r"and no separator does; set data\.separator"):
        read("a b,c;d\ne,f\n", columns=["text", "label", "more"])


def test_the_blanks_around_column_names_do_not_count(read: Read) -> None:
    assert read("\ufefftext , label\ngood,1\n".encode()) == [("good", "1")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("text,text,label\na,b,1\n", "2 of its columns are named text; rename them"),
        ("text,label\na,b,1\n", "line 2 has 3 fields between commas, and the header 2"),
        ("Text,Label\na,1\n", r"did you mean data\.text=Text\?"),
        ("text,label\n", "the file has no rows"),
        ("", "the file is empty"),
        ("\n\n \n", "the file has no rows"),
        ("PK\x03\x04", "it is a zip file"),
    ],
)
def test_what_is_no_such_table_is_one_line(read: Read, content: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_messages_stay_short_whatever_the_file_holds(read: Read) -> None:
    header = ",".join(f"a very long name of a column {i} {'x' * 100}" for i in range(3000))
    with pytest.raises(DataError, match="3,000 in all") as caught:
        read(f"{header}\n")
    assert len(str(caught.value)) < 1200


# rows


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_end_of_line_is_one(read: Read, end: str) -> None:
    assert read(lines(ROWS[1:], ",", end=end)) == ROWS[1:]


def test_blank_and_short_rows_are_said(read: Read, capsys: pytest.CaptureFixture[str]) -> None:
    assert read("text,label\ngood,1\n\n,\nbad\n") == [("good", "1"), ("bad", None)]
    notes = capsys.readouterr().err
    assert "1 rows without their last fields (line 5), 2 blank lines" in notes


def test_nul_bytes_and_long_fields_are_text(read: Read) -> None:
    long = "word " * 100_000
    assert read(f"text,label\na\0b,1\n{long},0\n") == [("a\0b", "1"), (long, "0")]


# packed files and workbooks


def zstd(data: bytes) -> bytes:
    packed = pa.compress(data, codec="zstd", asbytes=True)
    assert isinstance(packed, bytes)
    return packed


@pytest.mark.parametrize(
    ("ending", "pack"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)],
)
def test_packed_files_are_read_whatever_is_in_them(
    read: Read, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    rows = ROWS[1:]
    assert read(pack(lines(rows, ",").encode()), f"a.csv.{ending}") == rows
    found = "".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows)
    assert read(pack(found.encode()), f"a.jsonl.{ending}") == rows


def test_a_workbook_is_read_as_text(tmp_path: Path, read: Read) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["other"])
    sheet = book.create_sheet("data")
    for row in [
        ["text", "label", None],
        ["good", 1, None],
        [None, None, None],
        ["bad", "01", None],
    ]:
        sheet.append(row)
    book.save(tmp_path / "b.xlsx")
    assert read((tmp_path / "b.xlsx").read_bytes(), "a.xlsx") == [("good", "1"), ("bad", "01")]


# JSON


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson"])
def test_json_with_marks_and_blank_lines(read: Read, name: str, encoding: str) -> None:
    rows = [("a\u2028b\x85c é", "1"), ("d", "0")]
    found = [json.dumps({"text": t, "label": y}, ensure_ascii=False) for t, y in rows]
    assert read(("\n\r\n".join(found) + "\n\n").encode(encoding), name) == rows
    assert read(f"\n [{','.join(found)}]\n".encode(encoding), name) == rows


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"text": "a"}\n["b"]\n', "line 2 is no object"),
        ('{"text": "a",\n', "line 1, column"),
        ("[1]", "item 1 is no object"),
        ('{"text": "a"}', r"data\.label = label: no such column"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_json_that_is_no_table_is_one_line(read: Read, content: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        read(content, "a.json")
    assert "\n" not in str(caught.value)


# settings


@pytest.mark.parametrize(
    "settings",
    [
        {"separator": ",,"},
        {"separator": ""},
        {"encoding": "utf-9"},
        {"encoding": "base64"},
        {"header": False},
        {"columns": ["a", "a"]},
        {"columns": []},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    usual = dict.fromkeys(("separator", "encoding", "quoting", "header", "columns"))
    with pytest.raises(ConfigError, match=rf"^data\.{next(iter(settings))} = "):
        text_format(**usual | settings)


@pytest.mark.parametrize("written", ["\\t", "tab", "\t"])
def test_a_tab_may_be_written_out(written: str) -> None:
    assert text_format(written, None, None, None, None) == TextFormat(separator="\t")


@pytest.mark.parametrize("header", ["sentence,class", "body,score"])
def test_a_header_of_other_names_is_no_row(read: Read, header: str) -> None:
    rows = [(f"a film of some words {i}", "yes" if "class" in header else "1") for i in range(9)]
    content = lines(rows, ",", header)
    with pytest.raises(DataError, match=r"looks like a header, .*; set data\.header=true"):
        read(content, columns=["text", "label"])
    assert read(content, columns=["text", "label"], header=True) == rows
    found = read(content, columns=["text", "label"], header=False)
    assert found == [tuple(header.split(",")), *rows]


def test_the_row_names_of_r_are_a_column_without_a_name(read: Read) -> None:
    rows = [('"film"', "pos"), ("film two", "neg")]
    body = "".join(f'"{i}","{t.strip(chr(34))}","{y}"\n' for i, (t, y) in enumerate(rows, start=1))
    assert read('"text","label"\n' + body) == [("film", "pos"), ("film two", "neg")]
    named = 'text,label\nx,"a, b",pos\ny,c,neg\n'
    with pytest.raises(DataError, match="line 2 has 3 fields between commas, and the header 2"):
        read(named)
    found = read(named, columns=["row", "text", "label"], header=True)
    assert found == [("a, b", "pos"), ("c", "neg")]


def test_pandas_json_and_one_list_of_objects_are_tables(read: Read) -> None:
    by_column = {"text": {"0": "a", "1": "b"}, "label": {"0": 1.5, "1": 2}}
    assert read(json.dumps(by_column), "a.json") == [("a", "1.5"), ("b", "2")]
    nested = {"version": 1, "data": [{"text": "a", "label": "01"}]}
    assert read(json.dumps(nested, indent=1), "a.json") == [("a", "01")]
    apart = {
        "columns": ["label", "n", "text"],
        "index": [0, 1],
        "data": [["x", 1, "a"], [2, 3, "b"]],
    }
    assert read(json.dumps(apart), "a.json") == [("a", "x"), ("b", "2")]
    several = "\n".join(json.dumps({"text": t, "label": True}, indent=2) for t in "ab")
    assert read(several, "a.jsonl") == [("a", "true"), ("b", "true")]
    first = '{"text": "0", "label": 1}\n'
    assert read(first + several, "a.jsonl") == [("0", "1"), ("a", "true"), ("b", "true")]


def test_half_a_character_of_json_is_replaced(read: Read) -> None:
    content = '{"text": "\\ud83d\\ude00 \\ud83d!", "label": 1}'
    assert read(content, "a.jsonl") == [("\U0001f600 \ufffd!", "1")]


def test_shifts_into_another_script_are_no_ascii(read: Read) -> None:
    content = "text,label\nこの映画,1\n".encode("iso2022_jp")
    with pytest.raises(DataError, match=r"looks like ISO-2022; set data\.encoding, as iso2022_jp"):
        read(content)
    assert read(content, encoding="iso2022_jp") == [("この映画", "1")]


@pytest.mark.parametrize("separator", ["blank", "space", " "])
def test_after_a_label_and_a_blank_the_line_is_the_text(read: Read, separator: str) -> None:
    content = 'ENTY:animal What fowl , said "he" ?\n1 a film\n'
    found = read(content, "a.dev", columns=["label", "text"], separator=separator)
    assert found == [('What fowl , said "he" ?', "ENTY:animal"), ("a film", "1")]


def test_a_header_that_comes_again_is_no_row(
    read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    content = "text,label\na,1\n" + "\ufefftext,label\nb,0\n" + "text,label\n"
    assert read(content) == [("a", "1"), ("b", "0")]
    assert "its header 2 times more, left out" in capsys.readouterr().err
    assert read("text\na\ntext\n", names=["text"]) == [("a",), ("text",)]


def test_a_mark_of_a_file_joined_on_is_no_part_of_a_row(read: Read) -> None:
    assert read('\ufefftext,label\na,1\n\ufeff"b, c",0\n') == [("a", "1"), ("b, c", "0")]
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS]
    assert read("\ufeff" + lines[0] + "\ufeff" + "".join(lines[1:]), "a.jsonl") == ROWS


def test_old_macs_end_lines_with_r_and_keep_n_inside_fields(read: Read) -> None:
    rows = [("a\nb", "1"), ("c", "0"), ("d\ne", "1")]
    content = "".join(f'"{text}",{label}\r' for text, label in [("text", "label"), *rows])
    assert read(content) == rows
    # of other files \r in a field is a part of it, however often it stands there
    assert read("text\tlabel\na\rb\rc\rd\t1\ne\t0\n", "a.tsv") == [("a\rb\rc\rd", "1"), ("e", "0")]


@pytest.mark.parametrize("mark", ['"', "'"])
def test_blanks_before_marks_are_passed_over_where_the_header_has_them(
    read: Read, mark: str
) -> None:
    content = '"text", "label"\n"good, and so on", "1"\n"a ""b""", "0"\n'
    settings = {"quoting": "single"} if mark == "'" else {}
    found = read(content.replace('"', mark), **settings)
    assert found == [("good, and so on", "1"), (f"a {mark}b{mark}", "0")]
    assert read("text, label\n  good, 1\n") == [("  good", " 1")]  # no marks: as they stand


def test_an_integer_of_thousands_of_digits_is_one_line(read: Read) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(line 1, Exceeds the limit"):
        read(f'{{"text": "a", "label": {"1" * 5000}}}', "a.jsonl")


def test_marks_between_tabs_that_fit_some_fields_alone_are_asked_about(read: Read) -> None:
    content = 'text\tlabel\n"a ""good"" film"\t1\n"a" film\t0\n'
    with pytest.raises(DataError, match="1 fields seem to be written in quotation marks, and oth"):
        read(content)
    assert read(content, quoting="none")[1] == ('"a" film', "0")


def test_without_openpyxl_the_extra_is_named(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"pip install 'distillkit\[xlsx\]', or save the sheet"):
        read(b"PK\x03\x04", "a.xlsx")
