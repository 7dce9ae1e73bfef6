"""Where conf/ and recipes/ live: inside the package in a wheel, beside it in a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parent
CONF = ROOT / "conf"
RECIPES = ROOT / "recipes"


def groups(folder: Path = CONF) -> dict[str, list[str]]:
    """The config groups of a conf folder and their choices; without importing hydra."""
    return {
        group.name: sorted(choice.stem for choice in group.glob("*.yaml"))
        for group in sorted(folder.iterdir())
        if group.is_dir()
        and group.name not in ("hydra", "recipe", "recipes")
        and any(group.glob("*.yaml"))
    }


def entries(folder: Path | None) -> dict[str, dict[str, Path]]:
    """The files of a user's own folder that are entries of our groups: group -> name -> file."""
    if folder is None:
        return {}
    return {
        group: {path.stem: path for path in sorted((folder / group).glob("*.yaml"))}
        for group in groups()
    }


def recipe_files(user_folder: Path | None = None, *, own: bool = True) -> dict[str, Path]:
    """All recipes by name: ours, and those in the `recipes` folder of a user's --config-dir."""
    files = {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))} if own else {}
    if user_folder is not None:
        for name in ("recipe", "recipes"):
            files |= {path.stem: path for path in sorted((user_folder / name).glob("*.yaml"))}
    return files
