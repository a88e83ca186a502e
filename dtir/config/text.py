"""A config's text, which a run writes in many places."""

from mmengine.config import Config


class FormattedOnce(Config):
    """A config that keeps its text until it changes.

    A run shows its config in the log, in its folder and in every checkpoint; to format it takes longer than many a
    step.
    """

    @classmethod
    def of(cls, config: Config) -> "FormattedOnce":
        """The same config, its values shared."""
        kept = cls.__new__(cls)
        kept.__setstate__(config.__getstate__())
        return kept

    @property
    def pretty_text(self) -> str:
        """The config as Python."""
        content = repr(self.to_dict())
        # Past mmengine's own __setattr__, by which it would be a key of the config.
        before, text = self.__dict__.get("_formatted", (None, ""))
        if content != before:
            text = super().pretty_text
            self.__dict__["_formatted"] = (content, text)
        return text
