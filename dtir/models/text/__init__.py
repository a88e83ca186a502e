"""What reads words: sentence encoders, and the head of InstructIR that its network listens to."""

from .encoders import EmbeddingFile, SentenceTransformersEncoder, TextEncoder, TransformersEncoder, find_text_encoder
from .instruction_head import InstructionHead

__all__ = [
    "EmbeddingFile",
    "InstructionHead",
    "SentenceTransformersEncoder",
    "TextEncoder",
    "TransformersEncoder",
    "find_text_encoder",
]
