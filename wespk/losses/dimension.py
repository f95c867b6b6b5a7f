"""Regularisation of dimensions: keeps those of an embedding from saying the same. SDPN's follow-up, arXiv 2505.13826.

E (M, D) being the head's outputs of a whole batch, before they are brought to length 1, and

    C_ab = sum_i E_ia E_ib / (||E_:a|| ||E_:b||)

the correlation of two dimensions, around 0 and not around the mean,

    frobenius     log ||C||_F, in [ln(D) / 2, ln(D)] : dimensions apart .. all equal
    off_diagonal  sum over a != b of C_ab^2 / D,  in [0, D - 1]

What is known of the paper: its abstract, and the names of the two kinds. The first formula is that of a later public
implementation which cites it; the second is our reading, by analogy with VICReg (Bardes et al. 2022, equation 4). Their
weights have not been seen.
"""

import torch

from wespk.losses.base import alone
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


def _squares_off_diagonal(outputs, reduce):
    """Sum of C_ab^2 over a != b. A dimension that is 0 everywhere is correlated with none."""
    if outputs.dim() != 2 or not len(outputs) or outputs.shape[1] < 2:
        raise InputError("regularisation of dimensions takes outputs (number, size) with a size of two or more, not "
                         f"{tuple(outputs.shape)}")
    with torch.autocast(outputs.device.type, enabled=False):
        outputs = at_least_float32(outputs)
        products = reduce(outputs.T @ outputs)
        inverse = products.diagonal().clamp(min=torch.finfo(products.dtype).tiny).rsqrt()
        squares = (products * inverse[:, None] * inverse).square()
        return squares.sum() - squares.diagonal().sum()


def frobenius(outputs, reduce=alone):
    """log ||C||_F of outputs (M, D): 0-dim, float32 or wider, whatever autocast says.

    reduce: sum over processes, each with a part of the rows (see ``base.alone``); all then get the whole batch's value, of
    which each process's share of the rows adds up to value and gradient of the whole.

    Raises ``InputError`` if there are no rows, or less than two dimensions.
    """
    return 0.5 * (_squares_off_diagonal(outputs, reduce) + outputs.shape[1]).log()


def off_diagonal(outputs, reduce=alone):
    """Sum over a != b of C_ab^2 / D; the rest as for ``frobenius``."""
    return _squares_off_diagonal(outputs, reduce) / outputs.shape[1]


REGULARISERS = {"frobenius": frobenius, "off_diagonal": off_diagonal}
