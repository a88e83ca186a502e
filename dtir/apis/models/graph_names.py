"""How files of other runtimes are called, and who runs them; without importing any."""

from pathlib import Path

from dtir.core.errors import CheckpointError, ConfigError

# By what the file is to be, its ending.
SUFFIXES = {"onnx": ".onnx", "torchscript": ".torchscript", "openvino": ".xml"}
# By who runs it, the endings of the files that it reads. OpenVINO reads ONNX too.
BACKENDS = {"onnxruntime": (".onnx",), "openvino": (".xml", ".onnx")}


def backend_of(path: str | Path) -> str | None:
    """Who runs a file by default, told by its ending; None for a file that PyTorch reads."""
    return next((name for name, endings in BACKENDS.items() if Path(path).suffix.lower() == endings[0]), None)


def chosen_backend(path: Path, backend: str | None) -> str | None:
    """Who runs a model: what is asked for, or what its ending tells; None for PyTorch.

    Raises:
        ConfigError: The backend is not known, or does not read such files.
    """
    if backend in (None, "torch"):
        by_ending = backend_of(path)
        if backend and by_ending:
            raise ConfigError(f"'{path}' is an exported model, which {by_ending} runs; leave out the backend.")
        return by_ending
    if backend not in BACKENDS:
        raise ConfigError(f"backend '{backend}' is not known; use one of torch, {', '.join(BACKENDS)}.")
    if path.suffix.lower() not in BACKENDS[backend]:
        kind = "onnx" if backend == "onnxruntime" else "openvino"
        raise ConfigError(
            f"{backend} runs exported models ({', '.join(BACKENDS[backend])}), and '{path}' is none. Make one: "
            f"dtir export --model {path} --to {kind} {path.stem}{BACKENDS[backend][0]}"
        )
    return backend


def refuse_exported(path: Path) -> None:
    """Raises CheckpointError for a file that PyTorch does not read: an exported model."""
    if path.suffix.lower() in (*SUFFIXES.values(), *(ending for endings in BACKENDS.values() for ending in endings)):
        raise CheckpointError(
            f"'{path}' is a model that was exported for another runtime; that can restore pictures and nothing else. "
            "Name the model file or checkpoint that it was made from."
        )
