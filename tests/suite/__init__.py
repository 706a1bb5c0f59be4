"""How the tests run: which, in which order, on which worker, and what is told of them (CONTRIBUTING.md).

``plugin`` is what pytest calls; ``selection`` picks tests, ``order`` deals them out, ``alone`` keeps others away from
some, ``events`` counts boots, ``outcomes`` holds what became of each, ``progress`` and ``summary`` tell a person.
"""
