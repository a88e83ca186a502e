"""Words to wishes: what a prompt asks to be done to a picture, in plain terms of several languages."""

from .parser import EXAMPLES, Asked, Request, parse

__all__ = ["EXAMPLES", "Asked", "Request", "parse"]
