"""Models in the layout of the Hugging Face hub: a folder of `model.safetensors`, `config.json` and `README.md`."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from dtir.apis.models.files import ModelFacts, write_model_file
from dtir.apis.models.names import FOLDER_FILE, find_model
from dtir.core.atomic import atomic_write
from dtir.core.errors import CheckpointError
from dtir.core.extras import needs_extra

if TYPE_CHECKING:
    from dtir.models import Restorer


def find_pretrained(place: str | Path, revision: str | None = None) -> Path:
    """The model file of a folder, or of a repository OWNER/NAME, which is downloaded once and kept.

    Raises:
        CheckpointError: There is none, or the hub cannot be reached.
        MissingExtraError: `huggingface_hub` is not installed.
    """
    if Path(place).exists():
        return find_model(Path(place))
    with needs_extra(f"'{place}' is no folder, and reading it from the Hugging Face hub", "hub"):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    try:
        return Path(hf_hub_download(str(place), FOLDER_FILE, revision=revision, library_name="dtir"))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"no model '{place}': it is no folder, and the hub says: {reason}") from error


def write_pretrained(
    folder: str | Path, restorer: "Restorer", name: str | None = None, description: str = "", licence: str = ""
) -> Path:
    """Writes the folder, see `RestorationInferencer.save_pretrained`; returns it."""
    folder = Path(folder)
    facts = write_model_file(folder / FOLDER_FILE, restorer, name or folder.name, description, licence)
    with atomic_write(folder / "config.json", "w", encoding="utf-8") as file:
        json.dump({"library_name": "dtir", **dataclasses.asdict(facts)}, file, indent=2)
    with atomic_write(folder / "README.md", "w", encoding="utf-8") as file:
        file.write(_card(facts))
    return folder


def _card(facts: ModelFacts) -> str:
    licence = [f"license: {facts.licence.lower()}"] if facts.licence else []
    head = [
        "---",
        "library_name: dtir",
        "pipeline_tag: image-to-image",
        *licence,
        "tags:",
        "- image-restoration",
        "---",
    ]
    body = f"""
# {facts.name}

{facts.description}

{facts.parameters / 1e6:.2f} M parameters. Restores: {", ".join(facts.damages)}.

```python
from dtir import RestorationInferencer

restored = RestorationInferencer.from_pretrained("OWNER/NAME")("photo.jpg")
```
"""
    return "\n".join(head) + "\n" + body
