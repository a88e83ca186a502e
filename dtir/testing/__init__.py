"""Small models that tests and downstream users share, and checks of one's own parts; import it to register them."""

from .contracts import ContractError, check_backbone, check_operator, check_scheduler
from .models import TinyBackbone

__all__ = ["ContractError", "TinyBackbone", "check_backbone", "check_operator", "check_scheduler"]
