"""DARTS, first order (Liu, Simonyan, Yang: DARTS, ICLR 2019, arXiv 1806.09055)."""

from __future__ import annotations

from nni_privacy.strategies.differentiable import Differentiable

__all__ = ["DARTSFirstOrder"]


class DARTSFirstOrder(Differentiable):
    """DARTS with the first-order approximation, the paper's DARTS-V1 (arXiv 1806.09055, section 2.3, xi = 0).

    Every edge computes the mixture of all its candidates, weighted by softmax(alpha) (equation 2). Steps alternate:
    alpha goes down the gradient of the validation loss at the current weights, the weights that of the training loss.

    Defaults, from section 3.1 there: 50 epochs, batches of 64; weights: SGD, momentum 0.9, learning rate 0.025 to 0.001
    by a cosine, weight decay 3e-4, gradients clipped at norm 5; alpha: Adam, learning rate 3e-4, betas (0.5, 0.999),
    weight decay 1e-3.
    """
