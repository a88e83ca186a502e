"""What `--model` may name: a model of the package or of an index, a file, or a folder."""

from pathlib import Path

from dtir.apis.models.files import SUFFIX
from dtir.apis.models.graph_names import backend_of
from dtir.apis.models.index import fetch, listed_models
from dtir.core.assets import ASSETS
from dtir.core.checkpoint_files import check_checkpoint_file, find_last_checkpoint, local_path
from dtir.core.errors import CheckpointError
from dtir.core.names import did_you_mean

PACKAGED = ASSETS / "models"
# What restores when no model is named.
DEFAULT_MODEL = "universal"
# The file of a model in a folder that `save_pretrained` wrote, as on the Hugging Face hub.
FOLDER_FILE = "model" + SUFFIX


def packaged_models(folder: Path = PACKAGED) -> dict[str, Path]:
    """The model files that were installed with dtir, by name."""
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def find_model(model: str | Path | None = None, folder: Path = PACKAGED) -> Path:
    """The file of a model.

    Args:
        model: Name of a model of the package or of an index (see `dtir.apis.models.index`), a file (.safetensors, a
            checkpoint of a training, or what `dtir export` wrote), or a folder (written by `save_pretrained`, or the
            work folder of a training, whose newest checkpoint is taken); None is `DEFAULT_MODEL`.
        folder: Folder of the models of the package.

    Raises:
        CheckpointError: There is none; the message names those there are. Or it is a URL, or a file that cannot be a
            checkpoint.
    """
    if model is None:
        return _named(DEFAULT_MODEL, folder)
    path = local_path(model)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file() and backend_of(path):
        return path
    if path.is_file():
        return check_checkpoint_file(path)
    if isinstance(model, Path) or path.suffix or len(path.parts) > 1:
        raise CheckpointError(f"no model or checkpoint at '{model}'; check the path.")
    return _named(str(model), folder)


def _named(name: str, folder: Path) -> Path:
    models = packaged_models(folder)
    if name in models:
        return models[name]
    listed = listed_models()
    if name in listed:
        return fetch(listed[name])
    models |= dict.fromkeys(listed)
    if not models:
        raise CheckpointError(
            f"the model '{name}' is not there: this installation of dtir holds no model ({folder} has no {SUFFIX} "
            "file). Name one of your own: --model FILE, a checkpoint of a training for example."
        )
    raise CheckpointError(
        f"no model '{name}', and no file or folder of that name.{did_you_mean(name, models)} Known models: "
        f"{', '.join(models)} (dtir models lists them)."
    )


def _in_folder(folder: Path) -> Path:
    if (folder / FOLDER_FILE).is_file():
        return folder / FOLDER_FILE
    found = find_last_checkpoint(folder)
    if found is None:
        raise CheckpointError(
            f"the folder '{folder}' holds neither {FOLDER_FILE} nor last_checkpoint, the mark of a training's work "
            "folder; name the file itself."
        )
    return found
