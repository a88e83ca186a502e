"""Evaluates a checkpoint on the test data of its config; the same as `dtir test CONFIG CHECKPOINT`."""

from dtir.cli.main import main_of_a_tool

if __name__ == "__main__":
    main_of_a_tool("test")
