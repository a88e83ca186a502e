"""Networks as files of other runtimes: written as ONNX, TorchScript or OpenVINO, run by ONNX Runtime or OpenVINO.

A graph takes and gives arrays whose batch, height and width may be of any size. Beside it the file holds facts, JSON by
key: ONNX in `metadata_props`, TorchScript in the extra file `dtir.json`, OpenVINO in the `rt_info` of the model.
"""

import contextlib
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dtir.apis.models.graph_names import BACKENDS
from dtir.core.digests import file_sha256
from dtir.core.errors import CheckpointError, ConfigError
from dtir.core.extras import needs_extra

FORMAT = "dtir-export-1"
TORCHSCRIPT_FACTS = "dtir.json"
# Key of OpenVINO's facts, and of the checksum of the weights, which lie in a file of their own.
RT_INFO, WEIGHTS_SHA256 = "dtir", "weights_sha256"
OPSET = 18
STDOUT = 1
OPENVINO_TYPES = {"float32": "f32", "bf16": "bf16"}

Run = Callable[..., list[np.ndarray]]


class Graph(NamedTuple):
    """What a file holds.

    Attributes:
        facts: See the module.
        run: Maps arrays, in the order of the graph's inputs, to its outputs, in float32.
    """

    facts: dict[str, object]
    run: Run


class Signature(NamedTuple):
    """Names of a graph's inputs and of its outputs, and which axes of each input may be of any size, by number."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: tuple[dict[int, str], ...]


def write_graph(
    path: Path, kind: str, network: nn.Module, examples: Sequence[Tensor], signature: Signature, facts: Mapping
) -> None:
    """Writes a network that is traced with example inputs.

    Args:
        path: The file; OpenVINO writes another beside it, which ends in .bin.
        kind: A key of `graph_names.SUFFIXES`.
        network: In eval mode, on the CPU.
        examples: Inputs whose free axes have sizes that no code takes for a constant.
        signature: Names of inputs and outputs.
        facts: Plain values by key.

    Raises:
        ConfigError: A package is missing, or the network cannot be written as such a graph.
    """
    texts = {"format": FORMAT, **{key: json.dumps(value) for key, value in facts.items()}}
    write = {"onnx": _write_onnx, "torchscript": _write_torchscript, "openvino": _write_openvino}[kind]
    with torch.no_grad(), _quiet():
        write(path, network, tuple(examples), signature, texts)


def _traced(network: nn.Module, examples: tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    try:
        # What is traced is compared with the network afterwards, and on other sizes.
        return torch.jit.trace(network, examples, check_trace=False)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"this network cannot be exported: tracing it failed ({_first_line(error)}).") from error


def _write_onnx(
    path: Path, network: nn.Module, examples: tuple, signature: Signature, texts: Mapping[str, str]
) -> None:
    onnx = _package("onnx", "onnx")
    axes = dict(zip(signature.inputs, signature.axes, strict=True))
    buffer = io.BytesIO()
    try:
        torch.onnx.export(
            network,
            examples,
            buffer,
            input_names=list(signature.inputs),
            output_names=list(signature.outputs),
            dynamic_axes={**axes, **dict.fromkeys(signature.outputs, axes[signature.inputs[0]])},
            opset_version=OPSET,
            # A trace knows which sizes the code computes with, and takes a fortieth of the time of a symbolic export.
            dynamo=False,
        )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise ConfigError(f"this network cannot be exported to ONNX: {_first_line(error)}") from error
    model = onnx.load_model_from_string(buffer.getvalue())
    model.producer_name = "dtir"
    onnx.helper.set_model_props(model, dict(texts))
    path.write_bytes(model.SerializeToString())


def _write_torchscript(
    path: Path, network: nn.Module, examples: tuple, signature: Signature, texts: Mapping[str, str]
) -> None:
    torch.jit.save(_traced(network, examples), str(path), _extra_files={TORCHSCRIPT_FACTS: json.dumps(dict(texts))})


def _write_openvino(
    path: Path, network: nn.Module, examples: tuple, signature: Signature, texts: Mapping[str, str]
) -> None:
    openvino, traced = _package("openvino", "openvino"), _traced(network, examples)
    try:
        model = openvino.convert_model(traced, example_input=examples)
    except Exception as error:
        # What its front end raises has no class of its own.
        raise ConfigError(f"this network cannot be exported to OpenVINO: {_first_line(error)}") from error
    for port, name, axes, example in zip(model.inputs, signature.inputs, signature.axes, examples, strict=True):
        port.get_tensor().set_names({name})
        shape = [-1 if axis in axes else size for axis, size in enumerate(example.shape)]
        port.get_node().set_partial_shape(openvino.PartialShape(shape))
    for port, name in zip(model.outputs, signature.outputs, strict=True):
        port.get_tensor().set_names({name})
    model.validate_nodes_and_infer_types()
    for key, text in texts.items():
        model.set_rt_info(text, [RT_INFO, key])
    openvino.save_model(model, str(path), compress_to_fp16=False)
    # The weights are a file of their own: the graph says which.
    model.set_rt_info(file_sha256(weights_beside(path)), [RT_INFO, WEIGHTS_SHA256])
    openvino.save_model(model, str(path), compress_to_fp16=False)


def weights_beside(path: Path) -> Path:
    """The file of an OpenVINO model's weights."""
    return path.with_suffix(".bin")


