"""What a command line that cannot be run is told: a line that leads on, and no secret in it."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import assert_refused, run, with_overrides
from tests.conftest import Distillkit

VALUE = "xy-Quaint7Value"  # of a variable with a name like any other
TOKEN = "tk-9f8e7d6c5b4a"  # of one that is named as a secret

LINES = {  # words -> the whole line
    "--cfg job --package nope": "--cfg job --package nope: package 'nope' not found in config",
    "--info nope": "--info nope: shows one of all, config, defaults, defaults-tree, plugins, "
    "searchpath",
    "--cfg hydra --resolve": "--resolve: Hydra's settings refer to the run's; add --cfg all",
    "-m hydra/launcher=joblib seed=1,2": "hydra/launcher = joblib: no such entry; pip install "
    "'distillkit[sweep]' brings it",
    "-m hydra/launcher=nope seed=1,2": "hydra/launcher = nope: no such entry; it takes basic",
    "hydra/job_logging=stdot": "hydra/job_logging = stdot: no such entry; did you mean stdout?",
    "trusted=mycode": "trusted = mycode: must be a list, as [mycode]",
    "data.train=${oc.env:DK_NONE}": "data.train = ${oc.env:DK_NONE}: the environment has no "
    "DK_NONE; set it, or say what stands in its place, as '${oc.env:DK_NONE,VALUE}'",
    "--cfg job --resolve data.train=${oc.env:DK_NONE}": "${oc.env:DK_NONE}: the environment has "
    "no DK_NONE; set it, or say what stands in its place, as '${oc.env:DK_NONE,VALUE}'",
    "loss.temperature=${nope:1}": "loss.temperature: Unsupported interpolation type nope",
    "loss.temperature=${oc.env:DK_VALUE}": "loss.temperature = ${oc.env:DK_VALUE}: must be a "
    "number",
    "loss.temperature=${oc.env:DK_SHORT}": "loss.temperature = ${oc.env:DK_SHORT}: must be a "
    "number",
    "evaluation.ece_bins=1000000000": "evaluation.ece_bins = 1000000000: must be less than or "
    "equal to 10000",
    "+about.a=${oc.env:DK_VALUE} seed=${about.a}": "seed = ${about.a}: must be an integer",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DK_VALUE", VALUE)
    monkeypatch.setenv("DK_SHORT", "abc")
    monkeypatch.setenv("DK_TOKEN", TOKEN)


@pytest.mark.parametrize("words", LINES)
def test_the_line_is_ours_and_leads_on(words: str, distillkit: Distillkit, tmp_path: Path) -> None:
    if "launcher=joblib" in words and find_spec("hydra_plugins"):
        pytest.skip("it is installed here")
    line = assert_refused(distillkit("train", *words.split()))
    if "launcher=nope" in words:  # those that are installed are named, too
        assert line.startswith(f"distillkit: {LINES[words]}")
    else:
        assert line == f"distillkit: {LINES[words]}"
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_rate_that_is_no_number_is_refused_before_the_work(
    value: str, distillkit: Distillkit, tmp_path: Path
) -> None:
    words = tiny.small(tmp_path / "body", tmp_path / "train.csv", None, tmp_path / "ws")
    done = distillkit("train", *words, f"optimizer.lr={value}")
    line = f"optimizer.lr = {value}: must be a number, and a finite one"
    assert assert_refused(done) == f"distillkit: {line}"


def test_so_many_problems_are_shown(distillkit: Distillkit) -> None:
    done = distillkit("train", *(f"wrong{n}.key=1" for n in range(30)))
    first, *rest = done.err.splitlines()
    assert (done.code, first, len(rest)) == (2, "distillkit: 30 problems:", 11)
    assert rest[-1] == "  - and 20 more"
    assert rest[9].startswith("  - wrong9.key: ")


@pytest.mark.parametrize(
    "words",
    [
        ["run_name=${oc.env:DK_VALUE}"],
        ["run_name=a-${oc.env:DK_SHORT}"],
        ["+about.a=${oc.env:DK_VALUE}", "run_name=${about.a}"],
        [f"run_name={TOKEN}"],
    ],
    ids=" ".join,
)
def test_a_runs_name_is_not_of_the_environment(words: list[str], distillkit: Distillkit) -> None:
    line = assert_refused(distillkit("train", *words), "write the name out")
    assert VALUE not in line
    assert TOKEN not in line


@pytest.mark.parametrize(
    "words",
    [
        ["data=files", "data.train=a.csv", "data.label_names=['${oc.env:DK_VALUE}',good]"],
        ["teacher.path=t", "teacher.labels='${about.a}'", "+about.a=['${oc.env:DK_VALUE}',good]"],
        [
            "task=causal_lm",
            "data=conversations",
            "data.train=a.csv",
            "data.template=${oc.env:DK_VALUE}",
        ],
    ],
)
def test_nor_is_what_stands_in_the_student(words: list[str], distillkit: Distillkit) -> None:
    done = distillkit("plan", *words)
    assert done.code == 2
    assert "it stands in the files of the student, and what comes from the environment" in done.err
    assert VALUE not in done.err


@pytest.mark.parametrize(
    "options", ["job --resolve", "all --resolve", "hydra", "job --package about"]
)
def test_a_config_that_is_shown_names_it(options: str, distillkit: Distillkit) -> None:
    words = [
        "+about.a=${oc.env:DK_VALUE}",
        f"+about.b={TOKEN}",
        "+about.c=https://h/x?token=s3cr3t1",
    ]
    done = distillkit("train", "--cfg", *options.split(), *words)
    assert done.code == 0
    assert "about" in done.out or "a: ${oc.env:DK_VALUE}" in done.out
    for text in (VALUE, TOKEN, "s3cr3t1"):
        assert text not in done.out + done.err


@pytest.mark.parametrize("command", ["plan", "train", "generate-targets"])
def test_a_run_that_fails_names_it(command: str, distillkit: Distillkit, tmp_path: Path) -> None:
    words = ["data.train=${oc.env:DK_VALUE}.csv", f"+about.key={TOKEN}", "data=files"]
    done = distillkit(command, *words)
    assert done.code == 2
    assert "${oc.env:DK_VALUE}.csv" in done.err
    for text in (done.err, done.out):
        assert VALUE not in text
        assert TOKEN not in text


def test_a_sweep_writes_and_says_none(
    body: Path, reviews: tuple[Path, Path], tmp_path: Path
) -> None:
    labelled = tmp_path / f"{VALUE}.csv"
    labelled.write_bytes(reviews[0].read_bytes())
    words = [
        *with_overrides(tiny.small(body, *reviews, tmp_path / "workspace"), "control=false"),
        "data.train=${oc.env:DK_VALUE}.csv",
        "+about.list=[{a: ['${oc.env:DK_VALUE}']}]",
        f"+about.key={TOKEN}",
        "trainer.epochs=1,2",
    ]
    planned = run(tmp_path, "plan", *words[:-1])
    assert planned.code == 0, planned.err
    done = run(tmp_path, "train", "-m", *words)
    assert done.code == 0, done.err
    for text in (done.err, done.out, planned.err, planned.out):
        assert VALUE not in text
        assert TOKEN not in text
    files = [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()]
    assert {"multirun.yaml", "leaderboard.csv", "README.md", "config.yaml"} <= {
        path.name for path in files
    }
    for path in files:
        held = path.read_bytes()
        assert VALUE.encode() not in held, path
        assert TOKEN.encode() not in held, path
    (results, *_) = (path for path in files if path.name == "results.json")
    assert json.loads(results.read_text(encoding="utf-8"))["rows"]["student"]
