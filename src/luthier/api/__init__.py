"""The stages as Python functions, one file each: the commands, for scripts and notebooks.

A configuration is a `RunConfig`, the path of a YAML file, or None for the defaults; ``overrides``
changes single values by their dotted key::

    import luthier

    result = luthier.adapt(overrides={"adapt.rungs": ["zero-shot", "lora"]})
    print(result.ladder.recommendation.sentence)
"""
