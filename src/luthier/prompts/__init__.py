"""Templates, shots, and the rendering of examples as prompts and tokens."""

from luthier.prompts.prompt import Prompt
from luthier.prompts.render import PromptRenderer
from luthier.prompts.shots import choose_shots, with_shots
from luthier.prompts.tokens import Tokenizer
from luthier.prompts.training_example import TrainingExample

__all__ = [
    "Prompt",
    "PromptRenderer",
    "Tokenizer",
    "TrainingExample",
    "choose_shots",
    "with_shots",
]
