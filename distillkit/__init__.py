"""distillkit: a small language model out of a large one, driven by YAML.

Every stage turns artifacts into an artifact, and an artifact's name is the hash of all that
decides its content; so resuming, reusing and refusing a mismatch are one mechanism.

    conf/ + recipes/ --Hydra--> cli --> pipeline --> stages --> artifacts --> reporting
                                                       |
    data -> task (features, labels) -> teacher -> targets -> training(student, loss) -> evaluation

A module imports lower floors, and its own package; each package's docstring says what it is for:

   10  cli                             argv -> command, help, completion, clean errors
    9  planning                        what a run will cost, before it runs
    8  pipeline                        a run's artifacts, and how they are wired
    7  stages  reporting  config       hydra is imported in config, pipeline and cli only
    6  evaluation  prediction
    5  training  generation  compression
    4  tasks  students  teachers  ranks
    3  models  data  targets
    2  losses  metrics
    1  artifacts  chat  fast_paths  limits  schedules  token_table
    0  background  errors  console  ragged  setting_types  stopping  types
"""

__all__: list[str] = []
