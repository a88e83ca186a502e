"""The page of `dtir app`: pictures restored in a browser, by the same code as `dtir restore`.

`pictures`, `visit`, `address` and `workplace` need no Gradio; `page` and `server` import it.
"""

from dtir.core.errors import ConfigError


def require_gradio() -> None:
    """Checks for the library of the page.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"the page needs the extra 'app' ({error}): pip install 'dtir[app]'.") from error
