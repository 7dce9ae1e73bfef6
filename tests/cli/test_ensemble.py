"""Several teachers: each asked once, their probabilities averaged, measured as one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.data import Corpus
from distillkit.data.splits import example_key
from distillkit.targets import TargetStore
from tests import tiny, tiny_language
from tests.cli.runs import QUICK, artifact_kinds, assert_refused, results, run, with_overrides

ROWS = 120


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny.write_reviews(tmp_path_factory.mktemp("texts"), ROWS, 40)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two classifiers: their labels stand in other orders, and so do their tokens."""
    folder = tmp_path_factory.mktemp("ready")
    first = tiny.write_model(folder / "first", labels=("bad", "good"))
    second = tiny.write_model(folder / "second", labels=("good", "bad"), seed=1, hidden=16)
    tiny.write_tokenizer(second, extra=("unheard",))
    return [first, second]


def ensemble(words: list[str], *more: str) -> list[str]:
    return with_overrides(words, "teacher=ensemble", *QUICK, "control=false", *more)


@pytest.fixture(scope="module")
def words(
    body: Path, texts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """A run whose teacher is one body, fitted from two seeds."""
    workspace = tmp_path_factory.mktemp("ensemble") / "workspace"
    return ensemble(tiny.small(body, *texts, workspace), "teacher.seeds=[0,1]")


def stores(workspace: Path) -> tuple[list[TargetStore], dict[str, TargetStore]]:
    """(stores of single teachers, stores of averages by their weights)."""
    every = [TargetStore.open(path) for path in sorted(workspace.glob("targets-*"))]
    single = [it for it in every if "members" not in it.manifest.origin["teacher"]]
    averages = {
        str(it.manifest.origin["teacher"]["weights"]): it for it in every if it not in single
    }
    return single, averages


def probabilities(store: TargetStore, keys: np.ndarray) -> torch.Tensor:
    said: Any = store.read(store.rows(keys))
    return said.logits.double().softmax(-1)


def workspace_of(words: list[str]) -> Path:
    (found,) = (word.partition("=")[2] for word in words if word.startswith("workspace="))
    return Path(found)


def test_a_body_is_fitted_from_each_seed_and_their_probabilities_are_averaged(
    words: list[str], tmp_path: Path
) -> None:
    words = [*words, "teacher.head=random"]  # random bodies with a probe each are not improved on
    done = run(tmp_path, "train", *words)
    assert done.code == 0, done.err
    workspace = workspace_of(words)
    found = artifact_kinds(workspace)
    assert (found.count("teacher"), found.count("targets")) == (2, 3)
    single, averages = stores(workspace)
    mean = averages["[0.5, 0.5]"]
    each = [probabilities(store, mean.keys) for store in single]
    assert (each[0] - each[1]).abs().max() > 1e-3
    torch.testing.assert_close(
        probabilities(mean, mean.keys), (each[0] + each[1]) / 2, rtol=1e-4, atol=1e-6
    )

    rows = results(tmp_path)["rows"]
    single_size = sum(
        np.prod(shape) for shape in _shapes(next(workspace.glob("teacher-*")) / "model")
    )
    assert rows["teacher"]["parameters"] == 2 * single_size
    assert rows["teacher"]["kl_to_teacher"] == 0
    assert results(tmp_path)["comparison"]["smaller"] > 2


def _shapes(folder: Path) -> list[tuple[int, ...]]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        return [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118


@pytest.mark.slow
def test_another_teacher_or_weight_asks_nobody_again(words: list[str], tmp_path: Path) -> None:
    run(tmp_path, "generate-targets", *words)
    workspace = workspace_of(words)
    before = {path for path in workspace.glob("*-*") if path.is_dir()}

    def made(*more: str) -> list[str]:
        """What a run with other settings makes, by kind."""
        there = {path.name for path in workspace.glob("*-*")}
        done = run(tmp_path, "generate-targets", *with_overrides(words, *more))
        assert done.code == 0, done.err
        return sorted(p.name.split("-")[0] for p in workspace.glob("*-*") if p.name not in there)

    assert made("teacher.weights=[3,1]") == ["targets"]
    assert made("teacher.seeds=[0,1,2]") == ["targets", "targets", "teacher"]
    assert before <= set(workspace.glob("*-*"))
    _, averages = stores(workspace)
    assert "[0.75, 0.25]" in averages


@pytest.mark.slow
def test_a_plan_tells_what_is_there_of_it(words: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, "plan", *words, "teacher.seeds=[7,8,9]")
    assert done.code == 0, done.err
    assert "3 x " in done.out and "targets of each teacher" in done.out


@pytest.mark.slow
def test_ready_teachers_keep_their_own_tokens_and_label_orders(
    body: Path, texts: tuple[Path, Path], ready: list[Path], tmp_path: Path
) -> None:
    small = [w for w in tiny.small(body, *texts, tmp_path / "w") if "teacher.body" not in w]
    words = ensemble(small, f"teacher.teachers=[{','.join(map(str, ready))}]")
    done = run(tmp_path, "train", *words)
    assert done.code == 0, done.err
    assert artifact_kinds(tmp_path / "w").count("teacher") == 0
    _, averages = stores(tmp_path / "w")
    (mean,) = averages.values()
    assert mean.manifest.labels == ["bad", "good"]
    (data,) = (tmp_path / "w").glob("data-*")
    corpus = Corpus.open(data, None)
    train, test = (corpus.split(name).texts[:8] for name in ("train", "test"))
    kept = probabilities(mean, np.array([example_key(text) for text in train], "S16"))
    by_hand = sum(_probabilities(folder, train) for folder in ready) / 2
    np.testing.assert_allclose(kept.numpy(), by_hand, rtol=1e-3)
    measured = np.load(next((tmp_path / "w").glob("evaluation-*")) / "predictions.npz")
    found = torch.from_numpy(measured["teacher"][:8]).softmax(-1).numpy()
    expected = sum(_probabilities(folder, test) for folder in ready) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-3)

    stored = results(tmp_path)["rows"]["student"]["nll"]
    in_the_loop = [word for word in words if not word.startswith("targets.")]
    online = run(tmp_path, "train", *in_the_loop, "targets=online")
    assert online.code == 0, online.err
    assert results(tmp_path)["rows"]["student"]["nll"] == pytest.approx(stored, rel=1e-3)


def _probabilities(folder: Path, texts: list[str]) -> np.ndarray:
    """What a classifier says of (bad, good), as transformers itself has it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    order = [model.config.label2id[name] for name in ("bad", "good")]
    with torch.no_grad():
        logits = model(**tokenizer(texts, return_tensors="pt", padding=True)).logits
    found: np.ndarray = logits.softmax(-1)[:, order].numpy()
    return found


@pytest.mark.slow
def test_of_real_values_the_mean_is_learnt(body: Path, tmp_path: Path) -> None:
    rows = [(text, label + len(text) / 100) for text, label in tiny.labelled(60)]
    texts = tiny.write_csv(tmp_path / "scores.csv", ("text", "label"), rows)
    small = with_overrides(
        tiny.small(body, texts, None, tmp_path / "w"), without="data.label_names"
    )
    regression = ["task=regression", "loss=logit_mse", "teacher.seeds=[0,1]"]
    done = run(tmp_path, "generate-targets", *ensemble(small, *regression))
    assert done.code == 0, done.err
    single, averages = stores(tmp_path / "w")
    (mean,) = averages.values()
    said: list[Any] = [it.read(it.rows(mean.keys)) for it in (*single, mean)]
    first, second, both = (it.logits for it in said)
    assert (first - second).abs().max() > 1e-3
    torch.testing.assert_close(both, (first + second) / 2)


# language models


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run with two language models of one tokenizer as its teacher."""
    folder = tmp_path_factory.mktemp("language")
    models = [
        tiny_language.write_model(folder / name, layers=layers, seed=layers)
        for name, layers in (("first", 2), ("second", 3))
    ]
    texts = tiny_language.write_documents(folder, 60)
    words = [
        word
        for word in tiny_language.small(models[0], texts, folder / "workspace")
        if not word.startswith("teacher.path=")
    ]
    return with_overrides(
        words,
        "teacher=ensemble",
        f"teacher.teachers=[{models[0]},{models[1]}]",
        "student.layers=1",
        "control=false",
        *(word for word in QUICK if not word.startswith("teacher.")),
    )


@pytest.mark.slow
def test_language_models_are_drawn_from_their_average(language: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, "train", *language)
    assert done.code == 0, done.err
    single, averages = stores(workspace_of(language))
    (mean,) = averages.values()
    assert [it.manifest.codec["name"] for it in single] == ["last_hidden", "last_hidden"]
    assert mean.manifest.codec["name"] == "sampled"
    assert mean.manifest.quality["gradient_noise"] > 0
    found = results(tmp_path)
    assert found["rows"]["teacher"]["kl_to_teacher"] == 0
    assert found["rows"]["student"]["kl_to_teacher"] > 0
    assert {name for sample in found["comparison"]["samples"] for name in sample} == {
        "prompt",
        "student",
        "untrained",
    }


@pytest.mark.slow
def test_what_they_say_in_the_loop_is_what_a_store_of_all_logits_keeps(
    language: list[str], tmp_path: Path
) -> None:
    scores = []
    plain = [word for word in language if not word.startswith("targets")]
    for targets in ("stored", "online"):
        done = run(tmp_path, "train", *plain, f"targets={targets}")
        assert done.code == 0, done.err
        scores.append(results(tmp_path)["rows"]["student"]["nll"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


# refused


def test_hidden_states_of_an_average_are_refused(language: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, "train", *with_overrides(language, "targets=last_hidden"))
    assert_refused(done, "targets.codec = last_hidden", "average of several teachers has none")


def test_teachers_of_other_tokenizers_are_refused(language: list[str], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    other = tiny_language.write_model(tmp_path / "other", layers=2)
    written = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(written.replace('"good"', '"goof"'))
    assert "goof" in AutoTokenizer.from_pretrained(other).get_vocab()
    (teachers,) = (word for word in language if word.startswith("teacher.teachers="))
    first = teachers.partition("[")[2].split(",")[0]
    done = run(
        tmp_path,
        "generate-targets",
        *with_overrides(language, f"teacher.teachers=[{first},{other}]"),
    )
    assert_refused(done, f"teacher.teachers = {other}", "'goof'", "teachers of one tokenizer")


@pytest.mark.slow
def test_a_loss_that_looks_inside_is_refused(words: list[str], tmp_path: Path) -> None:
    plain = [word for word in words if not word.startswith("targets.")]
    done = run(tmp_path, "train", *plain, "loss=hidden_mse")
    assert_refused(done, "HiddenMSE", "an ensemble has no one inside", "teacher=local")
