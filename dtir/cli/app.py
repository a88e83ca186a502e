"""`dtir app`: a page on this machine that restores pictures in a browser."""

import argparse

from dtir.cli.restore import add_model_argument, add_network_arguments, build_inferencer

HELP = "restore pictures on a page in the browser"
DESCRIPTION = (
    "Serves a page that restores pictures: drop them, compare before and after, paint over what is missing, download. "
    "What it writes is what dtir restore writes. Pictures stay on this machine, nothing is loaded from elsewhere, and "
    "only this machine reaches the page unless --host says otherwise."
)
_LOCAL = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir app`."""
    add_model_argument(parser)
    page = parser.add_argument_group("page")
    page.add_argument(
        "--host", default=_LOCAL[0], metavar="NAME", help="address to serve on; 0.0.0.0 is all of them (127.0.0.1)"
    )
    page.add_argument("--port", type=int, default=7860, metavar="N", help="port to serve on, 0 for any (7860)")
    page.add_argument("--open", action="store_true", help="open the page in the browser of this machine")
    page.add_argument(
        "--max-megapixels", type=float, default=100, metavar="N", help="pixels of a picture at most, in millions (100)"
    )
    page.add_argument("--max-mb", type=float, default=200, metavar="N", help="size of a file at most, in MB (200)")
    add_network_arguments(parser.add_argument_group("network"))


def run(args: argparse.Namespace) -> int:
    """Runs `dtir app` until it is interrupted; returns 0.

    Raises:
        ConfigError: The page cannot be served at this address, a limit is no size, or Gradio is not installed.
    """
    from dtir.apis.models.names import find_model
    from dtir.app import require_gradio
    from dtir.app.address import listen
    from dtir.app.pictures import Limits

    # Said before anything heavy is imported.
    model = find_model(args.model)
    limits = Limits(args.max_megapixels, args.max_mb)
    with listen(args.host, args.port) as address:
        require_gradio()
        from dtir.app.server import serve

        if args.host not in _LOCAL:
            print(f"Whoever reaches {args.host} may use this page: it asks for no password.")
        serve(build_inferencer(model, args), address, limits, args.open)
    return 0
