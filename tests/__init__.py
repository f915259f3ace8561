"""A package, so that `tests.promises` is this one's whatever an installed package calls its own."""
