"""Config: from YAML and overrides to checked settings and objects. Only here hydra is imported."""
