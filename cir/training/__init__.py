"""Training of a combiner, and of CLIP's towers where asked, on mined negatives.

Begin with `train.train`, which checks the inputs and starts or resumes a run. Each module uses
those below it:

    train           checks the inputs, starts or resumes a run
    trainer         sets a run up, and loops over its epochs
    remining        what the next epoch trains on;  dev  evaluates an epoch;  checkpoints  saves it
    vectors         the vectors of now, and the exclusions that follow from them
    epoch           one pass over the batches
    builders        the parts of a run, from its configuration
    step            one update of the weights
    objective       the loss, a weighted sum of terms
    candidates      the candidates that a query is trained against;  model  the combiner and CLIP
    features        vectors of the store, or towers being tuned;  batches  the rows of each step

`train_data`, `run_folder`, `metrics_log`, `signals` and `trackers` hold the inputs of a run, its
folder, its log, what stops it, and where its figures go.
"""