def open_graph(path: Path, backend: str, precision: str = "float32") -> Graph:
    """Opens a file that `dtir export` wrote.

    Args:
        path: The file.
        backend: A key of `graph_names.BACKENDS`.
        precision: "float32"; OpenVINO also computes in "bf16".

    Raises:
        CheckpointError: It is missing, damaged, or was written by another program.
        ConfigError: A package is missing, or the backend does not read such files or compute in this precision.
    """
    if path.suffix.lower() not in BACKENDS[backend]:
        raise ConfigError(f"'{path}': {backend} reads files that end in {' or '.join(BACKENDS[backend])}.")
    if not path.is_file():
        raise CheckpointError(f"no model at '{path}'; check the path.")
    return {"onnxruntime": _open_onnxruntime, "openvino": _open_openvino}[backend](path, precision)


def _open_onnxruntime(path: Path, precision: str) -> Graph:
    runtime = _package("onnxruntime", "onnx")
    if precision != "float32":
        raise ConfigError(f"ONNX Runtime computes in float32 here, not in {precision}; leave out the precision.")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    # Memory is given back between pictures of other sizes.
    options.enable_cpu_mem_arena = False
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # Its errors share no class of their own.
        raise CheckpointError(f"'{path}' is damaged or no ONNX model: {_first_line(error)}") from error
    names = [each.name for each in session.get_inputs()]

    def run(*arrays: np.ndarray) -> list[np.ndarray]:
        with _lack_of_memory():
            return session.run(None, dict(zip(names, arrays, strict=True)))

    return Graph(_facts(path, session.get_modelmeta().custom_metadata_map), run)


def _open_openvino(path: Path, precision: str) -> Graph:
    openvino = _package("openvino", "openvino")
    if precision not in OPENVINO_TYPES:
        raise ConfigError(f"OpenVINO computes in {' or '.join(OPENVINO_TYPES)} here, not in {precision}.")
    core = openvino.Core()
    try:
        model = core.read_model(str(path))
    except RuntimeError as error:
        raise CheckpointError(f"'{path}' is damaged or no model of OpenVINO: {_first_line(error)}") from error
    facts = _openvino_facts(path, model)
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": OPENVINO_TYPES[precision], **threads})
    request = compiled.create_infer_request()

    def run(*arrays: np.ndarray) -> list[np.ndarray]:
        with _lack_of_memory():
            return [np.array(each, dtype=np.float32) for each in request.infer(list(arrays)).values()]

    return Graph(facts, run)


def _openvino_facts(path: Path, model) -> dict[str, object]:
    if path.suffix.lower() == ".onnx":
        # Where OpenVINO keeps what ONNX says of itself.
        return _facts(path, _rt_info(model, "framework"))
    info = _rt_info(model, RT_INFO)
    weights = weights_beside(path)
    if WEIGHTS_SHA256 in info and info.pop(WEIGHTS_SHA256) != file_sha256(weights):
        raise CheckpointError(f"'{weights}' is not the file of weights that '{path}' was written with; export again.")
    return _facts(path, info)


def _rt_info(model, place: str) -> dict[str, str]:
    if not model.has_rt_info([place]):
        return {}
    # A single entry is an object that holds its text, one of several is the text.
    return {key: str(getattr(value, "value", value)) for key, value in model.get_rt_info([place]).value.items()}


def torchscript_graph(path: Path) -> Graph:
    """Opens a TorchScript file that was written here just now; one from elsewhere would be a program to run."""
    extra = {TORCHSCRIPT_FACTS: ""}
    module = torch.jit.load(str(path), _extra_files=extra)

    def run(*arrays: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            made = module(*map(torch.from_numpy, arrays))
        return [each.numpy() for each in (made if isinstance(made, tuple) else (made,))]

    return Graph(_facts(path, json.loads(extra[TORCHSCRIPT_FACTS])), run)


def _facts(path: Path, texts: Mapping[str, str]) -> dict[str, object]:
    if texts.get("format") != FORMAT:
        raise CheckpointError(
            f"'{path}' does not say what it restores (format={FORMAT}): it was not written by dtir export."
        )
    try:
        return {key: json.loads(text) for key, text in texts.items() if key != "format"}
    except json.JSONDecodeError as error:
        raise CheckpointError(f"'{path}': what it says of itself is damaged ({error}).") from error


def _package(name: str, extra: str) -> ModuleType:
    with needs_extra("an exported network", extra):
        return import_module(name)


@contextlib.contextmanager
def _lack_of_memory() -> Iterator[None]:
    """Turns what these runtimes say of too little memory into the MemoryError that smaller tiles follow."""
    try:
        yield
    except Exception as error:
        if "alloc" in str(error).lower():
            raise MemoryError(_first_line(error)) from error
        raise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A context without the tracer's warnings of Python values: the comparison on other sizes finds what they fear.

    The exporter prints the whole graph of what it refuses, from C++, past `sys.stdout`.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    sys.stdout.flush()
    kept = os.dup(STDOUT)
    try:
        with warnings.catch_warnings(), open(os.devnull, "wb") as nothing:
            warnings.simplefilter("ignore")
            os.dup2(nothing.fileno(), STDOUT)
            yield
    finally:
        os.dup2(kept, STDOUT)
        os.close(kept)
        logging.disable(level)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
