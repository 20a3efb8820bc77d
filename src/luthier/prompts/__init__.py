"""Templates, worked examples, and the way from an example to tokens."""

from luthier.prompts.library import library_templates, load_template
from luthier.prompts.prompt import Prompt
from luthier.prompts.render import PromptRenderer
from luthier.prompts.shots import choose_shots, with_shots
from luthier.prompts.template import Template
from luthier.prompts.tokens import Tokenizer
from luthier.prompts.training_example import TrainingExample

__all__ = [
    "Prompt",
    "PromptRenderer",
    "Template",
    "Tokenizer",
    "TrainingExample",
    "choose_shots",
    "library_templates",
    "load_template",
    "with_shots",
]
