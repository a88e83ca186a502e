"""torchrun, less its traceback where the trained script has already told the user what to mend."""

import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

USER_ERROR = 2


def run() -> int:
    """Runs torchrun with the arguments of the command line; returns the exit code."""
    try:
        main()
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        if failure.exitcode == USER_ERROR:
            return USER_ERROR
        raise
    return 0


if __name__ == "__main__":
    sys.exit(run())
