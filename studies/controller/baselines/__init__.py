"""What the controller is compared with: the policies of the literature, driven in the same way."""

from studies.controller.baselines.baseline import Baseline, Terms
from studies.controller.baselines.bola import Bola
from studies.controller.baselines.delay_gradient import DelayGradient
from studies.controller.baselines.fixed import FixedPoint
from studies.controller.baselines.rate_based import RateBased
from studies.controller.baselines.robust_mpc import RobustMpc

__all__ = ["Baseline", "Bola", "DelayGradient", "FixedPoint", "RateBased", "RobustMpc", "Terms"]
