"""Recipes and group entries of a stranger's who wants more than settings: what each file says.

`PWN` is a path that must not come into being, `DIR` the folder of the files. A case is the files
(name -> text) and the words that choose them.
"""

from collections.abc import Iterator

Case = tuple[dict[str, str], list[str]]

HUB = "repo_or_dir: DIR, model: evil, source: local"
CALLS = {  # what is called -> with which arguments
    "builtins.eval": "source: __import__('pathlib').Path('PWN').touch()",
    "builtins.open": "file: PWN, mode: w",
    "distillkit.artifacts.workspace.shutil.copy": "src: DIR/hubconf.py, dst: PWN",
    "distillkit.artifacts.workspace.write_json": "path: PWN, content: {}",
    "distillkit.cli.main.os.system": "command: touch PWN",
    "distillkit.config.build.import_module": "name: hubconf",
    "distillkit.data.wheels.subprocess.run": "args: [touch, PWN]",
    "distillkit.targets.TargetWriter": "folder: PWN",
    "functools.partial": "func: os.system",
    "hydra.utils.call": "config: {_target_: os.system, command: touch PWN}",
    "hydra.utils.get_method": "path: os.system",
    "logging.FileHandler": "filename: PWN",
    "numpy.save": "file: PWN, arr: [1]",
    "omegaconf.OmegaConf.save": "config: {a: 1}, f: PWN",
    "os.mkdir": "path: PWN",
    "pathlib.Path": "_args_: [PWN]",
    "subprocess.Popen": "args: [touch, PWN]",
    "torch.hub.load": HUB,
    "torch.load": "f: DIR/weights.pt, weights_only: false",
    "torch.nn.Linear": "in_features: 1, out_features: 1",
    "torch.nn.modules.module.torch.save": "obj: x, f: PWN",
    "torch.optim.adam.torch.save": "obj: x, f: PWN",
    "torch.optim.lr_scheduler.LambdaLR": "optimizer: null, lr_lambda: null",
    "torch.optim.swa_utils.AveragedModel": "model: {_target_: torch.save, obj: x, f: PWN}",
    "torch.save": "obj: x, f: PWN",
    "transformers.AutoModel.from_pretrained": "_args_: [DIR], trust_remote_code: true",
    "transformers.dynamic_module_utils.get_class_from_dynamic_module": (
        "class_reference: hubconf.Evil, pretrained_model_name_or_path: DIR"
    ),
    "transformers.modeling_utils.load_state_dict": "checkpoint_file: DIR/weights.bin",
    "transformers.pipelines.pipeline": "task: text-classification, model: DIR",
    "transformers.testing_utils.execute_subprocess_async": "cmd: [touch, PWN]",
    "transformers.utils.import_utils.direct_transformers_import": "path: DIR, file: hubconf.py",
    "distіllkit.losses.ForwardKL": "temperature: 1",  # noqa: RUF001
    "distillkit．losses．ForwardKL": "temperature: 1",  # noqa: RUF001
    "torch.save ": "obj: x, f: PWN",
    "''": "a: 1",
    "null": "a: 1",
    "[torch.save]": "obj: x, f: PWN",
    "{a: torch.save}": "obj: x, f: PWN",
    "'${about.what}'": "obj: x, f: PWN",
    "'${oc.env:HOME,torch.save}'": "obj: x, f: PWN",
}
SAVE = "{_target_: torch.save, obj: x, f: PWN}"
PLACES = {
    "loss": f"loss: {SAVE}",
    "optimizer": f"optimizer: {SAVE}",
    "an optimizer that is none": "optimizer: {_target_: torch.optim.optimizer.warnings.warn}",
    "a scheduler": f"scheduler: {SAVE}",
    "a list": f"optimizer: {{betas: [{SAVE}, 0.9]}}",
    "a list of lists": f"teacher: {{labels: [[{SAVE}]]}}",
    "a student's config": f"student: {{config: {{text_config: {{x: {SAVE}}}}}}}",
    "a filter of rows": f"data: {{where: {{a: {SAVE}}}}}",
    "a codec": f"targets: {{codec: {SAVE}}}",
    "a trainer's number": f"trainer: {{steps: {SAVE}}}",
    "a list of seeds": f"evaluation: {{rouge_seeds: [{SAVE}]}}",
    "a schedule": "loss: {hard_weight: {_target_: distillkit.schedules.Linear, start: "
    f"{SAVE}, end: 0}}}}",
    "another group's class": "student: {config: {a: {_target_: distillkit.data.TextData}}}",
    "a loss in a codec's place": "targets: {codec: {_target_: distillkit.losses.ForwardKL}}",
    "what a recipe says of itself": f"about: {{what: {SAVE}}}",
    "a figure": f"published: [{{number: {SAVE}}}]",
    "an alias": "about: {x: &x {obj: x, f: PWN, _target_: torch.save}}\nloss: {hard_weight: *x}",
    "a merge": "about: {x: &x {obj: x, f: PWN}}\n"
    "loss: {hard_weight: {<<: *x, _target_: torch.save}}",
    "a reference": f"about: {{x: {{y: {SAVE}}}}}\nloss: {{hard_weight: '${{about.x.y}}'}}",
    "a reference for a group": f"about: {{x: {SAVE}}}\nloss: ${{about.x}}",
    "a key twice": f"loss: {{temperature: 1}}\nloss: {SAVE}",
    "a dotted key": "loss.hard_weight._target_: torch.save",
    "a dotted key of a group": "loss: {hard_weight._target_: torch.save}",
    "positions": "loss: {_target_: distillkit.losses.ForwardKL, _args_: [1]}",
    "not yet": "loss: {_target_: distillkit.losses.ForwardKL, _partial_: true}",
    "not deeper": f"loss: {{_recursive_: false, hard_weight: {SAVE}}}",
    "converted": "loss: {_convert_: object}",
    "a kernel": "student: {config: {attn_implementation: evil/kernel}}",
    "a kernel by another name": "student: {config: {_attn_implementation: 'evil/kernel@main:run'}}",
    "a kernel inside": "student: {config: {_attn_implementation_internal: evil/kernel}}",
    "a kernel of experts": "student: {config: {_experts_implementation: evil/kernel}}",
    "code by a map": "student: {config: {auto_map: {AutoModel: 'evil--modeling.Evil'}}}",
    "an architecture above": "student: {config: {model_type: ../../evil}}",
    "weights that another package reads": "student: {config: {quantization_config: {a: b}}}",
    "a module in an optimizer's": "optimizer: {_target_: torch.optim._multi_tensor.os.system}",
    "an import in an optimizer's": "optimizer: {_target_: torch.optim.sgd.torch.load, f: x}",
    "a method of an optimizer": (
        "optimizer: {_target_: torch.optim.Adam.register_optimizer_step_pre_hook}"
    ),
    "a class in a schedule in a schedule": "loss: {hard_weight: {_target_: "
    "distillkit.losses.schedules.Linear, end: 1, start: {_target_: hubconf.Evil}}}",
    "a class for the control": "control: {_target_: hubconf.Evil}",
    "a task of lm-eval as a mapping": "evaluation: {harness: [{task: x, dataset_path: evil}]}",
    "kernels of parts": "student: {config: {attn_implementation: {text_config: evil/kernel}}}",
}
HYDRA = {
    "callbacks": f"hydra: {{callbacks: {{x: {SAVE}}}}}",
    "a launcher": f"hydra: {{launcher: {SAVE}}}",
    "a sweeper": f"hydra: {{sweeper: {SAVE}}}",
    "a search path": "hydra: {searchpath: ['file://DIR']}",
    "a package to search": "hydra: {searchpath: ['pkg://hubconf']}",
    "a run's folder": "hydra: {run: {dir: PWN}}",
    "a sweep's folder": "hydra: {sweep: {dir: PWN, subdir: x}}",
    "another folder to be in": "hydra: {job: {chdir: true}}",
    "a copy of settings": "hydra: {output_subdir: PWN}",
    "logging": "hydra: {hydra_logging: {handlers: {h: {class: logging.FileHandler}}}}",
    "a mode": "hydra: {mode: MULTIRUN}",
    "the environment": "hydra: {job: {env_set: {HF_ENDPOINT: 'https://evil.example'}}}",
    "a copied environment": "hydra: {job: {env_copy: [HOME]}}",
    "nothing": "hydra: null",
    "a dotted key": "hydra.run.dir: PWN",
    "a slashed default": "defaults: [{override hydra/job_logging: stdout}]",
    "a launcher by default": "defaults: [{override /hydra/launcher: basic}]",
    "a package": "defaults: [{override /loss@hydra.callbacks.x: forward_kl}]",
    "a package of a new default": "defaults: ['/loss@hydra.callbacks.x: forward_kl']",
    "a file by its path": "defaults: [DIR/other]",
    "a file above": "defaults: [{override /loss: ../../DIR/other}]",
    "a file beside": "defaults: [../other]",
    "a url": "defaults: ['file://DIR/other.yaml']",
    "a package to read": "defaults: ['pkg://hubconf']",
    "what may be missing": "defaults: ['optional other']",
    "a chosen default": "defaults: [{override /loss: '${oc.env:HOME}'}]",
    "several choices": "defaults: [{override /loss: [forward_kl, jsd]}]",
    "no list": "defaults: {override /loss: {forward_kl: 1}}",
}
OUTPUTS = {
    "a workspace": "workspace: PWN",
    "a workspace's path": "workspace: {path: PWN}",
    "what a workspace trusts": "workspace: {verify: never}",
    "a dotted workspace": "workspace.path: PWN",
    "a name above": "run_name: ../../PWN",
    "a name anywhere": "run_name: PWN",
    "only dots": "run_name: ..",
    "a name put together": "about: {a: ../../x}\nrun_name: '${about.a}'",
    "a name of the workspace's": "run_name: ${workspace.path}/../../x",
    "a name with an escape": "run_name: '\\${oc.env:HOME}'",
    "a name with a control character": 'run_name: "a\\x1b[31m"',
    "a long name": f"run_name: {'x' * 300}",
}
SPELLINGS = {  # of YAML and Unicode
    "a name of Python's": "about: {x: !!python/name:os.system }",
    "a new object": "about: {x: !!python/object/new:os.system [touch PWN]}",
    "a tag by a short name": "%TAG !p! tag:yaml.org,2002:python/\n--- \n"
    "about: {x: !p!object/apply:os.system [touch PWN]}",
    "a tag of our own": "about: {x: !ours 1}",
    "a second document": f"seed: 1\n---\nloss: {SAVE}",
    "an anchor of another document": f"about: {{x: &x {SAVE}}}\n---\nloss: *x",
    "a merge at the root": f"about: &x {{loss: {SAVE}}}\n<<: *x",
    "a merge of several": "about: {a: &a {obj: x}, b: &b {_target_: torch.save, f: PWN}}\n"
    "loss: {hard_weight: {<<: [*a, *b]}}",
    "another alphabet's letter": "loss: {hard_weight: {_tаrget_: torch.save, obj: x, f: PWN}}",  # noqa: RUF001
    "a letter of full width": "ｈydra: {run: {dir: PWN}}",  # noqa: RUF001
    "a letter without width": 'loss: {hard_weight: {"_target_\\u200b": torch.save, obj: x}}',
    "a key that refers": "about: {x: loss}\n'${about.x}': {_target_: torch.save, obj: x, f: PWN}",
    "a key below that reads": "data: {'${oc.env:HOME}': 1}",
    "a key with an equals sign": "loss: {'hard_weight=1,_target_': torch.save}",
    "a default's package here": "defaults: [{override /loss@_here_: jsd}]",
    "a default's package above": "defaults: [{/loss@_group_: jsd}]",
    "a default that is set": "defaults: [{/loss: jsd}]",
    "a default of ours by a path": "defaults: [{override /loss: ./jsd}]",
    "a default of a copy": "defaults: [/run]",
    "a header": f"# @package hydra.callbacks\nx: {SAVE}",
    "a default above": "defaults: [{override /loss: 'forward_kl/../../x'}]",
    "a default of nothing": "defaults: [{override /loss: null}]",
    "a default of Hydra's sweeper": "defaults: [{override /hydra/sweeper: basic}]",
    "words by an alias": "about: {x: &x [trusted=x.]}\nphases: {a: *x}",
    "a word of full width": "phases: {a: ['ｔrusted=[x]']}",  # noqa: RUF001
    "a word in a word": 'phases: {a: ["loss.temperature=1\\ntrusted=[torch.]"]}',
    "a reference after two backslashes": "phases: {a: ['data.text=\\\\${oc.env:HOME}']}",
    "OmegaConf's own words": "loss: {_metadata: 1, _flags: {allow_objects: true}}",
    "a partial in a list": "teacher: {labels: [{_partial_: true, _target_: torch.save}]}",
    "arguments in a list": "optimizer: {betas: [{_args_: [PWN], _target_: builtins.open}]}",
}
SECRETS = {
    "the environment": "about: {what: '${oc.env:HOME}'}",
    "the environment in a group": "data: {train: '${oc.env:HOME}/x.csv'}",
    "the environment, inside": "about: {what: '${oc.select:${oc.env:HOME}}'}",
    "after a backslash": "about: {what: '\\\\${oc.env:HOME}'}",
    "text as values": "loss: ${oc.decode:'{_target_:torch.save}'}",
    "a made value": "loss: ${oc.create:{_target_:torch.save}}",
    "Hydra's own": "about: {what: '${hydra:runtime.cwd}'}",
    "the time": "seed: ${now:%S}",
    "the keys of a mapping": "about: {what: '${oc.dict.keys:hydra}'}",
    "itself": "published: ${.}",
    "its own place": "about: {what: '${about}'}",
}
TRUST = {
    "packages": "trusted: [torch.]",
    "a name": "trusted: torch.",
    "a number": "trusted: 1",
    "nothing": "trusted: null",
    "code of models": "trust_remote_code: true",
    "code of a student": "student: {config: {trust_remote_code: true}}",
    "tasks that run code": "evaluation: {harness_path: DIR}",
    "a key that is none": "null: 1",
    "a key that is a list": "? [a]\n: 1",
    "a key that is a number": "1: 1",
    "no key at all": "'': 1",
    "an object": "about: !!python/object/apply:os.system [touch PWN]",
    "a module": "about: !!python/module:hubconf",
    "a path": "about: {x: !!python/object/apply:pathlib.PosixPath [PWN]}",
    "bytes": "about: {x: !!binary aGk=}",
    "a set": "about: {x: !!set {a, b}}",
}
WORDS = {
    "trust": "+trusted=[torch.]",
    "forced trust": "++trust_remote_code=true",
    "trust taken away": "~trusted",
    "Hydra's": "hydra.run.dir=PWN",
    "Hydra's, added": f"+hydra.callbacks.x={SAVE.replace(': ', ':')}",
    "a launcher": "hydra/launcher=basic",
    "a package": "loss@hydra.callbacks.x=forward_kl",
    "a workspace": "workspace=PWN",
    "a workspace's path": "workspace.path=PWN",
    "a name": "run_name=../../x",
    "a recipe": "recipe=bert-tiny",
    "tasks that run code": "evaluation.harness_path=DIR",
    "a class": "loss.hard_weight={_target_:torch.save,obj:x,f:PWN}",
    "a class by its key": "loss._target_=torch.save",
    "positions": "loss._args_=[1]",
    "a reference": "loss.temperature=${about.what}",
    "the environment": "data.text='${oc.env:HOME}'",
    "a kernel": "student.config.attn_implementation=evil/kernel",
    "no word": "rm -rf",
    "an option": "--multirun",
    "a sweep": "loss.temperature=1,2",
    "a sweep of all": "loss=glob(*)",
}
GROUPS = {
    "a class": "_target_: torch.save\nobj: x\nf: PWN",
    "a class inside": f"_target_: distillkit.losses.ForwardKL\nhard_weight: {SAVE}",
    "of the root": f"# @package _global_\nhydra: {{callbacks: {{x: {SAVE}}}}}",
    "of Hydra": f"# @package hydra.callbacks\nx: {SAVE}",
    "trust for itself": "# @package _global_\ntrusted: [torch.]\n_target_: torch.save",
    "the environment": "_target_: distillkit.losses.ForwardKL\ntemperature: ${oc.env:HOME}",
    "a launcher": "_target_: distillkit.losses.JSD\ndefaults: [{override /hydra/launcher: basic}]",
    "another's default": "defaults: ['/loss@_global_.hydra.callbacks.x: forward_kl', _self_]",
}


