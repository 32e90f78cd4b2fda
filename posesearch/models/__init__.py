"""Static networks: one `PoseModel` for each architecture, and what it costs."""

from posesearch.models.cost import Cost, cost, macs_of
from posesearch.models.deploy import deployed
from posesearch.models.heads import PoseOutput
from posesearch.models.pose import PoseModel
from posesearch.models.published import load_published, to_published

__all__ = [
    "Cost",
    "PoseModel",
    "PoseOutput",
    "cost",
    "deployed",
    "load_published",
    "macs_of",
    "to_published",
]
