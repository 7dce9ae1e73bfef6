"""`distillkit COMMAND …`: from words to a command; errors in one line each, exit code 2.

Nothing heavy is imported here: help and completion cost Python alone, a config error Hydra and no
torch.
"""

import errno
import io
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib.metadata import version
from pathlib import Path

from distillkit import stopping
from distillkit.cli import completion, launched
from distillkit.cli import help as usage
from distillkit.cli.jobs import LONGEST_LINE, JobFunction, lines, load
from distillkit.cli.sweeps import sweep
from distillkit.cli.tables import ALONE, ARGUMENTS
from distillkit.cli.tables import RUNS as RUNS
from distillkit.cli.tables import TOOLS as TOOLS
from distillkit.console import masking, streams
from distillkit.console.wording import brief, listed, nearest
from distillkit.errors import ConfigError, DistillkitError, OutputError

LAUNCHED = {
    *("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # variables of launchers
    *("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"),
    *("ACCELERATE_MIXED_PRECISION", "ACCELERATE_USE_FSDP"),  # what `accelerate launch` sets
    *("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM"),
}
VIEWS = ("--cfg", "--info", "--hydra-help")  # options that show something, and run nothing
SYSTEM = {  # a disk, a path or permissions that are not as they must be: no fault of the program
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
    errno.ESTALE,
}
REFUSED = 2  # exit code
MOST_PROBLEMS = 10  # that are shown of one command: whoever has more mends these first


def main() -> None:
    """The console script."""
    streams.fill_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal lacks is written out
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:]
    code = _exit_code(words, lambda: _run(words))
    if "RANK" in os.environ:
        load("distillkit.ranks:end")(code)
    sys.exit(code)


def _exit_code(
    words: list[str], run: Callable[[], int], settle: Callable[[], None] = lambda: None
) -> int:
    """How a run ends; what ended it before its time is told in a line, unless it is a fault.

    `settle` is called where a signal ended it, or seems to.
    """
    is_run = words[:1] and words[0] in RUNS
    goes_on = "the same command " + ("goes on from here" if is_run else "can be run again")
    try:
        with stopping.handled():
            code = run()
            sys.stdout.flush()  # a full disk is told of here, not when Python ends
            return code
    except KeyboardInterrupt:
        settle()
        return stopping.leave(goes_on)
    except DistillkitError as error:
        if stopping.is_cause(error):
            settle()
            return stopping.leave(goes_on)
        return _tell(error)
    except BrokenPipeError:
        _close_stdout()
        return 1
    except Exception as error:
        if stopping.requested():  # it broke something off, or a terminal or process is gone
            settle()
            return stopping.leave(goes_on)
        if not isinstance(error, OSError) or error.errno not in SYSTEM:
            raise
        if error.filename is None:
            _close_stdout()
        if error.filename is None and "/" in str(error):  # a library's, with the name in its words
            return _tell(OutputError(brief(error)))
        unnamed = "the current folder" if error.errno == errno.ENOENT else "the output"
        place = error.filename if error.filename is not None else unnamed
        return _tell(OutputError(f"{place}: {error.strerror}"))


