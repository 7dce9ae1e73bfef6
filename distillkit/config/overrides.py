"""The overrides of a command line, read one by one so that every fault is found at once."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType, QuotedString
from omegaconf import DictConfig, OmegaConf

from distillkit import fast_paths
from distillkit.config import entries, task_defaults
from distillkit.config.build import granted
from distillkit.config.compose import Composer, composing, load_yaml
from distillkit.config.keys import LISTED_BY, as_written, deepest, every_key, exists, holds, sibling
from distillkit.config.output_names import folder_problems, output_problems
from distillkit.config.paths import CONF, recipe_files
from distillkit.config.references import fault
from distillkit.config.renamed import with_current_names
from distillkit.config.schema import (
    MISSING,
    RUNTIME,
    display,
    mismatch,
    problems,
    setup_problems,
)
from distillkit.config.signatures import NotFound, Signature, signature
from distillkit.config.words import as_text, parse_word, respelled
from distillkit.console.masking import names_of
from distillkit.console.wording import nearest
from distillkit.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Checked:
    """Overrides that Hydra will take as they stand, and the run's first config.

    `left_out` are settings of the recipe for a choice that the command line replaced, and that the
    new choice does not take. `brought` are choices that the task brings, among the `overrides`, and
    `defaults` further overrides that it brings; `cfg` has them, and of a run in phases each phase
    has its own. `swept` has the number of choices of each swept key.
    """

    overrides: list[str]
    cfg: DictConfig
    left_out: list[str]
    brought: list[str]
    defaults: list[str]
    swept: dict[str, int]


def check(words: list[str], *, user_folder: Path | None = None, sweeps: bool = True) -> Checked:
    """Find every fault that overrides and files show; raises `ConfigError` with all of them.

    Without `sweeps` a comma is part of a value.
    Of a sweep, each choice of each swept key is checked beside the first choices of the others.
    """
    words = respelled(words)
    fast_paths.disabled()  # refuses what the environment names wrongly
    entries.register(user_folder, words)
    with composing(user_folder) as composer:
        return _Check(composer, words, user_folder, sweeps).run()


class _Check:
    """One check: overrides sorted into groups and values, the faults found so far."""

    def __init__(
        self, composer: Composer, words: list[str], user_folder: Path | None, sweeps: bool
    ) -> None:
        self.composer, self.user_folder, self.sweeps = composer, user_folder, sweeps
        self.secret = names_of(words)  # what is not shown
        self.commas: set[str] = set()  # keys whose value has some
        self.groups = composer.groups()
        self.parser = composer.parser
        self.faults: dict[str, str] = {}
        self.parsed = [p for p in map(self._parse, words) if p is not None]

    def run(self) -> Checked:
        choices = [o for o in self.parsed if self._is_group(o) and self._choice_exists(o)]
        values = [o for o in self.parsed if not self._is_group(o)]
        # what a group's target takes is known once the target is
        targets = [o for o in values if self._sets_target(o) or o.key_or_group == "trusted"]
        brought = self._brought(choices, targets)
        choices += brought
        left_out = self._left_out(choices)
        targets += [o for o in left_out if self._sets_target(o)]
        unset = self._settings_of_replaced_classes(choices)
        base = self._compose([self._first_choice(o) for o in (*choices, *targets)])
        if base is None:
            raise ConfigError(self._lines())
        usable_words = []
        for override in values:
            usable = self._usable(override, base)
            if usable is not None:
                usable_words.append(usable)
        all_words = [*choices, *usable_words, *left_out, *unset]
        first = [self._first_choice(o) for o in all_words]
        # composing takes most of the time of a check
        cfg = self._checked(first, composed=base if len(all_words) == len(choices) else None)
        for override in all_words:
            for alternative in self._alternatives(override)[1:]:
                first_of_others = [self._first_choice(o) for o in all_words if o is not override]
                self._checked([*first_of_others, alternative])
        if self.faults or cfg is None:
            raise ConfigError(self._lines())
        defaults = task_defaults.of_run(cfg, self._explicit(choices))
        cfg = (self._checked([*first, *defaults]) if defaults else cfg) or cfg
        words = [str(o.input_line) for o in all_words]
        swept = {o.key_or_group: len(_choices(o)) for o in all_words if o.is_sweep_override()}
        removals, added = (
            [*dict.fromkeys(o.key_or_group for o in left_out)],
            [str(o.input_line) for o in brought],
        )
        return Checked(words, cfg, removals, added, defaults, swept)

    def _brought(self, choices: list[Override], targets: list[Override]) -> list[Override]:
        """The choices that the chosen task brings."""
        choice_of = {o.key_or_group: str(o.value()) for o in choices if not o.is_sweep_override()}
        groups_chosen = [o.key_or_group.partition(".")[0] for o in (*choices, *targets)]
        words = task_defaults.choices(choice_of, self._recipe(choices), groups_chosen)
        return self.parser.parse_overrides(words)

    def _explicit(self, choices: list[Override]) -> set[str]:
        """The keys that command line, recipe or a file of the user's set, not one of our files.

        A choice of several that lack a temperature counts as the group set.
        """
        typed = {o.key_or_group for o in self.parsed} - {o.key_or_group for o in choices}
        typed |= task_defaults.keys_of(self._recipe(choices))
        for override in choices:
            group = override.key_or_group
            for choice in _choices(override):
                path = self.user_folder and self.user_folder / group / f"{choice}.yaml"
                if path and path.is_file():
                    typed |= task_defaults.keys_of(load_yaml(path), f"{group}.")
                elif override.is_sweep_override() and group == "loss":
                    settings = load_yaml(CONF / group / f"{choice}.yaml")
                    typed |= set() if "temperature" in settings else {group}
        return typed

    def _recipe(self, choices: list[Override]) -> dict[str, Any]:
        """The settings of the recipe that is chosen."""
        recipes = [o for o in choices if o.key_or_group == "recipe" and not o.is_sweep_override()]
        path = recipe_files(self.user_folder).get(str(recipes[0].value())) if recipes else None
        return load_yaml(path) if path else {}

    def _settings_of_replaced_classes(self, choices: list[Override]) -> list[Override]:
        """What deletes the settings of a group's file where the command line names another class.

        `loss._target_=mine.Loss` in the place of forward_kl's has none of forward_kl's settings,
        nor has `targets.codec._target_=mine.Codec` those of the file's codec.
        """
        changed = [o for o in self.parsed if o.type == OverrideType.CHANGE]
        named = [o for o in changed if o.key_or_group.endswith("._target_")]
        if not (named := [o for o in named if not o.is_sweep_override()]):
            return []
        choice_of: Any = {}
        with contextlib.suppress(Exception):  # what is wrong is said when all is composed
            _, hydra = self.composer.compose([self._first_choice(o) for o in choices])
            choice_of = hydra["runtime"]["choices"]
        keys = {o.key_or_group for o in self.parsed} | task_defaults.keys_of(self._recipe(choices))
        words = []
        for override in named:
            at, target = override.key_or_group.removesuffix("._target_"), str(override.value())
            group, *parts = at.split(".")
            whole = self._settings(group, str(choice_of.get(group)))
            settings = task_defaults.node_at(whole, parts)
            declared = _signature(OmegaConf.create({group: {"_target_": target}}), group)
            if declared is None or settings.get("_target_") in (None, MISSING, target):
                continue
            names = settings if declared.open else declared.parameters
            for key in task_defaults.of_other_class(at, settings, names, keys):
                words += task_defaults.deletion(key, settings[key.rpartition(".")[2]])
        return self.parser.parse_overrides(words)

    def _lines(self) -> list[str]:
        return [f"{key}: {text}" for key, text in self.faults.items()]

    def _fault(self, key: str, text: str) -> None:
        name, _, value = key.partition(" = ")
        if name == "phases" and value.startswith("{"):
            text += "; a word with brackets stands in quotes, as {a:['loss.layers=[[7,1]]']}"
        elif name in self.commas and not self.sweeps:
            text += "; for a sweep over its parts add -m"
        self.faults.setdefault(key, text)

    def _parse(self, word: str) -> Override | None:
        # `recipe` is in no defaults list, so Hydra wants `+recipe=`; both spellings are taken
        word = f"+{word}" if word.startswith("recipe=") else word
        key, equals, value = word.partition("=")
        if not equals and not word.startswith("~"):
            self._fault(word, "not an override; write key=value, group=choice or an option with --")
            return None
        override = parse_word(self.parser, word, sweeps=self.sweeps)
        if override is None:
            self._fault(word, "cannot be read; quote the value: 'key=\"value\"'")
        elif override.is_sweep_override() and not self.sweeps:
            self._fault(key.lstrip("+"), f"{value} is a sweep; add -m for a run of each")
            return None
        elif override.is_sweep_override() and (why := _not_swept(override)):
            self._fault(f"{key.lstrip('+')} = {value}", why)
            return None
        elif "," in value and isinstance(override.value(), str):
            self.commas.add(override.key_or_group)
        return override

    def _is_group(self, override: Override) -> bool:
        key = override.key_or_group
        return key in self.groups or key.startswith("hydra/")

    def _sets_target(self, override: Override) -> bool:
        key = override.key_or_group
        return key.endswith("._target_") and key.removesuffix("._target_") in self.groups

    def _choice_exists(self, override: Override) -> bool:
        group = override.key_or_group
        if group.startswith("hydra/") or override.type == OverrideType.DEL:
            return True
        if group == "recipe" and override.type == OverrideType.CHANGE:
            return True
        options = self.groups[group]
        good = True
        for choice in _choices(override):
            if str(choice) not in options:
                listed_by = LISTED_BY["recipe" if group == "recipe" else "group"]
                hint = nearest(str(choice), options, hint=listed_by)
                self._fault(f"{group} = {choice}", f"no such {group}; {hint}")
                good = False
        return good

    def _usable(self, override: Override, base: DictConfig) -> Override | None:
        """The override, made to add its key where the target takes it; None if it is unknown."""
        key = override.key_or_group
        if key.split(".")[0] == "hydra" or override.type != OverrideType.CHANGE:
            return override
        override = self._named(override, base)
        if exists(base, key):
            if not override.is_sweep_override() and isinstance(override.value(), dict):
                # a mapping is merged, and may have new names: loss.weights={soft:1,hidden:2}
                return self.parser.parse_overrides([f"++{override.input_line}"])[0]
            return override
        if "/" in key or "@" in key:
            hint = nearest(key, self.groups, hint=LISTED_BY["group"])
            self._fault(key, f"no such group; {hint}")
            return None
        if _has_parameter(base, key):
            return self.parser.parse_overrides([f"++{override.input_line}"])[0]
        keys, last = list(every_key(base)), key.rpartition(".")[2]
        group, name = deepest(base, key)
        near = [k for k in keys if k.rpartition(".")[2] == last and last]
        parts = [k.rpartition(".")[2] for k in keys if k.rpartition(".")[0] == group]
        declared = _signature(base, group)
        parameters = declared.parameters if declared else ()
        parts += [n for n in parameters if n not in RUNTIME.get(group, ())]
        if group and (own := sibling(name, parts)):
            near = [f"{group}.{own}"]
        if near:
            self._fault(key, f"no such key; did you mean {near[0]}?")
        elif group and parts:
            better = nearest(name, parts, hint=LISTED_BY["key"], always=False)
            better = better.replace("did you mean ", f"did you mean {group}.")
            self._fault(key, f"no such key; {better}")
        else:
            tops = [str(k) for k in base if k != "hydra"]
            hint = nearest(
                key.partition(".")[0], [*tops, *self.groups], hint=LISTED_BY["key"], always=False
            )
            self._fault(key, f"no such key; {hint}")
        return None

    def _named(self, override: Override, base: DictConfig) -> Override:
        """An override whose value is text where the setting takes text, and no number."""
        group, _, name = override.key_or_group.partition(".")
        declared = _signature(base, group)
        if declared is None or name not in declared.parameters or override.is_sweep_override():
            return override
        kind, text = declared.parameters[name].type, as_text(self.parser, override)
        fits = mismatch(override.value(), kind) and not mismatch(text.value(), kind)
        return text if fits else override

    def _left_out(self, choices: list[Override]) -> list[Override]:
        """What undoes the recipe's settings for a choice or class that was replaced by another.

        What the other does not take is deleted, but for a class that the recipe names: the choice
        has its own.
        """
        choice_of = {o.key_or_group: o for o in choices if not o.is_sweep_override()}
        settings = self._recipe(choices)
        keys = {o.key_or_group for o in self.parsed}
        classes = {g: self._target(g, str(o.value())) for g, o in choice_of.items()}
        classes |= {
            o.key_or_group.partition(".")[0]: str(o.value())
            for o in self.parsed
            if self._sets_target(o) and not o.is_sweep_override()
        }
        undone: dict[str, list[str]] = {}
        for group in classes.keys() & settings.keys():
            if not isinstance(settings[group], dict):
                continue
            target = classes[group]
            declared = _signature(OmegaConf.create({group: {"_target_": target}}), group)
            if declared is None or declared.open:
                continue
            undone |= task_defaults.undone(group, settings[group], declared.parameters, target)
        return self.parser.parse_overrides(
            [line for key, lines in sorted(undone.items()) if key not in keys for line in lines]
        )

    def _target(self, group: str, choice: str) -> str:
        """The class that a group's choice names."""
        return str(self._settings(group, choice).get("_target_", ""))

    def _settings(self, group: str, choice: str) -> dict[str, Any]:
        """The settings of a group's choice, as its file has them."""
        folders = [folder for folder in (CONF, self.user_folder) if folder is not None]
        paths = [folder / group / f"{choice}.yaml" for folder in folders]
        file = next((path for path in paths if path.is_file()), None)
        return load_yaml(file) if file else {}

    def _compose(self, overrides: list[str]) -> DictConfig | None:
        try:
            cfg, hydra = self.composer.compose(overrides)
        except Exception as error:  # hydra's errors, omegaconf's and yaml's have no common base
            self._not_composed(error, overrides)
            return None
        problems_found = [*setup_problems(hydra, trusted=granted(cfg)), *folder_problems(hydra)]
        for key, text in problems_found:
            self._fault(key, text)
        return cfg

    def _checked(
        self, overrides: list[str], *, composed: DictConfig | None = None
    ) -> DictConfig | None:
        cfg = self._compose(overrides) if composed is None else composed
        if cfg is None:
            return None
        try:
            problems_found = list(problems(plain(cfg), trusted=granted(cfg)))
            by_hand = any(o.key_or_group == "run_name" for o in self.parsed)
            problems_found += output_problems(cfg, by_hand=by_hand, secret=self.secret)
        except Exception as error:  # an interpolation that leads nowhere
            self._not_composed(error, overrides)
            return None
        keys = {o.key_or_group for o in self.parsed}
        for key, text in problems_found:
            name = key.split(" = ")[0]
            file_of = "" if name in keys else self._file_of(name, overrides)
            if self.secret and key != name:
                key = f"{name} = {display(as_written(cfg, name))}"
            self._fault(key, f"{text}{file_of}")
        return cfg

    def _not_composed(self, error: Exception, overrides: list[str]) -> None:
        key, text = fault(error)
        self._fault(key, f"{text}{self._blamed_recipe(overrides)}")

    def _blamed_recipe(self, overrides: list[str]) -> str:
        """ " (in FILE)" if the config is sound without the recipe that was chosen."""
        suffix = [o for o in overrides if not o.startswith("+recipe=")]
        name = next((o.partition("=")[2] for o in overrides if o not in suffix), "")
        path = recipe_files(self.user_folder).get(name)
        if path is None:
            return ""
        try:
            OmegaConf.to_container(self.composer.compose(suffix)[0], resolve=True)
        except Exception:  # whatever it is, it is not the recipe's doing
            return ""
        return f" (in {path.parent.name}/{path.name})"

    def _file_of(self, key: str, overrides: list[str]) -> str:
        """ " (in FILE)" for a key that a recipe or a group file of the user's wrote."""
        choice_of = {k.lstrip("+"): v for k, _, v in (o.partition("=") for o in overrides)}
        recipes = recipe_files(self.user_folder)
        recipe = recipes.get(choice_of.get("recipe", ""))
        if recipe and holds(load_yaml(recipe), key.split(".")):
            return f" (in {recipe.parent.name}/{recipe.name})"
        group, _, suffix = key.partition(".")
        for folder in (self.user_folder, CONF):
            path = folder and folder / group / f"{choice_of.get(group, '')}.yaml"
            if path and path.is_file() and holds(load_yaml(path), suffix.split(".")):
                return f" (in {group}/{path.name})"
        return ""

    @staticmethod
    def _first_choice(override: Override) -> str:
        return _Check._alternatives(override)[0]

    @staticmethod
    def _alternatives(override: Override) -> list[str]:
        """The single overrides that a sweep runs through; the override itself if it is none."""
        line = str(override.input_line)
        if not override.is_sweep_override():
            return [line]
        key = line.partition("=")[0]
        return [f"{key}={_as_written_choice(choice)}" for choice in _choices(override)]


