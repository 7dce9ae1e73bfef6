"""A stranger's package: one of each kind, one file each. distillkit knows nothing of it."""
