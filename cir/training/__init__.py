"""Training of a combiner, and of CLIP's towers where asked, on mined negatives.

Begin with `train.train`, which checks the inputs and starts or resumes a run. Each module uses
those below it:

    train            checks the inputs, starts or resumes a run
    trainer          sets a run up, and loops over its epochs
    pilot            which place in the band suits the data, tried before mining
    remining         what the next epoch trains on
    dev              evaluates an epoch
    fixed_negatives  the triplet loss by which epochs compare
    encode_batch     how much a tuned tower encodes at once
    checkpoints      saves the state of a run, and restores it
    vectors          the vectors that the model gives now, and the exclusions that follow from them
    epoch            one pass over the batches
    builders         the parts of a run, from its configuration
    step             one update of the weights
    objective        the loss, a weighted sum of terms
    candidates       the candidates that a query is trained against
    guide            masks false negatives among them
    gradients        of several processes, added up
    model            the combiner, and the parts of CLIP that are tuned
    features         features of the store, or of towers being tuned
    batches          the rows of each step

What surrounds a run:

    train_data       its inputs (`hold_out`: the dev split)
    run_folder       its files
    metrics_log      its log
    signals          what stops it
    trackers         where its figures go besides the log
"""
