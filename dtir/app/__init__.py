"""The page of `dtir app`: pictures restored in a browser, by the same code as `dtir restore`.

`pictures`, `visit`, `address` and `workplace` need no Gradio; `page` and `server` import it.
"""

from dtir.core.extras import needs_extra


def require_gradio() -> None:
    """Checks for the library of the page.

    Raises:
        MissingExtraError: It is not installed.
    """
    with needs_extra("the page", "app"):
        import gradio  # noqa: F401
