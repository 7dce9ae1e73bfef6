"""`python -m distillkit`, and so `accelerate launch -m distillkit`."""

from distillkit.cli import main

if __name__ == "__main__":
    main()
