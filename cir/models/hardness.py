"""How much each negative counts in the contrastive term: the harder, the more.

Robinson, Chuang, Sra and Jegelka (Contrastive Learning with Hard Negative Samples, ICLR 2021,
equations 3 and 4): negatives c of a query q are meant to come from the distribution

    q_β(c) ∝ exp(β q·c / temperature) p(c)

and not from p, of which the candidates are a sample. Importance sampling takes their mean of
exp(q·c / temperature) under q_β: a candidate's term in the sum of N negatives gets the weight

    w(c) = exp(β q·c / temperature) / (1/N sum_c' exp(β q·c' / temperature))

whose mean is 1, and which is 1 for all at β = 0. Positives keep their terms; the correction of the
paper for false negatives, τ+, is left out, for known answers are no negatives here.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def log_weights(
    logits: Float[Tensor, "batch candidates"],
    negative: Bool[Tensor, "batch candidates"],
    beta: float,
) -> Float[Tensor, "batch candidates"]:
    """The logs of w(c) of each query's negatives, and 0 for the others; without a gradient.

    Args:
        logits: q·c / temperature.
        negative: Which candidates are negatives of each query.
        beta: How much more a harder negative counts.
    """
    with torch.no_grad():
        harder = (beta * logits).masked_fill(~negative, -math.inf)
        count = negative.sum(dim=1, keepdim=True).to(logits.dtype)
        # Where a query has no negative, nothing of this is used.
        mean = harder.logsumexp(dim=1, keepdim=True) - count.clamp(min=1).log()
        return (harder - mean).masked_fill(~negative, 0)
