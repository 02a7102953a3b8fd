"""Which (level, quality) the next frame gets, or none: the controller and its beliefs.

Pure: no clock, no I/O, no threads. The edge drives it over real
links, the simulator over recorded ones.
"""

from slimcontrol.budget import NO_BUDGET, Budget, BudgetAccount, BudgetView
from slimcontrol.controller import Controller
from slimcontrol.errors import ControlError
from slimcontrol.link import NO_LINK, LinkView, SentFrame
from slimcontrol.point import OperatingPoint, build_operating_points, restrict_points
from slimcontrol.policy import Decision, Offer, Policy, Verdict, WaitReason

__all__ = [
    "Budget",
    "BudgetAccount",
    "BudgetView",
    "ControlError",
    "Controller",
    "Decision",
    "LinkView",
    "NO_BUDGET",
    "NO_LINK",
    "Offer",
    "OperatingPoint",
    "Policy",
    "SentFrame",
    "Verdict",
    "WaitReason",
    "build_operating_points",
    "restrict_points",
]
