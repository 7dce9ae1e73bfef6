"""Sources of the hub: named by their commits, asked for once, and refused in one line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.cli.runs import QUICK, artifact_kinds, assert_refused, with_overrides
from tests.conftest import Result
from tests.hub import cuts
from tests.hub.repositories import Repository, read_folder
from tests.hub.server import STRANGER, Hub
from tests.hub.worker import Worker

DATA, BODY = "me/reviews", "me/body"


def csv(count: int, seed: int = 0) -> bytes:
    rows = [f"{text},{label}" for text, label in tiny.labelled(count, seed)]
    return "\n".join(["text,label", *rows, ""]).encode()


@pytest.fixture
def data(hub: Hub) -> Iterator[Repository]:
    """A data set of one file, at a commit of its own."""
    hub.repositories.pop(("datasets", DATA), None)
    repository = hub.repository("datasets", DATA)
    repository.commit({"train.csv": csv(120), "README.md": b"# Reviews\n"})
    yield repository
    hub.gone, hub.broken = False, None


@pytest.fixture
def model(hub: Hub, body: Path) -> Repository:
    """An encoder, with what else stands in real repositories beside it."""
    hub.repositories.pop(("models", BODY), None)
    repository = hub.repository("models", BODY)
    files = {"onnx/model.onnx": b"1", "onnx/config.json": b"{}", "pytorch_model.bin": b"2"}
    repository.commit(read_folder(body) | files | {"fp16/model.safetensors": b"3"})
    return repository


@pytest.fixture
def words(data: Repository, model: Repository, tmp_path: Path) -> list[str]:
    """Overrides of a run of a few seconds."""
    return with_overrides(
        tiny.small(Path(BODY), Path(DATA), None, tmp_path / "w"),
        *QUICK,
        f"teacher.body={BODY}",
        f"data.train={DATA}",
        "teacher.check=off",
        "control=false",
    )


def artifacts(folder: Path, kind: str) -> list[dict[str, Any]]:
    """What each artifact of a kind was made from, in the order they were made."""
    paths = sorted(folder.glob(f"w/{kind}-*/manifest.json"), key=lambda path: path.stat().st_mtime)
    return [json.loads(path.read_text()) for path in paths]


def test_artifacts_are_named_by_the_commit_and_a_new_one_is_another(
    member: Worker, data: Repository, words: list[str], tmp_path: Path
) -> None:
    first = data.refs["main"]
    assert member.run(tmp_path, "generate-targets", *words).code == 0
    second = data.commit({"train.csv": csv(160), "README.md": b"# Reviews\n"})
    done = member.run(tmp_path, "generate-targets", *words)
    assert done.code == 0, done.err
    sources = [it["inputs"]["sources"]["train"] for it in artifacts(tmp_path, "data")]
    assert sources == [f"hub:{DATA}@{first}", f"hub:{DATA}@{second}"]
    counts = [sum(it["facts"]["counts"].values()) for it in artifacts(tmp_path, "data")]
    assert counts == [120, 160]
    assert [it["inputs"]["body"] for it in artifacts(tmp_path, "teacher")] == [
        f"hub:{BODY}@{model_commit}" for model_commit in [member_commit(words, tmp_path)] * 2
    ]
    # the first commit by its sha is the first artifact again
    pinned = with_overrides(words, f"data.train={DATA}@{first}")
    before = artifact_kinds(tmp_path / "w")
    assert member.run(tmp_path, "generate-targets", *pinned).code == 0
    assert artifact_kinds(tmp_path / "w") == before


def member_commit(words: list[str], folder: Path) -> str:
    """The commit of the body that the first teacher was fitted from."""
    named: str = artifacts(folder, "teacher")[0]["inputs"]["body"]
    return named.partition("@")[2]


def test_a_model_s_new_readme_makes_no_new_tokens(
    member: Worker, model: Repository, words: list[str], tmp_path: Path
) -> None:
    assert member.run(tmp_path, "generate-targets", *words).code == 0
    content = {p: f.content for p, f in model.commits[model.refs["main"]].items()}
    model.commit(content | {"README.md": b"# New\n"})
    assert member.run(tmp_path, "generate-targets", *words).code == 0
    made = artifact_kinds(tmp_path / "w")
    assert made.count("teacher") == 2 and made.count("tokens") == 2  # train and validation
    vocabulary = content["vocab.txt"] + b"new\n"
    tokenizer = json.loads(content["tokenizer.json"])
    tokenizer["model"]["vocab"]["new"] = len(tokenizer["model"]["vocab"])
    changed = {"vocab.txt": vocabulary, "tokenizer.json": json.dumps(tokenizer).encode()}
    model.commit(content | changed)
    member.run(tmp_path, "generate-targets", *words)
    assert artifact_kinds(tmp_path / "w").count("tokens") > 2


def test_the_hub_is_asked_once_for_each_repository_and_only_for_what_is_needed(
    member: Worker, hub: Hub, words: list[str], tmp_path: Path
) -> None:
    assert member.run(tmp_path, "train", *words).code == 0
    assert not [path for _, path in hub.requests if path.endswith((".onnx", ".bin"))]
    assert not [path for _, path in hub.requests if "/fp16/" in path or "/onnx/" in path]
    hub.requests.clear()
    assert member.run(tmp_path, "train", *words).code == 0
    assert sorted(path for _, path in hub.requests) == [
        f"/api/datasets/{DATA}",
        f"/api/models/{BODY}",
    ]


def test_the_report_says_which_commits_a_run_is_of(
    member: Worker, data: Repository, model: Repository, words: list[str], tmp_path: Path
) -> None:
    assert member.run(tmp_path, "train", *words).code == 0
    (path,) = tmp_path.glob("outputs/*/*/report.md")
    report = path.read_text()
    assert f"- teacher: {BODY} at {model.refs['main'][:7]}, fitted" in report
    assert f"- data: train: {DATA} at {data.refs['main'][:7]}\n" in report


def test_a_card_of_the_hub_says_under_which_license_a_source_is(
    member: Worker, words: list[str], data: Repository, tmp_path: Path
) -> None:
    readme = b"---\nlicense: cc-by-4.0\n---\n# Reviews\n"
    at = data.commit({"train.csv": csv(120), "README.md": readme})
    assert member.run(tmp_path, "train", *words).code == 0
    (card,) = tmp_path.glob("outputs/*/*/student/README.md")
    assert f"- data `{DATA} at {at[:7]}`: cc-by-4.0 (its card)" in card.read_text()
    assert f"- teacher `{BODY} at" in card.read_text()
    assert "\nlicense: unknown\n" in card.read_text()  # the model has no card


def test_a_plan_downloads_no_weights(
    member: Worker, hub: Hub, model: Repository, words: list[str], tmp_path: Path
) -> None:
    files = {p: f.content for p, f in model.commits[model.refs["main"]].items()}
    model.commit(files | {"README.md": b"planned\n"})
    hub.requests.clear()
    planned = member.run(tmp_path, "plan", *words)
    assert planned.code == 0, planned.err
    assert not [path for _, path in hub.requests if path.endswith(".safetensors")]


@pytest.mark.parametrize("way", ["offline", "unreachable", "out of order"])
def test_what_is_in_the_cache_works_without_the_hub(
    member: Worker, hub: Hub, words: list[str], tmp_path: Path, way: str
) -> None:
    assert member.run(tmp_path, "train", *words).code == 0
    made = artifact_kinds(tmp_path / "w")
    hub.gone, hub.broken = way == "unreachable", 503 if way == "out of order" else None
    off = {"HF_HUB_OFFLINE": "1"} if way == "offline" else {}
    again = member.run(tmp_path, "train", *words, **off)
    assert again.code == 0, again.err
    assert artifact_kinds(tmp_path / "w") == made  # each by the name that it had
    other = member.run(
        tmp_path, "train", *with_overrides(words, "data.train_size=40", "seed=1"), **off
    )
    assert other.code == 0, other.err  # the text and the body are read anew, out of the cache
    assert artifact_kinds(tmp_path / "w").count("teacher") == 2


def test_offline_the_cached_commit_is_read_and_never_another(
    member: Worker, data: Repository, words: list[str], tmp_path: Path
) -> None:
    first = data.refs["main"]
    data.commit({"train.csv": csv(160), "README.md": b"# Reviews\n"})
    for word in (DATA, f"{DATA}@{first}"):
        run = member.run(tmp_path, "generate-targets", *with_overrides(words, f"data.train={word}"))
        assert run.code == 0, run.err
    # the older of two that are there, though the newer was read before it
    pinned = with_overrides(words, f"data.train={DATA}@{first}", "data.train_size=50")
    assert member.run(tmp_path, "generate-targets", *pinned, HF_HUB_OFFLINE="1").code == 0
    newest = artifacts(tmp_path, "data")[-1]
    assert newest["inputs"]["sources"]["train"] == f"hub:{DATA}@{first}"
    texts = {text for text, _ in tiny.labelled(120)}
    from datasets import load_from_disk

    (folder,) = [
        path.parent
        for path in (tmp_path / "w").glob("data-*/manifest.json")
        if json.loads(path.read_text())["inputs"]["train_size"] == 50
    ]
    assert set(load_from_disk(str(folder / "train"))["text"]) <= texts


GLUE = "nyu-mll/glue:sst2"
REFUSALS: dict[str, tuple[list[str], list[str]]] = {
    "no such data": (
        ["data.train=nobody/nothing"],
        ["data.train = nobody/nothing: neither a file or folder here nor a data set of the hub",
         "`hf auth login`"],
    ),
    "no such model": (
        ["teacher.body=nobody/nothing"],
        ["teacher.body = nobody/nothing: neither a folder here nor a model of the hub"],
    ),
    "no such revision of data": (
        [f"data.train={DATA}@v9"],
        [f"data.train = {DATA}@v9: the hub has no revision v9 of it", "/datasets/me/reviews/tree"],
    ),
    "no such revision of a model": (
        [f"teacher.body={BODY}@v9"],
        [f"teacher.body = {BODY}@v9: the hub has no revision v9 of it", f"/{BODY}/tree/main"],
    ),
    "no such configuration": (
        ["data.train=nyu-mll/glue:sst3", "data.text=sentence"],
        ["data.train = nyu-mll/glue:sst3: it has no configuration sst3; did you mean sst2?"],
    ),
    "no configuration": (
        ["data.train=nyu-mll/glue", "data.text=sentence"],
        ["it has configurations: ", "sst2", "write nyu-mll/glue:NAME"],
    ),
    "no such split": (
        [f"data.train={GLUE}", f"data.test={GLUE}#split=dev", "data.text=sentence"],
        [f"data.test = {GLUE}#split=dev: it has no split dev; write {GLUE}#split=NAME with one of "
         "train, validation, test"],
    ),
    "a split that is not there by itself": (
        ["data=documents", "task=causal_lm", "data.train=Skylion007/openwebtext", "data.test="
         "Skylion007/openwebtext", "teacher=local", "teacher.path=openai-community/gpt2"],
        ["data.test = Skylion007/openwebtext: it has no split test", "with one of train"],
    ),
    "a script": (
        ["data.train=eriktks/conll2003", "data=tagged", "task=token_classification"],
        ["it is a script, which `datasets` no longer runs; take the hub's own copy, "
         "eriktks/conll2003@refs/convert/parquet"],
    ),
    "hidden labels": (
        [f"data.train={GLUE}#split=test", "data.text=sentence"],
        ["holds -1", "labels of this split are hidden"],
    ),
    "a data set as a model": (
        [f"teacher.body={GLUE}"],
        [f"teacher.body = {GLUE}: a model has no configuration nor split"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_the_hub_s_errors_are_one_line(
    member: Worker, words: list[str], tmp_path: Path, case: str
) -> None:
    changed, said = REFUSALS[case]
    without = "data.label_names" if len(changed) > 1 else "-"
    keys = ("student.config", "data.") if "data=documents" in changed else ()
    plain = [w for w in with_overrides(words, *changed, without=without) if w in changed or not (
        keys and w.startswith(keys))]  # fmt: skip
    result = member.run(tmp_path, "train", *plain)
    line = assert_refused(result, *said)
    assert len(line) < 500
    assert not (tmp_path / "outputs").exists()


def gated(member: Worker, folder: Path, token: str) -> Result:
    words = ["+recipe=rs-kd", "workspace=w", "data.train_size=4"]
    return member.run(folder, "plan", *words, HF_TOKEN=token)


def test_a_gate_says_whether_to_log_in_or_to_ask_for_access(member: Worker, tmp_path: Path) -> None:
    name = "meta-llama/Llama-3.2-3B"
    at = f"teacher.path = {name}: it is gated"
    assert_refused(
        gated(member, tmp_path, ""), f"{at}: accept its terms at http", f"/{name}, then `hf "
    )
    assert_refused(gated(member, tmp_path, STRANGER), f"{at}, and your account has no access to it")


def test_what_was_never_fetched_is_refused_offline(
    member: Worker, hub: Hub, words: list[str], tmp_path: Path
) -> None:
    hub.repositories.pop(("datasets", "me/other"), None)
    hub.repository("datasets", "me/other").commit({"train.csv": csv(90)})
    changed = with_overrides(words, "data.train=me/other")
    offline = member.run(tmp_path, "train", *changed, HF_HUB_OFFLINE="1")
    at = "data.train = me/other: "
    assert_refused(offline, f"{at}neither here nor in the cache (", "HF_HUB_OFFLINE forbids to ask")
    hub.gone = True
    assert_refused(
        member.run(tmp_path, "train", *changed), at, "cannot be reached (", "HF_ENDPOINT"
    )
    hub.gone, hub.broken = False, 429
    assert_refused(
        member.run(tmp_path, "train", *changed), f"{at}the hub has had too many requests"
    )
    hub.broken = None
    assert member.run(tmp_path, "train", *changed).code == 0


def test_a_teacher_that_nobody_asks_need_not_be_there(member: Worker, tmp_path: Path) -> None:
    words = [*cuts.words("bert-tiny-glue"), "workspace=w", "teacher.body=nobody/nothing"]
    done = member.run(tmp_path, "train", *words)
    assert done.code == 0, done.err
    needed = [word for word in words if word != "control=false"] + ["loss=forward_kl"]
    assert_refused(member.run(tmp_path, "train", *needed), "teacher.body = nobody/nothing: neither")


def test_pickled_weights_of_the_hub_are_refused_before_the_data_is_read(
    member: Worker, hub: Hub, model: Repository, words: list[str], tmp_path: Path
) -> None:
    files = {p: f.content for p, f in model.commits[model.refs["main"]].items()}
    safe = files.pop("model.safetensors")
    files.pop("fp16/model.safetensors")
    model.commit(files)
    model.commit(files | {"model.safetensors": safe}, ref="refs/pr/3")
    hub.requests.clear()
    line = assert_refused(
        member.run(tmp_path, "train", *words),
        f"teacher.body = {BODY}: its weights are pickled (pytorch_model.bin)",
        f"{BODY}@refs/pr/NUMBER",
    )
    assert not [path for _, path in hub.requests if path.endswith(".csv")]
    advised = with_overrides(words, f"teacher.body={BODY}@refs/pr/3")
    assert "refs/pr" in line and member.run(tmp_path, "train", *advised).code == 0


def test_the_hub_s_own_copy_of_a_script_is_read(member: Worker, tmp_path: Path) -> None:
    copy = "eriktks/conll2003@refs/convert/parquet"
    words = [
        *("task=token_classification", "data=tagged", f"data.train={copy}", "data.tags=ner_tags"),
        *(f"data.validation={copy}", f"data.test={copy}", "workspace=w", "student=pretrained"),
        "student.path=google/bert_uncased_L-2_H-128_A-2",
        "teacher=local",
        "teacher.body=google-bert/bert-base-cased",
        "loss=hard_labels",
        *("trainer.epochs=null", "trainer.steps=2", "trainer.batch_size=8", *QUICK[2:]),
    ]
    done = member.run(tmp_path, "train", *words)
    assert done.code == 0, done.err
    (card,) = tmp_path.glob("outputs/*/*/student/config.json")
    names = json.loads(card.read_text())["id2label"]
    assert set(names.values()) == {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}
    assert [it["facts"]["counts"]["test"] for it in artifacts(tmp_path, "data")] == [40]


def test_a_chat_template_in_a_file_of_its_own_comes_with_the_tokenizer(
    member: Worker, hub: Hub, tmp_path: Path
) -> None:
    from tests import tiny_language

    lm = tiny_language.write_model(tmp_path / "lm")
    assert (lm / "chat_template.jinja").is_file()
    hub.repository("models", "me/chat").commit(lm)
    talk = tiny_language.write_conversations(tmp_path)
    hub.repository("datasets", "me/talk").commit({"train.jsonl": talk.read_bytes()})
    words = with_overrides(
        tiny_language.small(lm, talk, tmp_path / "w"),
        *("data=conversations", "data.train=me/talk", "data.messages=messages", "control=false"),
        *("teacher.path=me/chat", "trainer.epochs=1", "task.max_length=64"),
    )
    done = member.run(tmp_path, "train", *words)
    assert done.code == 0, done.err
    (student,) = tmp_path.glob("outputs/*/*/student")
    kept = (student / "chat_template.jinja").read_text()
    assert kept == (lm / "chat_template.jinja").read_text()
