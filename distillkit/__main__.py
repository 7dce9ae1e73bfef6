"""`python -m distillkit`, and so `accelerate launch -m distillkit`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python looks for modules in the folder of a `-m` first: no plugin or package of that counts,
    # unless distillkit itself stands there
    here = Path(sys.path[0] or ".").resolve()
    if not sys.flags.safe_path and here == Path.cwd() and here != Path(__file__).parents[1]:
        del sys.path[0]

    from distillkit.cli.main import main

    main()