def recipes() -> Iterator[tuple[str, Case]]:
    """Every hostile recipe, by a name."""
    for number, (target, arguments) in enumerate(CALLS.items()):
        node = f"{{_target_: {target}, {arguments}}}"
        text = f"about: {{what: torch.save}}\nloss: {{hard_weight: {node}}}"
        yield f"call {number} {target}", ({"recipes/evil.yaml": text}, ["+recipe=evil"])
    kinds = {"place": PLACES, "hydra": HYDRA, "output": OUTPUTS, "value": SECRETS, "trust": TRUST}
    kinds["spelling"] = SPELLINGS
    for kind, texts in kinds.items():
        for name, text in texts.items():
            yield f"{kind}: {name}", ({"recipes/evil.yaml": text}, ["+recipe=evil"])
    for name, word in WORDS.items():
        text = f"about: {{what: 1}}\nphases:\n  a: ['seed=1']\n  b:\n    - '{_yaml(word)}'"
        yield f"a phase: {name}", ({"recipes/evil.yaml": text}, ["+recipe=evil"])
    for name, phases in {
        "by a path": "{../../x: [seed=1]}",
        "by a reference": "'${about.what}'",
        "of no words": "{a: 1}",
        "in a list": "[a]",
        "of references": "{a: ['${about.what}']}",
    }.items():
        text = f"about: {{what: 'trusted=[torch.]'}}\nphases: {phases}"
        yield f"phases {name}", ({"recipes/evil.yaml": text}, ["+recipe=evil"])


