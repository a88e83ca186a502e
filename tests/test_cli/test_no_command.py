"""`dtir` without a command."""

import subprocess
import sys

from dtir.cli import main
from dtir.cli.main import COMMANDS


def test_it_lists_the_commands(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("    ") and line.split()[0] in COMMANDS] == [*COMMANDS]


def test_the_package_runs_as_the_command_does():
    done = subprocess.run([sys.executable, "-m", "dtir", "configs", "nowhere"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "No config has all of: nowhere.\n")
