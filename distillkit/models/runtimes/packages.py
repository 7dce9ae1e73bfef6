"""Packages of others that a runtime or an export needs, and the extra that brings them."""

import importlib.util

from distillkit.errors import ConfigError


def check_installed(*packages: str, extra: str, at: str) -> None:
    """Raise `ConfigError` that names the extra where a package is not installed.

    `at` is "setting = value".
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{at}: needs {' and '.join(missing)}, which is not installed; "
            f"`pip install 'distillkit[{extra}]'`"
        )
