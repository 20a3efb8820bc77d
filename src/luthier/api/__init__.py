"""The stages as Python functions, one file each: the commands, for scripts and notebooks.

A configuration is a `RunConfig`, the path of a YAML file, or None for the defaults; ``overrides``
changes single values by their dotted key::

    import luthier

    result = luthier.adapt(overrides={"adapt.rungs": ["zero-shot", "lora"]})
    print(result.ladder.recommendation.sentence)
"""

from luthier.core.notebook import ignore_missing_widgets, in_notebook

if in_notebook():  # before anything imports tqdm
    ignore_missing_widgets()
