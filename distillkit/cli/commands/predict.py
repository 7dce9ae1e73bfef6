"""`distillkit predict`: what a student says about texts of yours."""

import argparse
import sys
from pathlib import Path
from typing import Any

from distillkit.artifacts.homes import expanded
from distillkit.cli.arguments import Arguments, count
from distillkit.cli.settings import OF_DATA, OF_STUDENT, OF_TASK, STUDENT, Words, read_words
from distillkit.console.progress import heartbeat, say, stdout, working
from distillkit.console.quiet import quiet_others
from distillkit.errors import ConfigError, DataError

EXAMPLES = """\
The student is any folder with a head: that of a report (outputs/…/student), an artifact of the
workspace, a hub id, in any format. Its own config says what it predicts: a label, several, a value,
a tag for each word, an answer out of a passage.

examples
  # a text, or several
  distillkit predict student.path=./student --text "a warm and clever film"
  # a text a line
  cat reviews.txt | distillkit predict student.path=./student
  # a table: its rows and columns in their order, with what the student says of each beside
  distillkit predict student.path=./student reviews.csv --out labelled.csv
  # pairs of texts, questions about passages
  distillkit predict student.path=./student --text "one text" --pair "another"
  distillkit predict student.path=./qa --question "Who?" --context "It was Ada."

Files in: csv, tsv, txt (a text a line), json(l), xlsx, parquet, packed or not; a hub data set.
Files out: csv, tsv, jsonl. Without --out: a table on a terminal, a JSON object a line in a pipe.
A text that begins with a dash is written --text=-1.
"""
SETTINGS = """\
settings
  student.path=FOLDER     required
  student.labels=[a,b]    the names of its outputs, where it has none of its own
  task.max_length=N       tokens that are read of a text; as in training if not given
  task.threshold=0.5      of the labels of a text that may have several
  data.separator=';'      also encoding, quoting, header, columns: how a text file is written
"""


def main(words: list[str]) -> None:
    """Print or write what a student says about texts."""
    parser = _parser()
    chosen = parser.parse_intermixed_args(words)
    takes = {**OF_STUDENT, **OF_TASK, **OF_DATA}
    given = read_words(chosen.words, takes, command="predict")
    _check_sources(chosen, given)
    quiet_others()
    with heartbeat(), working("predict"):
        _predict(chosen, given)


def _parser() -> Arguments:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Arguments(
        prog="distillkit predict",
        usage=f"distillkit predict {STUDENT}=FOLDER [FILE] [--text TEXT] [--out FILE] [options]",
        description=__doc__,
        epilog=f"{SETTINGS}\n{EXAMPLES}",
        formatter_class=raw,
    )
    parser.add_argument("words", nargs="*", metavar="FILE", help="texts; - or nothing: stdin")
    add = parser.add_argument
    add("--text", "--question", dest="texts", action="append", metavar="TEXT", help="a text")
    add("--pair", "--context", dest="pairs", action="append", metavar="TEXT", help="its second one")
    add("--column", action="append", default=[], metavar="NAME", help="of the texts in FILE")
    add("--out", metavar="FILE", help="a csv, tsv or jsonl file to write")
    add("--overwrite", action="store_true", help="replace FILE of --out")
    add("--top", type=count, metavar="N", help="the N likeliest classes alone")
    add("--batch-size", type=count, metavar="N", help="the most texts at a time")
    return parser


def _check_sources(chosen: Any, given: Words) -> None:
    """Raise `ConfigError` for what shows on the command line alone, before anything is loaded."""
    if chosen.pairs and not chosen.texts:
        raise ConfigError("--pair: is the second text of a --text; give that, too")
    if chosen.texts and given.file:
        raise ConfigError(f"--text: {given.file} has the texts; leave out one of them")
    if chosen.column and (chosen.texts or given.file in (None, "-")):
        raise ConfigError("--column: names a column of FILE; leave it out, or name a file")
    if not chosen.texts and given.file is None and sys.stdin.isatty():
        raise ConfigError("predict: no text; add --text TEXT, a FILE, or lines on stdin")
    if chosen.out:
        from distillkit.prediction.output import check_output

        check_output(expanded(chosen.out), overwrite=chosen.overwrite, source=given.file)


def _predict(chosen: Any, given: Words) -> None:
    from distillkit.data.folders import model_folder
    from distillkit.models.saved import SavedModel
    from distillkit.prediction.predict import predict
    from distillkit.prediction.purpose import newest, purpose_of, student_folder

    cache = Path(".distillkit") / "assets"
    spec = newest(given.student)
    light = model_folder(spec, key=STUDENT, cache=cache, weights=False)
    folder = student_folder(light)
    purpose = purpose_of(folder, key=STUDENT, settings=given.of("task"), labels=given.labels)
    rows = _rows(chosen, given, purpose, cache)
    if folder == light:  # one of the hub has its weights fetched now
        folder = model_folder(spec, key=STUDENT, cache=cache)
    saved = SavedModel(folder, STUDENT, given.labels, given.trusts_code)
    answers = predict(saved, purpose, rows, batch_size=chosen.batch_size)
    _show(chosen, rows, answers)


def _rows(chosen: Any, given: Words, purpose: Any, cache: Path) -> Any:
    from distillkit.data.encodings import decoded
    from distillkit.prediction import rows

    if chosen.texts:
        return rows.of_texts(chosen.texts, chosen.pairs or [], purpose)
    if given.file not in (None, "-"):
        return rows.of_file(
            given.file, purpose, columns=chosen.column, form=given.form, cache=cache
        )
    data = sys.stdin.buffer.read()
    if not data.strip():
        raise DataError("stdin: no text in it; give a text a line, --text TEXT, or a FILE")
    text, encoding = decoded(data, given.form.encoding, at="stdin")
    if encoding:
        say(f"stdin: encoding {encoding}")
    return rows.of_lines(text, purpose, at="stdin")


def _show(chosen: Any, rows: Any, answers: Any) -> None:
    """Write the file, or print the predictions."""
    from distillkit.prediction import output

    if chosen.out:
        path = expanded(chosen.out)
        suffix = path.suffix.lower()
        every = output.records(rows, answers, most=chosen.top, nested=suffix in output.LINES)
        with output.whole_file(path) as file:
            output.write_rows(file, every, suffix=suffix)
        say(f"predict: {len(answers.filled):,} of {len(rows):,} rows predicted")
        stdout().print(f"written: {chosen.out}", soft_wrap=True)
        return
    if stdout().is_terminal:
        output.print_table(rows, answers, most=chosen.top)
        return
    for record in output.records(rows, answers, most=chosen.top):
        sys.stdout.write(output.json_line(record) + "\n")
