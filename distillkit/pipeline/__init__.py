"""A run's artifacts and how they are wired: found in the workspace, or made by a stage.

What a stage does is in `stages`; what it would cost is told in `planning`. Each file imports only
those before it:

    context                       config, the groups built from it, workspace, seed
    sweep run_folder summary      what a run writes for people
    joint obtain                  an artifact, found or made, alone or with other processes
    tokenizers text               splits, transfer set, token tables
    codec_choice checks           what is wrong before any text is read
    build_context                 a context from a config, after these checks
    meta_models activations       models without weights; the layers that a loss compares
    teachers target_store         teachers and their targets
    students                      the student, its control, the student before training
    evaluation                    the rows of an evaluation
    run                           all of these as one object, which the commands use
    model_checks worth            what models show to be wrong before they are trained
    phases take_part              the runs of a config; another process's part in one
"""
