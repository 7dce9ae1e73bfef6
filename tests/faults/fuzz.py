"""Override words and files of settings as nobody means them, and what a check makes of them.

python -m tests.faults.fuzz 20000     tries so many, and prints what is no error of ours
"""

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from distillkit.cli import help as usage
from distillkit.config import overrides, phases
from distillkit.config.paths import CONF, groups, recipe_files
from distillkit.errors import DistillkitError

SECONDS = 2.0  # of the process's own time, for one input
OF_SWEEP = 10.0  # for one that is a sweep over all entries of groups: each is composed and checked
MOST_PROBLEMS = 100  # lines of one refusal

KEYS = [
    *("seed", "control", "workspace", "workspace.path", "run_name", "trusted", "phases", "start"),
    *(
        "trust_remote_code",
        "about",
        "published",
        "loss.temperature",
        "loss.weights",
        "loss._target_",
    ),
    *("student.config", "student.config.model_type", "student.config.num_hidden_layers"),
    *("optimizer.lr", "trainer.steps", "trainer.batch_size", "data.train", "data.label_names"),
    *("loss.hard_weight", "targets.codec", "evaluation.harness_path", "hydra.run.dir"),
    *("hydra.verbose", "hydra.job.env_set", "hydra.searchpath", "hydra", "hydra.callbacks", "null"),
    *("defaults", "_target_", "recipe", "teacher.labels", "a.b.c", "", ".", "phases.a.loss"),
]
VALUES = [
    *("1", "0.5", "-1", "null", "true", "???", "''", "[]", "{}", "[1,2]", "{a:1}", "nan", "inf"),
    *("1e999", "9" * 30, "glob(*)", "range(1,9)", "choice(a,b)", "1,2", "interval(0,1)", "x y"),
    *("shuffle(range(5))", "${seed}", "${.}", "${oc.env:HOME}", "${a.b}", "${", "a=b", "\\", "'"),
    *("{_target_:torch.optim.AdamW}", "{_target_:os.system,_args_:[ls]}", "[a,{b:[c,{d:1}]}]"),
    *("distillkit.losses.ForwardKL", "torch.hub.load", "../../x", "/etc/passwd", "~", "é", "\x00"),
    *("tag(a,1)", "sort(3,2)", "str(1)", "int('a')", "float(x)", "extend_list(1)", "@", "[", "{"),
]
GROUPS = groups() | {"recipe": [*recipe_files()]}

keys = st.one_of(
    st.sampled_from(KEYS),
    st.sampled_from([*GROUPS]),
    st.text(max_size=12),
    st.lists(st.sampled_from(["a", "loss", "0", "-1", "_target_", "x"]), max_size=4).map(".".join),
)
values = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(sorted({choice for entries in GROUPS.values() for choice in entries})),
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.text("[]{}(),:'\"\\$ab1.=@/ ", max_size=20),
)
FILES = {  # every recipe and entry of ours, as plain data: (group, name) -> content
    **{("recipe", name): path for name, path in recipe_files().items()},
    **{(g, name): CONF / g / f"{name}.yaml" for g, names in groups().items() for name in names},
}
CONTENTS: dict[tuple[str, str], dict[str, Any]] = {
    which: yaml.safe_load(path.read_text(encoding="utf-8")) or {} for which, path in FILES.items()
}
SETTINGS = sorted(  # keys that there are
    {f"{g}.{key}" for (g, _), content in CONTENTS.items() if g != "recipe" for key in content}
    - {f"{g}.{key}" for g in groups() for key in ("defaults", "_target_")}
)
sound_words = st.one_of(  # each may well be right
    st.sampled_from([f"{group}={name}" for group, name in FILES]),
    st.sampled_from([f"+recipe={name}" for name in recipe_files()]),
    st.builds(
        "{}={}".format,
        st.sampled_from(SETTINGS),
        st.one_of(st.integers(0, 8).map(str), st.sampled_from(["0.5", "null", "true", "a", "[1]"])),
    ),
)
odd_words = st.lists(
    st.one_of(
        st.builds("{}{}={}".format, st.sampled_from(["", "", "+", "++", "~"]), keys, values),
        st.builds("~{}".format, keys),
        st.builds("phases.{}.{}={}".format, st.sampled_from("ab"), keys, values),
        st.text(max_size=30),
    ),
    max_size=4,
)
words = st.one_of(
    odd_words,
    odd_words,
    st.lists(sound_words, min_size=1, max_size=3),
    st.builds(lambda sound, odd: [*sound, *odd[:1]], st.lists(sound_words, max_size=2), odd_words),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(VALUES),
)
nodes = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(keys, scalars.filter(bool)), inner, max_size=3),
    ),
    max_leaves=8,
)
mappings = st.dictionaries(st.one_of(keys, scalars), nodes, max_size=5)
YAML_LINES = [
    *(
        "defaults:",
        "  - _self_",
        "  - override /loss: jsd",
        "  - /loss: jsd@x",
        "a: &a [1]",
        "b: *a",
    ),
    *(
        "loss: {<<: *a}",
        "? [a]",
        ": b",
        "!!set {a}",
        "null: 1",
        "~: 2",
        "1: 2",
        "- a",
        "{",
        "a: 'x",
    ),
    *("trusted: 1", "published: ${.}", "phases: {a: [loss=jsd]}", "phases: [a]", "phases: {a: 1}"),
    *("hydra: {run: {dir: x}}", "about: {what: x}", "# @package _global_", "# @package a.b", "---"),
    *("loss: {temperature: 2}", "student: {config: {model_type: bert}}", "\t", "a: !!binary x"),
]
texts = st.one_of(
    mappings.map(lambda node: yaml.safe_dump(node, allow_unicode=True)),
    st.lists(st.sampled_from(YAML_LINES), max_size=6).map("\n".join),
    st.text(max_size=60),
)
places = st.sampled_from(
    ["recipes/mine.yaml", "recipe/mine.yaml", *(f"{g}/mine.yaml" for g in groups())]
)


