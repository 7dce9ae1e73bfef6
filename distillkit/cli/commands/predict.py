"""`distillkit predict`: what a student says about texts of yours."""

import argparse
import sys
from pathlib import Path
from typing import Any

from distillkit.cli.arguments import Arguments, count
from distillkit.cli.prediction import CACHE, Opening, check_sources, text_of_stdin, write_file
from distillkit.cli.settings import OF_DATA, OF_STUDENT, OF_TASK, STUDENT, Words, read_words
from distillkit.console.progress import heartbeat, stdout, working
from distillkit.console.quiet import quiet_others
from distillkit.errors import ConfigError

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

Files in: csv, tsv, txt (a text a line), json(l), xlsx, parquet, packed or not; a hub data set; of
tagged words also conll and its like, of questions SQuAD's own json.
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
    arguments = parser.parse_intermixed_args(words)
    groups = {**OF_STUDENT, **OF_TASK, **OF_DATA}
    settings = read_words(arguments.words, groups, command="predict")
    _check(arguments, settings)
    quiet_others()
    with heartbeat(), working("predict"):
        _predict(arguments, settings)


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


def _check(arguments: Any, settings: Words) -> None:
    if arguments.pairs and not arguments.texts:
        raise ConfigError("--pair: is the second text of a --text; give that, too")
    check_sources(arguments, settings, command="predict", word="text")


def _predict(arguments: Any, settings: Words) -> None:
    from distillkit.prediction.predict import predict
    from distillkit.prediction.purpose import purpose_of

    student = Opening(settings)
    purpose = purpose_of(
        student.folder, key=STUDENT, settings=settings.of("task"), labels=settings.labels
    )
    rows = _rows(arguments, settings, purpose)
    answers = predict(student.saved(), purpose, rows, batch_size=arguments.batch_size)
    _show(arguments, rows, answers)


def _rows(arguments: Any, settings: Words, purpose: Any) -> Any:
    from distillkit.prediction import rows

    if arguments.texts:
        return rows.of_texts(arguments.texts, arguments.pairs or [], purpose)
    if settings.file not in (None, "-"):
        return rows.of_file(
            settings.file, purpose, columns=arguments.column, form=settings.form, cache=CACHE
        )
    return rows.of_lines(text_of_stdin(settings, word="text"), purpose, at="stdin")


def _show(arguments: Any, rows: Any, answers: Any) -> None:
    """Write the file, or print the predictions."""
    from distillkit.prediction import output

    nested = Path(arguments.out or "").suffix.lower() in output.LINES or not arguments.out
    if not arguments.out and stdout().is_terminal:
        output.print_table(rows, answers, limit=arguments.top)
        return
    records = output.records(rows, answers, limit=arguments.top, nested=nested)
    if arguments.out:
        counted = f"predict: {len(answers.filled):,} of {len(rows):,} rows predicted"
        write_file(arguments.out, records, counted=counted)
        return
    for record in records:
        sys.stdout.write(output.json_line(record) + "\n")
