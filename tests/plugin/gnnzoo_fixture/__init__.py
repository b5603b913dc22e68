"""A plug-in of gnnzoo: one of everything that a plug-in can bring, as small as it can be. Copy it to start your own.

``configs/`` is laid out like gnnzoo's. Whoever installs the package finds its models, datasets and strategies by name,
because its ``pyproject.toml`` (here: the ``dist-info`` beside this folder) has the entry point::

    [project.entry-points."gnnzoo.plugins"]
    fixture = "gnnzoo_fixture"
"""