def _close_stdout() -> None:
    """Have Python find nothing wrong with stdout when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    if not os.environ.get("DISTILLKIT_WORKSPACE"):  # set to nothing it is as if it were not set
        os.environ.pop("DISTILLKIT_WORKSPACE", None)
    if words[:1] == ["-sc"]:
        return _complete(words)
    command = words[0] if words else "--help"
    part = "alone"
    if LAUNCHED & {*os.environ}:
        part = load("distillkit.ranks.launch:part_of")(trains=_trains(words))
    if part == "idle":
        return 0
    if command in ("--help", "-h", "help"):
        sys.stdout.write(usage.overview())
    elif command in ("--version", "-V"):
        sys.stdout.write(f"distillkit {version('distillkit')}\n")
    elif command == "completion":
        sys.stdout.write(completion.script(words[1:]))
    elif command in TOOLS:
        load(TOOLS[command])(words[1:])
    elif command not in RUNS:
        names = [*RUNS, *TOOLS, "completion"]
        hint = nearest(command, names, hint="`distillkit --help` says what each does")
        raise ConfigError(f"{command}: no such command; {hint}")
    elif "--help" in words or "-h" in words:
        sys.stdout.write(usage.command(command))
    elif part == "together":
        return _run_together(command, words[1:])
    else:
        _run_with_hydra(command, words[1:])
    return 0


def _trains(words: list[str]) -> bool:
    """Whether a command line trains models, which several processes can do together."""
    if not words or words[0] not in RUNS or words[0] in ALONE or {"--help", "-h"} & {*words}:
        return False
    try:
        options, _, _ = usage.split_options(words[1:])
    except ConfigError:
        return False  # the first process says what is wrong
    return not any(option.partition("=")[0] in VIEWS for option in options)


def _run_together(command: str, words: list[str]) -> int:
    """Run a command as the first of several processes, or take part in what the first one does."""
    from distillkit import ranks

    def run() -> int:
        ranks.check_words()
        _run_with_hydra(command, words)
        return 0

    _trust_folder(usage.split_options(words)[1])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    return ranks.together(
        [command, *words],
        lambda: _exit_code([command, *words], run, ranks.settle),
        lambda: load("distillkit.pipeline.take_part:take_part"),
    )


def _trust_folder(words: list[str]) -> None:
    """With `trusted`, find a module beside the run, after all that is installed."""
    folder_here = str(Path.cwd())
    if folder_here not in sys.path and any(
        word.startswith(("trusted=", "+trusted=", "++trusted=")) for word in words
    ):
        sys.path.append(folder_here)


def _run_with_hydra(command: str, words: list[str]) -> None:
    """Check the whole config, then hand the cleaned words to Hydra."""
    from distillkit.config import overrides, phases

    options, run_words, folder = usage.split_options(words)
    if usage.REPAIR in options:
        options = [option for option in options if option != usage.REPAIR]
        run_words.append(usage.REPAIRS)
    sweeps = "--multirun" in options
    _trust_folder(run_words)
    if any(option.partition("=")[0] in VIEWS for option in options):
        _view(command, options, run_words, folder)
        return
    run_words, of_phases = phases.gathered(run_words)
    checked = overrides.check(run_words, user_folder=folder, sweeps=sweeps)
    declared = phases.declared(checked.cfg, of_phases)
    if declared:
        phases.settled(run_words, declared, user_folder=folder, sweeps=sweeps)
    if checked.brought:
        sys.stderr.write(f"distillkit: {', '.join(checked.brought)}, which the task takes\n")
    if checked.left_out:
        from distillkit.console.progress import visible

        sys.stderr.write(
            f"distillkit: the recipe's {visible(listed(checked.left_out))} left out; what you "
            "chose instead does not take it\n"
        )
    # the defaults of a run in phases are each phase's own
    defaults = [] if declared else checked.defaults
    settled = [*checked.overrides, *defaults, *phases.as_words(declared, of_phases)]
    if sweeps:
        sweep(
            command,
            settled,
            checked,
            folder,
            lambda words: _hydra(command, [*options, *words], checked.swept),
        )
    elif failed := _hydra(command, [*options, *settled], checked.swept):
        raise ConfigError(failed)


def _view(command: str, options: list[str], run_words: list[str], folder: Path | None) -> None:
    """Show a config, or what Hydra knows; what cannot be shown is one line, too.

    What comes from the environment is named, also where references are resolved.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from distillkit.config import entries
    from distillkit.config.references import bounded_references, fault

    entries.register(folder, run_words)
    words = _flags(run_words, folder, sweeps="--multirun" in options)
    out, err = io.StringIO(), io.StringIO()
    try:
        with bounded_references(), redirect_stdout(out), redirect_stderr(err):
            failed = _hydra(command, [*options, *words])
        sys.stdout.write(masking.masked(out.getvalue(), masking.names_of(run_words)))
        sys.stderr.write(err.getvalue())
    except SystemExit as end:  # Hydra has said why
        if not end.code:
            raise
        failed = [f"{' '.join(options).replace('=', ' ')}: {brief(err.getvalue())}"]
    except (HydraException, OmegaConfBaseException, RecursionError) as error:
        failed = [": ".join(fault(error.__cause__ or error))]
    if failed:
        raise ConfigError(failed)


