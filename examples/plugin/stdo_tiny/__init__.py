"""An example plugin of stdo.

stdo imports this package before it reads its configuration. What a run needs is imported later, by
the names in ``conf/``, so that ``--help`` stays quick: import no torch here.
"""
