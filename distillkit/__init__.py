"""distillkit: a small language model out of a large one, driven by YAML.

Every stage turns artifacts into an artifact, and an artifact's name is the hash of all that
decides its content; so resuming, reusing and refusing a mismatch are one mechanism.

    conf/ + recipes/ --Hydra--> commands --> stages --> artifacts --> report
                                               |
    data -> task (features, labels) -> teacher -> targets -> engine(student, loss) -> metrics

A module imports lower floors, and its own package:

    5  cli                    argv -> command, clean errors, completion
    4  commands  usage  completion   config -> objects -> stages; `road` holds the artifacts
    3  config  stages         hydra is imported in config, commands and cli only
    2  engine  tasks  teachers  students  targets  data
    1  losses  metrics  artifacts  damage  escaping  limits  ranks
    0  records  examples  conversations  constraints  digests  errors  progress  quiet  wording
    0  locks  masking  permissions  stopping
"""

__all__: list[str] = []
