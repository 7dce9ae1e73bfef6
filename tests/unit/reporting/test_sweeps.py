"""Seeds folded, effects and fronts of a sweep, by hand; its page."""

import json
import math
from pathlib import Path

import pytest
from scipy import stats

from distillkit.console.progress import visible
from distillkit.reporting import sweep_page
from distillkit.reporting.leaderboard import Run, collect
from distillkit.reporting.sweep_report import folded_table, write_leaderboard
from distillkit.reporting.sweeps import effects, folded, fronts, mean_of, record
from tests.pages import EVIL, Page


def run(name: str, score: float, gain: float = 0.01, **overrides: str) -> Run:
    row = {"accuracy": score, "parameters": int(1000 * score), "latency_p50_ms": 2.0}
    results = {
        "rows": {"student": row},
        "headline": "accuracy",
        "level": 0.95,
        "comparison": {"student_minus_control": {"difference": gain, "low": 0.0, "high": 0.1}},
        "run": {"command": "distillkit train x=1"},
    }
    return Run(Path(name), {k.replace("__", "."): v for k, v in overrides.items()}, results)


SWEEP = [
    run("a", 0.90, 0.02, loss__temperature="4", seed="0"),
    run("b", 0.86, 0.04, loss__temperature="4", seed="1"),
    run("c", 0.80, 0.01, loss__temperature="1", seed="0"),
    run("d", 0.80, -0.01, loss__temperature="1", seed="1"),
]


def test_a_mean_has_the_interval_of_student() -> None:
    values = [0.78, 0.79, 0.80, 0.83]
    found = mean_of(values, 0.95)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.count, found.mean) == (4, pytest.approx(0.8))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.sd == pytest.approx(math.sqrt((4 + 1 + 0 + 9) / 3) / 100)
    single = mean_of([0.5], 0.95)
    assert (single.mean, single.low, single.text) == (0.5, None, "0.5000")


def test_seeds_are_folded_within_a_setting() -> None:
    best, other = folded(SWEEP)
    assert best.settings == {"loss.temperature": "4"}
    assert best.seeds == ["0", "1"]
    assert best.score.mean == pytest.approx(0.88)
    assert best.gain is not None
    assert best.gain.mean == pytest.approx(0.03)
    assert best.word == "within the noise"  # two seeds: 12.7 standard errors are needed
    assert other.score.low == other.score.high == pytest.approx(0.8)
    sure = [run(str(n), 0.9, 0.05 + n / 1000, seed=str(n)) for n in range(3)]
    assert folded(sure)[0].word == "better"


def test_without_seeds_there_is_nothing_to_fold() -> None:
    assert folded(SWEEP[:1]) == []
    assert folded([SWEEP[0], SWEEP[2]]) == []
    apart = [run("a", 0.9, x="1", seed="0"), run("b", 0.8, x="2", seed="1")]
    assert folded(apart) == []


def test_the_effect_of_a_key_is_of_means() -> None:
    temperature, seed = effects(SWEEP)
    assert temperature.key == "loss.temperature"
    assert [*temperature.means] == ["1", "4"]
    assert temperature.spread == pytest.approx(0.08)
    assert seed.spread == pytest.approx(0.02)
    many = [run(v, 0.5, lr=v) for v in ("1e-2", "5e-4", "null", "0.1")]
    assert [*effects(many)[0].means] == ["5e-4", "1e-2", "0.1", "null"]


def test_the_front_of_a_sweep_names_places() -> None:
    assert fronts(SWEEP) == {"parameters": [2, 1, 0]}


def test_a_sweep_is_written_with_its_page(tmp_path: Path) -> None:
    for it in SWEEP:
        (tmp_path / it.folder).mkdir()
        record_of = it.results | {"overrides": it.overrides}
        (tmp_path / it.folder / "results.json").write_text(json.dumps(record_of))
    runs = collect(tmp_path)
    assert write_leaderboard(runs, tmp_path, title="4 runs")[-1] == "report.html"
    written = json.loads((tmp_path / "sweep.json").read_text())
    assert written == json.loads(json.dumps(record(runs)))
    assert written["folded"][0]["score"]["mean"] == pytest.approx(0.88)
    page = Page((tmp_path / "report.html").read_text())
    assert page.unbalanced == []
    assert "Over 2 seeds the best setting (loss.temperature=4) has accuracy 0.8800 ±" in page.text
    assert "within the noise" in page.text
    assert page.count("figure") == 2  # of the temperature, and against the parameters
    assert "distillkit train x=1" in page.text
    assert folded_table(folded(runs)).row_count == 2


def test_the_page_of_a_run_stays_where_its_folder_is_reported_on(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(SWEEP[0].results))
    (tmp_path / "report.html").write_text("mine")
    *_, name = write_leaderboard(collect(tmp_path), tmp_path, title="1 run")
    assert name == "leaderboard.html"
    assert (tmp_path / "report.html").read_text() == "mine"
    assert (tmp_path / name).is_file()


def test_values_of_others_are_text() -> None:
    runs = [run(f"r{i}", 0.5 + i / 100, key=value) for i, value in enumerate(EVIL)]
    page = Page(sweep_page.page(runs, title=EVIL[0]))
    assert page.unbalanced == []
    assert page.count("script") == 1
    assert page.count("img") == 0
    for value in EVIL:
        assert " ".join(visible(value).split()) in page.text


def test_a_hundred_runs_of_a_hundred_values_have_a_page() -> None:
    runs = [run(f"r{i}", 0.5 + (i % 7) / 100, lr=f"{i + 1}e-5") for i in range(100)]
    page = Page(sweep_page.page(runs, title="many"))
    assert page.unbalanced == []
    assert page.text.count("e-5") >= 200
