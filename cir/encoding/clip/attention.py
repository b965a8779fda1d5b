"""Attention of several heads, bit for bit as torch's `multi_head_attention_forward` computes it.

torch's own function looks at its arguments for longer than a short text takes to be computed.
Places stand before the batch, as there, so that gradients are the same bits as well.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def attended(
    queries: Float[Tensor, "places batch width"],
    keys: Float[Tensor, "places batch width"],
    values: Float[Tensor, "places batch width"],
    heads: int,
    mask: Float[Tensor, "places places"] | None = None,
) -> Float[Tensor, "places batch width"]:
    """What each place is told by the others, before it is projected out (Vaswani et al., 2017).

    Args:
        queries: Projected already, as are keys and values.
        keys: Of the same places.
        values: Likewise.
        heads: How many; each has its share of the width.
        mask: Added to the products before the softmax.
    """
    shape = (*queries.shape[:2], heads, -1)
    query, key, value = (part.view(shape).permute(1, 2, 0, 3) for part in (queries, keys, values))
    told = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return told.permute(2, 0, 1, 3).flatten(2)
