"""SECURITY.md says what is trusted and what is bounded; each line of it has tests."""

import ast
import json
import re
import socket
import sys
from pathlib import Path

import pytest
import torch

from distillkit import limits
from distillkit.chat import bounded_templates, template_growth
from distillkit.chat import templates as chat_templates
from distillkit.config import classes, yaml_files
from distillkit.config.paths import CONF
from distillkit.config.settings import GROUPS
from distillkit.console import masking
from distillkit.data import literals
from distillkit.models import sizes as model_sizes
from tests import tiny
from tests.cli.runs import QUICK, run, with_overrides
from tests.faults import fuzz

ROOT = Path(__file__).parents[2]
TRUST, YAML = "tests/unit/config/test_trust.py", "tests/unit/config/test_yaml_files.py"
WHEELS, SIZES = "tests/unit/data/test_wheels.py", "tests/unit/data/test_unpacked_sizes.py"
MODELS, TEMPLATES = (
    "tests/unit/models/test_sizes.py",
    "tests/unit/chat/test_bounded_templates.py",
)
HERE = "tests/faults/test_security.py"
CHATS, ESCAPING = "tests/unit/chat/test_templates.py", "tests/unit/console/test_escaping.py"
NOTHING, LINES = "tests/faults/test_recipes_run_nothing.py", "tests/cli/test_refused_lines.py"
FILES, RAISED = "tests/unit/data/test_several_files.py", "tests/cli/test_raised_limits.py"
MASKING = "tests/unit/console/test_masking.py"
SHOWN = {  # the beginning of a line of SECURITY.md -> the tests that show it
    "The command line is": [
        f"{TRUST}::test_a_users_own_class_is_taken_where_the_command_line_trusts_it",
        f"{TRUST}::test_a_recipe_cannot_widen_its_own_trust",
        f"{HERE}::test_code_of_a_model_runs_where_the_command_line_trusts_it_alone",
    ],
    "The installed packages are": [
        f"{HERE}::test_the_current_folder_is_no_place_of_modules",
        f"{HERE}::test_nor_is_it_where_python_itself_would_look_there",
    ],
    "The environment is": [
        f"{RAISED}::test_a_packed_file_that_unpacks_to_more_is_read",
        f"{SIZES}::test_the_limit_is_raised_by_the_environment",
        f"{HERE}::test_no_setting_raises_a_limit",
    ],
    "llama.cpp, where it is installed": [
        "tests/network/test_llama_cpp_runtime.py::test_its_process_ends_with_the_command"
    ],
    "Several processes of a run": [f"{HERE}::test_a_run_without_a_launcher_listens_nowhere"],
    "Whoever may write to the workspace is": [
        "tests/unit/artifacts/test_workspace.py::test_a_damaged_artifact_is_refused_by_name"
    ],
    "Recipes and group files are data": [
        f"{TRUST}::test_a_target_outside_is_refused",
        f"{TRUST}::test_no_target_of_a_recipe_runs_untrusted_however_deep_it_lies",
        f"{TRUST}::test_a_recipe_does_not_set_up_hydra_itself",
        f"{TRUST}::test_nor_can_a_group",
        f"{NOTHING}::test_nothing_of_a_strangers_files_runs",
    ],
    "The list of classes": [f"{HERE}::test_the_list_of_classes_is_that_of_our_files"],
    "A class stands where": [
        f"{HERE}::test_a_class_stands_where_it_belongs",
        f"{NOTHING}::test_nothing_of_a_strangers_files_runs",
    ],
    "A look at a stranger's files": [
        f"{NOTHING}::test_nothing_runs_where_it_is_only_looked_at",
        "tests/cli/test_plan.py::test_before_anything_only_text_and_tokens_are_made",
    ],
    "Wheels are files": [
        f"{WHEELS}::test_another_checksum_is_refused_and_the_wheel_not_kept",
        f"{WHEELS}::test_a_path_that_leads_out_is_refused",
        f"{WHEELS}::test_a_link_is_refused",
        f"{WHEELS}::test_a_wheel_is_never_imported",
    ],
    "The name of a wheel": [
        f"{WHEELS}::test_a_downloader_is_told_no_option_by_a_name",
        f"{MASKING}::test_a_downloader_gets_no_secret_of_another_program",
    ],
    "A folder of data is": [
        f"{FILES}::test_a_card_leads_to_no_other_place",
        f"{FILES}::test_records_of_saved_sets_lead_to_no_other_place",
        f"{FILES}::test_a_folder_that_a_link_leads_to_is_not_left_out_in_silence",
    ],
    "Models are configs": [
        "tests/unit/models/test_classifiers.py::test_pickled_weights_alone_are_refused",
        "tests/unit/models/test_folders.py::test_an_index_names_weights_inside_its_folder",
    ],
    "Chat templates are programs": [
        f"{TEMPLATES}::test_a_template_that_makes_or_takes_too_much_is_given_up",
        f"{HERE}::test_a_template_does_not_leave_its_sandbox",
    ],
    "Names, labels and texts": [
        f"{ESCAPING}::test_a_terminal_gets_text_that_it_obeys_in_nothing",
        f"{ESCAPING}::test_markdown_shows_text_as_it_is",
        f"{ESCAPING}::test_a_cell_begins_no_formula_and_its_text_can_be_had_back",
    ],
    "A revision of the hub": [f"{WHEELS}::test_a_revision_leads_nowhere_else"],
    "A YAML file has": [
        f"{YAML}::test_a_file_that_may_not_be_built_is_refused_in_one_line",
        f"{YAML}::test_a_file_at_a_limit_is_read_and_one_beyond_it_is_not",
        f"{HERE}::test_the_figures_are_those_of_the_code",
    ],
    "References of a config": [f"{YAML}::test_references_that_stand_for_too_much_are_not_resolved"],
    "A packed file": [
        f"{SIZES}::test_a_packed_text_is_given_up_at_the_limit",
        f"{SIZES}::test_a_wheel_that_would_fill_the_disk_leaves_nothing",
        f"{SIZES}::test_a_workbook_that_unpacks_to_too_much_is_refused",
        f"{SIZES}::test_a_parquet_file_with_one_text_in_all_rows_is_given_up",
    ],
    "A model has": [
        f"{MODELS}::test_a_size_that_cannot_be_meant_is_refused_with_its_key",
        "tests/unit/models/test_causal.py::"
        "test_a_gguf_file_of_sizes_that_cannot_be_meant_is_refused_before_they_are_made",
        f"{MODELS}::test_the_largest_that_may_be_is_taken_and_no_larger_one",
        f"{MODELS}::test_parts_that_are_there_ten_million_times_are_given_up",
        f"{RAISED}::test_a_student_that_is_larger_than_the_memory_is_trained",
    ],
    "A chat template takes": [
        f"{TEMPLATES}::test_a_template_that_makes_or_takes_too_much_is_given_up",
        f"{CHATS}::test_a_template_without_end_is_stopped",
    ],
    "Labels and messages": [f"{HERE}::test_a_literal_that_is_too_long_is_none"],
    "Whatever words and files": [f"{HERE}::test_whatever_is_given_is_taken_or_refused"],
    "What a config takes": [f"{HERE}::test_a_report_names_what_came_from_the_environment"],
    "The terminal, `--cfg` and": [
        f"{LINES}::test_a_config_that_is_shown_names_it",
        f"{LINES}::test_nor_is_what_stands_in_the_student",
        f"{LINES}::test_a_sweep_writes_and_says_none",
        f"{LINES}::test_a_run_that_fails_names_it",
        f"{LINES}::test_a_runs_name_is_not_of_the_environment",
    ],
    "Tokens, passwords and keys": [
        "tests/faults/test_launched.py::test_jobs_of_launchers_write_no_secret",
        f"{HERE}::test_a_report_names_what_came_from_the_environment",
        f"{MASKING}::test_credentials_are_hidden_and_addresses_stay",
        f"{MASKING}::test_names_tell_what_is_secret",
    ],
    "A value of fewer than": [f"{MASKING}::test_a_short_value_stands_in_any_text_and_is_left"],
}


