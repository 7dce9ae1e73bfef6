"""Lines of a column file, as of the CoNLL shared tasks: a word a line, a blank line a sentence.

Columns are set apart by tabs, or by blanks where not every line has one; a line ends at \\n alone.
So a no-break space or a U+0085 is a part of its word, as it is for whoever wrote the file.
"""

import re
from collections import Counter
from collections.abc import Iterator

from distillkit.console.wording import listed
from distillkit.errors import DataError

BEGINS_DOCUMENT = "-DOCSTART-"
_BLANKS = re.compile(r"[ \t]+")
_NO_WORD = re.compile(r"[0-9]+[-.][0-9]+")  # CoNLL-U: 1-2 is written as 1 and 2 below, 8.1 nowhere


class ColumnLines:
    """The lines of a text, taken apart; `width` is how many columns nearly all of them have."""

    def __init__(self, text: str, *, numbered: bool) -> None:
        if "\n" not in text:
            text = text.replace("\r", "\n")
        lines = [line.rstrip(" \t\r") for line in text.split("\n")]
        plain = [line for line in lines if line and not line.startswith(("#", BEGINS_DOCUMENT))]
        self._tabs = all("\t" in line for line in plain)
        self._rows = [self._fields(line) for line in lines]
        self._numbered = numbered
        widths = Counter(len(self._fields(line)) for line in plain)
        self.width = widths.most_common(1)[0][0] if widths else 0
        self.comments = 0

    def sentences(
        self, word_at: int, tag_at: int | None, *, at: str
    ) -> Iterator[tuple[list[str], list[str]]]:
        """(words, tags) of each sentence; raises `DataError` for a line of another width.

        Without `tag_at` words may stand alone, and come twice.
        """
        fewest = 1 if tag_at is None else 2
        tag_at = word_at if tag_at is None else tag_at
        tags = {
            fields[tag_at]
            for fields in self._rows
            if fields and len(fields) == self.width and not fields[0].startswith("#")
        }
        sentence: tuple[list[str], list[str]] = ([], [])
        for number, fields in enumerate([*self._rows, []], start=1):
            if not fields or BEGINS_DOCUMENT in (fields[0], fields[word_at % len(fields)]):
                if sentence[0]:
                    yield sentence
                sentence = ([], [])
            elif self._is_comment(fields, tag_at, tags):
                self.comments += 1
            elif not (self._numbered and _NO_WORD.fullmatch(fields[0])):
                self._check(fields, number, max(word_at + 1, tag_at + 1, fewest), at)
                self._check_filled(fields, number, word_at, tag_at, at)
                sentence[0].append(fields[word_at])
                sentence[1].append(fields[tag_at])

    def _fields(self, line: str) -> list[str]:
        if not line:
            return []
        if self._tabs and not line.startswith(BEGINS_DOCUMENT):
            return line.split("\t")
        return _BLANKS.split(line.lstrip(" \t"))

    def _is_comment(self, fields: list[str], tag_at: int, tags: set[str]) -> bool:
        """A line that begins with # and is no word: of another width, or "# …" without a tag."""
        if not fields[0].startswith("#"):
            return False
        if len(fields) != self.width:
            return True
        alone = fields[0] == "#" or fields[0].startswith("# ")
        return alone and fields[tag_at] not in tags

    def _line_of_other_width(self) -> str:
        """The lines of another width than the usual one, for a message."""
        lines = [n for n, row in enumerate(self._rows, start=1) if row and len(row) != self.width]
        lines = [n for n in lines if not self._rows[n - 1][0].startswith(("#", BEGINS_DOCUMENT))]
        numbers = listed(map(str, lines), limit=5)
        if len(lines) == 1:
            return f"line {numbers}"
        usual = sum(len(row) == self.width for row in self._rows)
        return f"the {len(lines):,} lines of another width ({numbers}; {usual:,} have {self.width})"

    def _check(self, fields: list[str], number: int, fewest: int, at: str) -> None:
        columns_needed = max(self.width, fewest)
        if len(fields) != columns_needed:
            advice = "data.columns=[…] names them in their order"
            if columns_needed == self.width:
                advice = f"mend or take out {self._line_of_other_width()}"
            raise DataError(
                f"{at}: line {number} has {len(fields)} columns, and {columns_needed} are needed; "
                f"{advice}"
            )

    def _check_filled(
        self, fields: list[str], number: int, word_at: int, tag_at: int, at: str
    ) -> None:
        if not fields[word_at].strip(" ") or not fields[tag_at]:
            raise DataError(f"{at}: line {number} has no word or no tag")
