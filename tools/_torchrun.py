"""torchrun, less its traceback where the script has told the user what to mend, or the user has stopped it."""

import os
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

from dtir.cli import EXIT_ERROR
from dtir.cli.launching import end_with_parent


def run() -> int:
    """Runs torchrun with the arguments of the command line; returns the exit code."""
    if os.environ.get("DTIR_END_WITH_PARENT"):
        end_with_parent()
    try:
        main()
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        if failure.exitcode == EXIT_ERROR:
            return EXIT_ERROR
        raise
    except SignalException as stop:
        return 128 + int(stop.sigval)
    return 0


if __name__ == "__main__":
    sys.exit(run())