def statements() -> list[str]:
    """The lines of SECURITY.md that say what holds, each on one line."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    return [" ".join(it.split()) for it in re.findall(r"^- (.*(?:\n  .*)*)", text, re.MULTILINE)]


def test_every_statement_has_tests_and_every_test_is_there() -> None:
    lines = statements()
    assert len(lines) > 15
    for line in lines:
        assert [start for start in SHOWN if line.startswith(start)], f"no test shows: {line}"
    for start, tests in SHOWN.items():
        assert [line for line in lines if line.startswith(start)], f"SECURITY.md lacks: {start}"
        for test in tests:
            file, _, name = test.partition("::")
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert name in names, f"{test} is not there"


def test_the_figures_are_those_of_the_code() -> None:
    text = " ".join(statements())
    figures = (
        yaml_files.MOST_BYTES,
        yaml_files.MOST_NODES,
        yaml_files.MOST_DEPTH,
        yaml_files.MOST_REFERENCES,
        model_sizes.MOST_LAYERS,
        model_sizes.MOST_MODULES,
        bounded_templates.MOST_STEPS,
        template_growth.MOST_SIZE,
        literals.MOST_CHARACTERS,
        masking.SHORTEST,
    )
    for figure in figures:
        assert f" {figure:,} " in text
    assert f"{limits.DEFAULT_UNPACKED // 10**9} GB" in text
    assert f"{chat_templates.SECONDS:g} seconds" in text
    assert limits.UNPACKED in text
    assert limits.MODEL in text


def test_no_setting_raises_a_limit() -> None:
    written = [path.read_text(encoding="utf-8") for path in (ROOT / "conf").rglob("*.yaml")]
    assert not any("max_unpacked" in text or "max_model" in text for text in written)


def test_the_reference_names_every_variable() -> None:
    sources = [*(ROOT / "distillkit").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")]
    texts = [path.read_text(encoding="utf-8") for path in sources]
    names = {name for text in texts for name in re.findall(r"DISTILLKIT_[A-Z_]+", text)}
    rows = re.findall(
        r"^\| `(DISTILLKIT_\w+)` \|", (ROOT / "conf" / "README.md").read_text(), re.MULTILINE
    )
    assert sorted(names) == sorted(rows)
    assert {limits.UNPACKED, limits.MODEL} < names


def test_the_list_of_classes_is_that_of_our_files() -> None:
    for group in GROUPS:
        own, inside = classes.classes_of(group)
        texts = [path.read_text(encoding="utf-8") for path in (CONF / group).glob("*.yaml")]
        assert own
        for target in own | (inside - set(classes.SCHEDULES)):
            assert any(target in text for text in texts), target
        for target in own | inside:
            assert target.startswith(("distillkit.", "torch.optim.")), target
    assert classes.refusal("torch.optim.NAdam", "optimizer", is_part=False) is None
    assert classes.refusal("torch.optim.Optimizer.step", "optimizer", is_part=False)


@pytest.mark.parametrize(
    ("target", "group"),
    [
        ("distillkit.losses.ForwardKL", "data"),
        ("distillkit.losses.ForwardKL", "targets"),
        ("torch.optim.AdamW", "loss"),
        ("torch.nn.Linear", "loss"),
        ("transformers.AutoModel", "student"),
        ("hydra.utils.call", "task"),
    ],
)
def test_a_class_stands_where_it_belongs(target: str, group: str) -> None:
    for inside in (False, True):
        assert "outside the classes" in str(classes.refusal(target, group, is_part=inside))


def test_a_run_without_a_launcher_listens_nowhere(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a port is opened")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "listen", refuse)
    monkeypatch.setattr(torch.distributed, "init_process_group", refuse)
    monkeypatch.setattr(torch.distributed, "TCPStore", refuse)
    done = run(tmp_path, "train", *words, "control=false")
    assert done.code == 0, done.err


def test_the_current_folder_is_no_place_of_modules(tmp_path: Path) -> None:
    for name in ("pip", "transformers", "hubconf", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()")
    done = run(tmp_path, "train", "loss._target_=hubconf.Loss")
    assert done.code == 2
    assert not (tmp_path / "ran").exists()


def test_nor_is_it_where_python_itself_would_look_there(tmp_path: Path) -> None:
    plugin = tmp_path / "hydra_plugins" / "mine"
    plugin.mkdir(parents=True)
    for path in (plugin / "__init__.py", *(tmp_path / f"{n}.py" for n in ("hydra", "mine"))):
        path.write_text("open('ran', 'a').write(__name__)\nLoss = print\n")
    done = tiny.run("train", "loss._target_=mine.Loss", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("distillkit: loss._target_: mine.Loss is outside the classes")
    assert not (tmp_path / "ran").exists()
    done = tiny.run("train", "loss._target_=mine.Loss", "trusted=[mine]", cwd=tmp_path)
    assert "mine.Loss is outside" not in done.stderr


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}{{ cycler.__init__.__globals__.os.system('touch ran') }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(cycler) }}",
        "{{ lipsum.__globals__ }}",
        "{{ (messages|map(attribute='__class__')|list)[0].__base__ }}",
    ],
)
def test_a_template_does_not_leave_its_sandbox(template: str) -> None:
    try:
        written = bounded_templates.compiled(template).render(messages=[{"role": "user"}])
    except Exception as error:
        assert type(error).__name__ in ("SecurityError", "UndefinedError")
    else:
        assert not re.search(r"class|module|builtin|globals", written)


OWN_MODEL = """
import pathlib
from transformers import BertConfig, BertForSequenceClassification
pathlib.Path("MARK").touch()
class OwnConfig(BertConfig):
    model_type = "own"
