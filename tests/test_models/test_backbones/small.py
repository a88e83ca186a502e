from dtir.testing.small_backbones import SMALL  # noqa: F401