def entries() -> Iterator[tuple[str, Case]]:
    """Every hostile group entry and folder, by a name."""
    for name, text in GROUPS.items():
        yield f"a group: {name}", ({"loss/evil.yaml": text}, ["loss=evil"])
        chosen = {"loss/evil.yaml": text, "recipes/x.yaml": "defaults: [{override /loss: evil}]"}
        yield f"a group of a recipe: {name}", (chosen, ["+recipe=x"])
        phase = {"loss/evil.yaml": text, "recipes/x.yaml": "phases: {a: [loss=evil]}"}
        yield f"a group of a phase: {name}", (phase, ["+recipe=x"])
    mark = f"_target_: distillkit.losses.ForwardKL\nhard_weight: {SAVE}"
    yield "a name of ours", ({"loss/forward_kl.yaml": mark}, [])
    yield "a recipe of ours", ({"recipes/bert-tiny.yaml": "seed: 3"}, ["+recipe=bert-tiny"])
    yield "a config of its own", ({"run.yaml": f"loss: {SAVE}"}, [])
    logging = "root: {handlers: [h]}\nhandlers: {h: {class: logging.FileHandler, filename: PWN}}"
    yield "logging", ({"hydra/job_logging/evil.yaml": logging}, ["hydra/job_logging=evil"])
    yield "a launcher of its own", ({"hydra/launcher/evil.yaml": SAVE}, ["hydra/launcher=evil"])
    yield "a recipe named by dots", ({"recipes/...yaml": "seed: 3"}, ["+recipe=.."])
    yield (
        "one of a sweep",
        (
            {"recipes/a.yaml": "seed: 3", "recipes/evil.yaml": "trusted: [torch.]"},
            ["-m", "+recipe=a,evil"],
        ),
    )
    yield "all of a sweep", ({"loss/evil.yaml": mark}, ["-m", "loss=glob(*)"])


