"""Hydra's composition for a check: what groups there are, what overrides make of them."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from distillkit.config import paths, store
from distillkit.config.references import bounded_references
from distillkit.config.task_defaults import leave_out_training
from distillkit.config.yaml_files import not_yaml, read_text
from distillkit.errors import ConfigError


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain data; raises `ConfigError` that names the place of a syntax error."""
    text = read_text(path)
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
    except Exception as error:  # a bad date or key raises whatever it likes
        raise not_yaml(path, error) from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: must be a mapping of keys")
    return {str(key): value for key, value in loaded.items()}


@contextmanager
def composing(user_folder: Path | None) -> Iterator["Composer"]:
    """A composer over our conf folder and the user's own; a run that is under way is not hurt."""
    hydra = GlobalHydra.instance()
    outer, hydra.hydra = hydra.hydra, None
    try:
        with (
            bounded_references() as count_anew,
            initialize_config_dir(config_dir=str(paths.CONF), version_base="1.3"),
        ):
            yield Composer(user_folder, count_anew)
    finally:
        GlobalHydra.instance().hydra = outer


class Composer:
    """Composes run configs, and knows the groups and their choices."""

    def __init__(self, user_folder: Path | None, count_anew: Callable[[], None]) -> None:
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoader)
        self.parser = OverridesParser.create(loader)
        self._user_folder, self._count_anew = user_folder, count_anew

    def groups(self) -> dict[str, list[str]]:
        """Every group and its choices, recipes included."""
        groups_found = paths.groups()
        for group, choices in paths.entries(self._user_folder).items():
            groups_found[group] = sorted({*groups_found[group], *choices})
        return groups_found | {"recipe": sorted(paths.recipe_files(self._user_folder))}

    def compose(self, overrides: list[str]) -> tuple[DictConfig, Any]:
        """The run config that these overrides make, and Hydra's own settings as plain data.

        Composing takes nearly all of a check's time, and the phases of a run, as the choices of a
        sweep, begin with the same groups: what was composed is kept for the same words and entries,
        and overrides that only give a key a value are written over it, as Hydra does it.
        """
        values = self._values(overrides)
        self._count_anew()
        try:
            cfg, hydra = self._cached([word for word in overrides if word not in values])
            for value in values.values():
                add = value.type == OverrideType.FORCE_ADD
                OmegaConf.update(cfg, value.key_or_group, value.value(), force_add=add)
        except OmegaConfBaseException:
            cfg, hydra = self._cached(overrides)  # Hydra says what is wrong
        leave_out_training(cfg)
        return cfg, hydra

    def _values(self, overrides: list[str]) -> dict[str, Override]:
        """The overrides that give a key of the run a value, if there are none of other kinds.

        Overrides are applied in order: none may be taken out from among additions and deletions.
        """
        groups = self.groups()
        parsed = [self.parser.parse_overrides([word])[0] for word in overrides]
        values = [o for o in parsed if o.key_or_group not in groups and "/" not in o.key_or_group]
        plain = all(
            o.type in (OverrideType.CHANGE, OverrideType.FORCE_ADD)
            and o.package is None
            and not o.is_sweep_override()
            and o.key_or_group.partition(".")[0] != "hydra"
            for o in values
        )
        return {str(o.input_line): o for o in values} if plain else {}

    def _cached(self, overrides: list[str]) -> tuple[DictConfig, Any]:
        key = (tuple(overrides), store.contents())
        if key not in _COMPOSED:
            if len(_COMPOSED) >= MOST_COMPOSED:
                _COMPOSED.clear()
            try:
                _COMPOSED[key] = self._composed(overrides)
            except Exception as error:  # hydra's errors, omegaconf's and yaml's have no common base
                _COMPOSED[key] = _without_frames(error)
        composed = _COMPOSED[key]
        if isinstance(composed, Exception):
            raise composed.with_traceback(None)
        cfg, hydra = composed
        return deepcopy(cfg), hydra

    def _composed(self, overrides: list[str]) -> tuple[DictConfig, Any]:
        cfg = compose(config_name="run", overrides=overrides, return_hydra_config=True)
        hydra = OmegaConf.to_container(cfg.hydra, resolve=False)
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg, hydra


MOST_COMPOSED = 64
_COMPOSED: dict[tuple[Any, ...], tuple[DictConfig, Any] | Exception] = {}


def _without_frames(error: Exception) -> Exception:
    """An error that holds none of the objects of the calls that it went through."""
    chain: list[BaseException] = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) and inner not in chain:
        chain.append(inner)
    for link in chain:
        link.with_traceback(None)
    return error