def _not_swept(override: Override) -> str:
    """Why there is nothing that a sweep could run through; "" if there is."""
    if override.key_or_group.partition(".")[0].partition("/")[0] == "hydra":
        return "Hydra's own settings have one value each"
    return "" if _choices(override) else "names nothing; glob(…) chooses among a group's entries"


def _choices(override: Override) -> list[Any]:
    if not override.is_sweep_override():
        value = override.value()
        return list(value) if isinstance(value, list) else [value]
    value = override.value()
    if isinstance(value, IntervalSweep):  # of an optimising sweeper: the bounds speak for it
        return [value.start, value.end]
    return list(override.sweep_string_iterator())


def _as_written_choice(choice: Any) -> str:
    return str(choice.with_quotes() if isinstance(choice, QuotedString) else choice)


def _has_parameter(cfg: DictConfig, key: str) -> bool:
    """Whether the group's target has a setting of this name, though its file does not write it."""
    group, _, suffix = key.partition(".")
    declared = _signature(cfg, group)
    if not suffix or declared is None:
        return False
    name, _, deeper = suffix.partition(".")
    parameter = declared.parameters.get(name)
    if parameter is None:
        return declared.open
    # below a setting that is a mapping any key may stand
    return not deeper or mismatch({"a": 1}, parameter.type) is None


def _signature(cfg: DictConfig, group: str) -> Signature | None:
    """The signature of a group's target, if it can be told."""
    node = cfg.get(group) if group and "." not in group else None
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return None
    try:
        return signature(str(node["_target_"]))
    except NotFound:
        return None


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A config, or a part of it, as plain data with all interpolations resolved."""
    problems_found = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(problems_found, dict)
    return with_current_names({str(key): value for key, value in problems_found.items()})
