"""`distillkit evaluate`: a student against its teacher on the held-out split."""

from omegaconf import DictConfig

from distillkit.console.progress import rank, say, stdout
from distillkit.data.folders import model_folder
from distillkit.data.sources import identity
from distillkit.models.saved import SavedModel
from distillkit.pipeline import run_folder, summary
from distillkit.pipeline.phases import runs
from distillkit.reporting.run_report import PAGE, write_report


def evaluate(cfg: DictConfig) -> float:
    """Evaluate `student.path`, or the student of this config; return its headline metric."""
    run = runs(cfg, makes=())[-1]
    context, students = run.context, run.students
    path, reference = cfg.student.get("path"), None
    # `path` of a pretrained student is where it starts from: its trained copy comes first
    is_start = context.student.weights_source and students.find(students.student)

    if cfg.models:
        names_teacher = any(k.partition(".")[0] == "teacher" for k in run_folder.overrides())
        rows, reference = run.evaluation.rows_of(list(cfg.models), with_teacher=names_teacher)
    elif path and not is_start:
        folder = model_folder(path, key="student.path", cache=context.workspace.assets)
        saved = SavedModel(folder, "student.path", _labels(cfg), context.trust_remote_code)
        rows = run.evaluation.rows(student=saved, digest=identity(path, key="student.path"))
    else:
        rows = run.evaluation.rows()
    if "teacher" not in rows and reference is None:
        say("evaluate: no fitted teacher of this config in the workspace; its row is left out")
    evaluation = run.evaluation.obtain(rows, reference=reference)

    results = evaluation.facts() | {
        "recipe": cfg.run_name,
        "overrides": run_folder.overrides(),
        "run": {"command": summary.command("evaluate"), **summary.parts(context)},
    }
    if reference:
        results["run"] = {name: results["run"][name] for name in ("command", "data")} | {
            "models": ", ".join(cfg.models)
        }
    elif path and not is_start:  # made elsewhere, nobody here knows how
        results["run"] = {name: results["run"][name] for name in ("command", "teacher", "data")} | {
            "student": path
        }
    if rank() == 0:
        title = f"{cfg.run_name}: evaluation"
        with run_folder.new_report() as draft:
            run_folder.write_run(cfg, draft)
            write_report(results, title=title, metrics={}, teacher_validation=None, out=draft)
            run_folder.copy_predictions(evaluation.path, draft)
        run_folder.show(results, title)
        report = run_folder.relative(run_folder.current() / PAGE)
        stdout().print(f"report: {report} (and report.md)", soft_wrap=True)
    row = next((name for name in rows if reference and name != reference), reference)
    return float(results["rows"][row or "student"][results["headline"]])


def _labels(cfg: DictConfig) -> list[str] | None:
    """The names of the student's outputs, where its own config has none."""
    names = cfg.student.get("labels")
    return None if names is None else [str(name) for name in names]
