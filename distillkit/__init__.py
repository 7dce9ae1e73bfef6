"""distillkit: a small language model out of a large one, driven by YAML.

Every stage turns artifacts into an artifact, and an artifact's name is the hash of all that
decides its content; so resuming, reusing and refusing a mismatch are one mechanism.

    conf/ + recipes/ --Hydra--> cli --> pipeline --> stages --> artifacts --> reporting
                                                       |
    data -> task (features, labels) -> teacher -> targets -> training(student, loss) -> evaluation

A module imports lower floors, and its own package; each package's docstring says what it is for:

    9  cli                             argv -> command, help, completion, clean errors
    8  planning                        what a run will cost, before it runs
    7  pipeline                        a run's artifacts, and how they are wired
    6  stages  reporting  config       hydra is imported in config, pipeline and cli only
    5  evaluation  engine
    4  training  generation
    3  tasks  students  teachers  ranks
    2  models  data  targets
    1  losses  metrics  chat  artifacts  limits
    0  types  token_table  setting_types  errors  console  stopping
"""

__all__: list[str] = []