def _flags(words: list[str], folder: Path | None, *, sweeps: bool) -> list[str]:
    """The overrides of a config that is only looked at: one that is wrong is shown as it is."""
    from distillkit.config import overrides
    from distillkit.config.words import respelled

    try:
        checked = overrides.check(words, user_folder=folder, sweeps=sweeps)
    except DistillkitError:
        words = respelled(words)
        return [f"+{word}" if word.startswith("recipe=") else word for word in words]
    return [*checked.overrides, *checked.defaults]


def _hydra(command: str, words: list[str], swept: Mapping[str, int] | None = None) -> list[str]:
    """Run a command under Hydra; what was refused, a line each, once all jobs have ended."""
    from distillkit.config import entries
    from distillkit.console.quiet import quiet_others

    # our own errors pass through Hydra as they are, and are printed in one line by main()
    os.environ["HYDRA_FULL_ERROR"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    sys.argv = [f"distillkit {command}", *words]
    quiet_others()

    run = JobFunction(command, words, swept or {}, entries.user_folder())
    try:
        launched.launch(run, words)
    except OSError as error:
        if run.has_folder or error.filename is None:
            raise
        shorter = "choose a shorter run_name, or " if error.errno == errno.ENAMETOOLONG else ""
        run.failed.append(
            f"hydra.run.dir: the run's folder {brief(error.filename)} cannot be made "
            f"({error.strerror}); {shorter}set hydra.run.dir=FOLDER (of a sweep: "
            "hydra.sweep.dir=FOLDER)"
        )
    except DistillkitError:
        raise
    except Exception as error:  # logging, launchers and Hydra itself raise whatever they like
        words_of_hydra = [word for word in words if word.lstrip("+~").startswith("hydra")]
        # jobs of other launchers run elsewhere: what they raise is no fault of these words
        if run.has_folder or not words_of_hydra or "--multirun" in words:
            raise
        run.failed.append(
            f"{brief(' '.join(words_of_hydra))}: Hydra cannot start a run with that "
            f"({brief(error)}); leave it out"
        )
    return run.failed


def _complete(words: list[str]) -> int:
    """Hydra's shell completion, with the command taken out of the line that it sees."""
    from distillkit.config import entries

    if not (len(words) == 2 and words[1].startswith("query=")):
        raise ConfigError(f"{' '.join(words)}: no such command; {completion.HOW}")
    program, *typed = os.environ.get("COMP_LINE", "distillkit ").split(" ")
    names = [*RUNS, *TOOLS, "completion", "--help", "--version"]
    if len(typed) <= 1 and "query=bash" in words:
        sys.stdout.write(" ".join(names) + "\n")
        return 0
    if typed[0] in ARGUMENTS:
        if len(typed) == 2:
            sys.stdout.write(" ".join(ARGUMENTS[typed[0]]()) + "\n")
        return 0
    if typed and typed[0] in RUNS:
        line = " ".join([program, *typed[1:]])
        os.environ["COMP_LINE"], os.environ["COMP_POINT"] = line, str(len(line))
        entries.register()
        _hydra(typed[0], words)
    return 0


def _tell(error: DistillkitError) -> int:
    """Print what a user can mend; its exit code."""
    from distillkit.console.progress import visible

    # whatever others put into a message, its beginning and its way out are read
    names = masking.names_of(sys.argv)
    problems = [masking.masked(line, names) for line in lines(error)]
    first = [visible(line).replace("\n", " ") for line in problems[:MOST_PROBLEMS]]
    first = [brief(line, LONGEST_LINE) if len(line) > LONGEST_LINE else line for line in first]
    if len(first) == 1:
        sys.stderr.write(f"distillkit: {first[0]}\n")
    else:
        listed = "".join(f"  - {line}\n" for line in first)
        if len(problems) > MOST_PROBLEMS:
            listed += f"  - and {len(problems) - MOST_PROBLEMS:,} more\n"
        sys.stderr.write(f"distillkit: {len(problems):,} problems:\n{listed}")
    return REFUSED