class OwnModel(BertForSequenceClassification):
    config_class = OwnConfig
"""


def test_code_of_a_model_runs_where_the_command_line_trusts_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder, mark = tmp_path / "own", tmp_path / "ran"
    tiny.write_model(folder, labels=("bad", "good"))
    (folder / "own.py").write_text(OWN_MODEL.replace("MARK", str(mark)))
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "OwnConfig", "AutoModelForSequenceClassification": "OwnModel"}
    config |= {"model_type": "own", "auto_map": {k: f"own.{v}" for k, v in classes.items()}}
    (folder / "config.json").write_text(json.dumps(config))
    words = tiny.small(folder, *tiny.write_reviews(tmp_path, 80, 20), tmp_path / "w")
    more = [*QUICK, f"teacher.path={folder}", "teacher.check=off", "control=false"]
    words = with_overrides(words, *more, without="teacher.")
    words.remove("teacher.epochs=1")
    refused = run(tmp_path, "train", *words)
    assert (refused.code, mark.exists()) == (2, False), refused.err
    assert refused.err.startswith(f"distillkit: teacher.path = {folder}: its architecture (model_")
    advised = re.search(r"set (trust_remote_code=true) on the command line", refused.err)
    assert advised
    done = run(tmp_path, "train", *words, advised[1])
    assert (done.code, mark.exists()) == (0, True), done.err


def test_a_literal_that_is_too_long_is_none() -> None:
    with pytest.raises(ValueError, match="longer than 1,000,000 characters"):
        literals.literal("[" + "1," * 600_000 + "]")
    for bad in ("[" * 5_000, "1+" * 50_000 + "1", "__import__('os')", "-" * 10_000 + "1"):
        with pytest.raises(ValueError, match=r".+"):
            literals.literal(bad)
    assert literals.literal("['a', {'b': 1}]") == ["a", {"b": 1}]


def test_whatever_is_given_is_taken_or_refused() -> None:
    found, failures = fuzz.campaign(500)
    assert failures == []
    assert found["refused"] > 300
    assert found["taken"] > 0


@pytest.mark.slow
def test_whatever_is_given_is_taken_or_refused_of_many_inputs() -> None:
    found, failures = fuzz.campaign(20_000, seed=1)
    assert failures == []
    assert sum(found.values()) > 19_000


def test_a_report_names_what_came_from_the_environment(
    body: Path,
    reviews: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = {
        "HF_TOKEN": "s3cret-of-the-hub",
        "SOME_PLACE": "private-place",
        "WANDB_API_KEY": "k3y-of-another",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    words = [
        *tiny.small(body, *reviews, tmp_path / "workspace"),
        "about.what='${oc.env:SOME_PLACE} of https://me:passw0rd@host/x'",
        f"+about.key={secrets['WANDB_API_KEY']}",
        "hydra.output_subdir=.hydra",
    ]
    done = run(tmp_path, "train", *[w.replace("about.what", "+about.what") for w in words])
    assert done.code == 0, done.err
    files = [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()]
    assert {"config.yaml", "results.json", "report.md", "README.md"} <= {p.name for p in files}
    for path in [*files, *(p for p in (tmp_path / "workspace").rglob("*") if p.is_file())]:
        held = path.read_bytes()
        for secret in (*secrets.values(), "passw0rd"):
            assert secret.encode() not in held, f"{secret} is in {path}"
    (config,) = (
        path for path in files if path.name == "config.yaml" and path.parent.name[0] != "."
    )
    assert "${oc.env:SOME_PLACE}" in config.read_text(encoding="utf-8")
    (results,) = (path for path in files if path.name == "results.json")
    assert json.loads(results.read_text(encoding="utf-8"))["rows"]["student"]


def test_an_example_in_a_comment_of_our_files_allows_no_class() -> None:
    text = "".join(path.read_text() for path in (CONF / "evaluation").glob("*.yaml"))
    assert "my_package.MyMetric" in text
    assert classes.refusal("my_package.MyMetric", "evaluation", is_part=True)
