"""Errors a user meets: each message names the file, key or value, what was expected, and what to do."""


class DtirError(Exception):
    """Base of the errors that are the user's to mend; the command line prints them without a traceback."""


class ConfigError(DtirError):
    """A config has an unknown or missing key, or a value that cannot be used."""


class ImageFileError(DtirError):
    """A picture cannot be read or written."""


class DatasetError(DtirError):
    """A dataset folder is missing, empty, or its pairs do not match."""


class CheckpointError(DtirError):
    """A checkpoint cannot be read safely, is damaged, or belongs to another model."""


class TaskError(DtirError):
    """A task (kind of degradation) is not known."""


class LibraryError(DtirError):
    """A library that dtir needs is not there or cannot be loaded."""


class MissingExtraError(ConfigError, LibraryError):
    """What is asked for needs a library of an extra that is not installed."""


class PromptError(DtirError):
    """What a prompt asks for was not understood, or cannot be done."""
