"""`distillkit generate`: what a language model writes after prompts of yours."""

import argparse
import sys
from pathlib import Path
from typing import Any

from distillkit.cli.arguments import Arguments, count
from distillkit.cli.prediction import CACHE, Opening, check_sources, text_of_stdin, write_file
from distillkit.cli.settings import OF_DATA, OF_STUDENT, STUDENT, Words, read_words
from distillkit.console.progress import heartbeat, stdout, visible, working
from distillkit.console.quiet import quiet_others
from distillkit.errors import ConfigError

EXAMPLES = """\
The student is a causal language model: that of a report (outputs/…/student), any folder or hub id.
A prompt is written by the template that it was trained with, or by its chat template; where there
is none, and with --raw, it is continued as it stands.

examples
  # one prompt: what is written comes as it is written
  distillkit generate student.path=./student --prompt "What is a film?"
  # a prompt a line
  cat prompts.txt | distillkit generate student.path=./student --max-new-tokens 64
  # a table of prompts, or of messages
  distillkit generate student.path=./student chats.jsonl --column messages --out answers.jsonl
  # drawn, not the likeliest
  distillkit generate student.path=./student --prompt "Once" --raw --temperature 0.8 --seed 1

Greedy unless --temperature, --top-p or --seed is given. Files are those of `distillkit predict`:
rows and columns of the input stay, with response, tokens and finish (end, or length) beside them.
"""


def main(words: list[str]) -> None:
    """Print or write what a language model writes."""
    arguments = _parser().parse_intermixed_args(words)
    settings = read_words(arguments.words, {**OF_STUDENT, **OF_DATA}, command="generate")
    _check(arguments, settings)
    quiet_others()
    with heartbeat(), working("generate"):
        _generate(arguments, settings)


def _parser() -> Arguments:
    parser = Arguments(
        prog="distillkit generate",
        usage=f"distillkit generate {STUDENT}=FOLDER [FILE] [--prompt TEXT] [--out FILE] [options]",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="FILE", help="prompts; - or nothing: stdin")
    add = parser.add_argument
    add("--prompt", dest="prompts", action="append", metavar="TEXT", help="a prompt")
    add("--system", metavar="TEXT", help="what stands before it in a chat")
    add("--raw", action="store_true", help="no template: the prompt is continued as it stands")
    add("--column", metavar="NAME", help="of the prompts, or messages, in FILE")
    add("--out", metavar="FILE", help="a csv, tsv or jsonl file to write")
    add("--overwrite", action="store_true", help="replace FILE of --out")
    add("--max-new-tokens", type=count, default=256, metavar="N", help="of each response (256)")
    add("--temperature", type=_positive, metavar="T", help="draw, at this temperature")
    add("--top-p", type=_share, metavar="P", help="draw, among the likeliest of this mass")
    add("--seed", type=_seed, metavar="N", help="draw, with this seed (0)")
    add("--batch-size", type=count, default=8, metavar="N", help="prompts at a time (8)")
    return parser


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0 (greedy: leave it out)")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no number") from None


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 0 on")
    return int(text)


def _check(arguments: Any, settings: Words) -> None:
    if arguments.raw and arguments.system is not None:
        raise ConfigError("--system: is for a chat template, which --raw leaves out")
    if any(not prompt.strip() for prompt in arguments.prompts or ()):
        raise ConfigError("--prompt: is empty; write what is to be continued")
    if "student.labels" in settings.settings:
        raise ConfigError("student.labels: a language model has none; `distillkit predict` does")
    check_sources(arguments, settings, command="generate", word="prompt")


def _generate(arguments: Any, settings: Words) -> None:
    from distillkit.prediction import generate as it
    from distillkit.prediction.purpose import check_writes

    student = Opening(settings)
    check_writes(student.folder, key=STUDENT)
    rows = _rows(arguments, settings, student.folder)
    saved = student.saved()
    loaded = it.opened(saved)
    writer = it.writer_of(loaded, saved.folder, raw=arguments.raw, system=arguments.system)
    draws = (arguments.temperature, arguments.top_p, arguments.seed) != (None, None, None)
    decoding = it.Decoding(
        tokens=arguments.max_new_tokens,
        temperature=arguments.temperature or 1.0,
        top_p=arguments.top_p or 1.0,
        seed=(arguments.seed or 0) if draws else None,
        batch_size=arguments.batch_size,
    )
    streams = len(rows) == 1 and not arguments.out and stdout().is_terminal
    streamer = it.Streamer(loaded, _print_part) if streams else None
    answers = it.generate(loaded, writer, rows, decoding, streamer=streamer)
    if not streams:
        _show(arguments, rows, answers)


def _print_part(text: str, ended: bool) -> None:
    """Print a part of what is being written as soon as it is there."""
    sys.stdout.write(visible(text) + ("\n" if ended else ""))
    sys.stdout.flush()


def _rows(arguments: Any, settings: Words, folder: str) -> Any:
    from distillkit.prediction import prompts
    from distillkit.prediction.purpose import read_record

    if arguments.prompts:
        return prompts.of_prompts(arguments.prompts)
    if settings.file not in (None, "-"):
        columns = read_record(Path(folder)).get("columns")
        named = [str(v) for v in columns.values()] if isinstance(columns, dict) else []
        return prompts.of_prompt_file(
            settings.file, column=arguments.column, recorded=named, form=settings.form, cache=CACHE
        )
    return prompts.of_prompt_lines(text_of_stdin(settings, word="prompt"), at="stdin")


def _show(arguments: Any, rows: Any, answers: Any) -> None:
    """Write the file; or print one response as it is, of several one a line."""
    from distillkit.console.escaping import one_line
    from distillkit.prediction import output

    if arguments.out:
        counted = f"generate: {len(answers.filled):,} of {len(rows):,} prompts answered"
        write_file(arguments.out, output.records(rows, answers), counted=counted)
        return
    responses = answers.columns["response"]
    several = len(responses) > 1
    for response in responses:
        text = response or ""
        sys.stdout.write((one_line(text) if several else visible(text)) + "\n")
