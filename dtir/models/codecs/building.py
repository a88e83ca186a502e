"""Codecs from their configs."""

from dtir.core.errors import ConfigError
from dtir.registry import CODECS

from .base import Codec

# By which a codec without settings may be named in place of a config.
NAMES = ("image", "centred")


def build_codec(codec: str | dict | None, domain: str | None) -> Codec:
    """The codec of a restorer.

    Args:
        codec: Name of a codec without settings, or config; None for "centred".
        domain: Its name as configs called it before there were others.

    Raises:
        ConfigError: Both are given, or a name is not known.
    """
    if codec is not None and domain is not None:
        raise ConfigError(f"model.domain='{domain}' is the earlier name of model.codec; leave it out.")
    key, value = ("codec", codec) if domain is None else ("domain", domain)
    value = "centred" if value is None else value
    if isinstance(value, str):
        if value not in NAMES:
            raise ConfigError(
                f"model.{key}='{value}'; expected one of {', '.join(NAMES)}, or a config such as "
                "dict(type='AutoencoderKL', weights='kl-f8.ckpt')."
            )
        value = {"type": value}
    return CODECS.build(value)
