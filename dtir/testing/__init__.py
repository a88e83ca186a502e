"""Small models that tests and downstream users share; import it to register them."""

from .models import TinyBackbone

__all__ = ["TinyBackbone"]
