"""Embeddings of the tasks, for networks that are conditioned on them."""

from mmengine.hooks import Hook
from safetensors.torch import load_file

from dtir.core.errors import ConfigError
from dtir.models import DACLIPRestorer
from dtir.registry import HOOKS


@HOOKS.register_module()
class TaskContextsHook(Hook):
    """Reads the embeddings of the tasks into a `DACLIPRestorer` when its training starts.

    Args:
        file: A safetensors file of `text` and `image`, each (tasks, context_dim), in the order of the model's tasks.

    Raises:
        ConfigError: The model takes no embeddings, or the file lacks them or has others.
    """

    priority = "HIGH"

    def __init__(self, file: str) -> None:
        self.file = file

    def before_train(self, runner) -> None:
        """Fills the model's buffers."""
        model = runner.model
        if not isinstance(model, DACLIPRestorer):
            raise ConfigError(f"TaskContextsHook: {type(model).__name__} takes no embeddings of tasks.")
        try:
            contexts = load_file(self.file)
        except OSError as error:
            raise ConfigError(f"TaskContextsHook: file='{self.file}' cannot be read: {error}.") from error
        for name, buffer in (("text", model.text_context), ("image", model.image_context)):
            found = tuple(contexts[name].shape) if name in contexts else "nothing"
            if found != tuple(buffer.shape):
                raise ConfigError(
                    f"TaskContextsHook: '{self.file}' must hold '{name}' of shape {tuple(buffer.shape)}, a row for "
                    f"each of the tasks {', '.join(model.tasks)}; found {found}."
                )
            buffer.copy_(contexts[name])
