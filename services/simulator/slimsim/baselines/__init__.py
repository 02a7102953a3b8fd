"""What the controller is compared with: the policies of the literature, driven in the same way."""

from slimsim.baselines.baseline import Baseline, Terms
from slimsim.baselines.bola import Bola
from slimsim.baselines.delay_gradient import DelayGradient
from slimsim.baselines.fixed import FixedPoint
from slimsim.baselines.rate_based import RateBased
from slimsim.baselines.robust_mpc import RobustMpc

__all__ = ["Baseline", "Bola", "DelayGradient", "FixedPoint", "RateBased", "RobustMpc", "Terms"]
