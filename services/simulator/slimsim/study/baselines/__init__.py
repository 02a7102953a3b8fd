"""What the controller is compared with: the policies of the literature, driven in the same way."""

from slimsim.study.baselines.baseline import Baseline, Terms
from slimsim.study.baselines.bola import Bola
from slimsim.study.baselines.delay_gradient import DelayGradient
from slimsim.study.baselines.fixed import FixedPoint
from slimsim.study.baselines.rate_based import RateBased
from slimsim.study.baselines.robust_mpc import RobustMpc

__all__ = ["Baseline", "Bola", "DelayGradient", "FixedPoint", "RateBased", "RobustMpc", "Terms"]
