"""Parts of :mod:`gnnzoo.runner.tune`: the space, the study's storage, the search, the finalists, the plots."""