def _yaml(word: str) -> str:
    return word.replace("'", "''")


CASES = dict([*recipes(), *entries()])
NO_YAML = (  # the ends of names of those that cannot be read at all
    "a key twice",
    "a key that is a list",
    "a key that is none",
    "a module",
    "a name of Python's",
    "a new object",
    "a second document",
    "a set",
    "a tag by a short name",
    "a tag of our own",
    "an anchor of another document",
    "an object",
    "value: itself",
)
COMMAND_LINES = {  # words that are a user's own, and end in one line all the same
    "another config": ["--config-name", "evil"],
    "another config, in short": ["-cn", "evil"],
    "another path of configs": ["--config-path", "DIR"],
    "a pickle": ["--experimental-rerun", "DIR/config.pickle"],
    "a pickle as a value": ["--cfg", "--experimental-rerun=DIR/config.pickle"],
    "a shortened option": ["--experimental", "DIR/config.pickle"],
    "an option of the completion": ["--shell-completion", "install=bash"],
    "a place to search": ["hydra.searchpath=[pkg://hubconf]"],
    "a place to search, added": ["++hydra.searchpath=[file://DIR]"],
    "a place to look into": ["--cfg", "job", "hydra.searchpath=[pkg://hubconf]"],
    "callbacks": [f"+hydra.callbacks.x={SAVE.replace(': ', ':')}"],
    "all levels of logging": ["hydra.verbose=glob(*)"],
    "a sweep of all levels": ["-m", "hydra.verbose=glob(*)"],
    "a sweep over names of no group": ["-m", "loss.temperature=glob(*)"],
    "trust in a number": ["trusted=1"],
    "trust in nothing": ["trusted=null", "loss._target_=torch.save"],
    "itself": ["published='${.}'"],
    "its own place": ["about={a:'${about}'}"],
    "a key that is none": ["about={null:1}"],
    "a view alone": ["--resolve"],
    "two views": ["--cfg", "job", "--info"],
    "no folder": ["--config-dir", "pkg://hubconf"],
}