@st.composite
def altered(draw: st.DrawFn) -> dict[str, str]:
    """A file of ours under another name, with up to two of its settings changed, added or gone."""
    group, name = draw(st.sampled_from([*CONTENTS]))
    content = deepcopy(CONTENTS[group, name])
    for _ in range(draw(st.integers(0, 2))):
        inner = content
        key = draw(st.sampled_from([*inner, "new"]))
        while isinstance(inner.get(key), dict) and inner[key] and draw(st.booleans()):
            inner = inner[key]
            key = draw(st.sampled_from([*inner, "new"]))
        if draw(st.integers(0, 3)):
            inner[key] = draw(st.one_of(nodes, st.integers(0, 8), st.sampled_from(VALUES)))
        else:
            inner.pop(key, None)
    folder = "recipes" if group == "recipe" else group
    return {f"{folder}/mine.yaml": yaml.safe_dump(content, allow_unicode=True)}


Input = tuple[list[str], dict[str, str], bool]
files = st.one_of(st.just({}), st.dictionaries(places, texts, max_size=2), altered())
inputs = st.tuples(words, files, st.booleans())


def check(given_words: list[str], files: dict[str, str], sweeps: bool) -> str:
    """What the command line's own check makes of an input: "taken", or "refused".

    Raises whatever is no error of ours, and `AssertionError` for one that takes too long, or tells
    too much.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        chosen = []
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="replace")
            group = "recipe" if path.parent.name.startswith("recipe") else path.parent.name
            chosen.append(f"{group}=mine")
        line = [*dict.fromkeys(chosen), *given_words]
        line += ["--config-dir", folder] if files else []
        began = time.process_time()
        try:
            _check(line, sweeps)
        except DistillkitError as error:
            lines = getattr(error, "problems", [str(error)])
            assert lines, "a refusal without a line"
            assert len(lines) <= MOST_PROBLEMS, f"{len(lines)} problems are told"
            result = "refused"
        else:
            result = "taken"
        spent = time.process_time() - began
    limit = OF_SWEEP if sweeps and any("glob(" in word for word in given_words) else SECONDS
    assert spent < limit, f"took {spent:.1f} s"
    return result


def _check(line: list[str], sweeps: bool) -> None:
    """As `distillkit train` begins."""
    _, given_words, folder = usage.split_options(line)
    given_words, of_phases = phases.gathered(given_words)
    checked = overrides.check(given_words, user_folder=folder, sweeps=sweeps)
    declared = phases.declared(checked.cfg, of_phases)
    if declared:
        phases.settled(given_words, declared, user_folder=folder, sweeps=sweeps)


def campaign(
    count: int, seed: int = 0, *, tell: Callable[[str], object] = len
) -> tuple[dict[str, int], list[str]]:
    """Try so many inputs; how many were taken and refused, and those that were neither.

    The inputs of a seed are the same ones each time.
    """
    found, failures = {"taken": 0, "refused": 0}, list[str]()

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @seeded(seed)
    @given(inputs)
    def every(given_input: Input) -> None:
        try:
            found[check(*given_input)] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failures.append(f"{type(error).__name__}: {str(error)[:300]}\n  of {given_input!r}")
            tell(f"{failures[-1]}\n")
        if sum(found.values()) % 500 == 0:
            tell(f"{found}\n")

    with ThreadPoolExecutor(1) as fresh_stack:  # Python asks for memory anew at some depths of one
        fresh_stack.submit(every).result()
    return found, failures


if __name__ == "__main__":
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # as tests.conftest has it
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    counts, faults = campaign(*map(int, sys.argv[1:]), tell=sys.stdout.write)
    sys.stdout.write(f"{counts}, {len(faults)} faults\n")
