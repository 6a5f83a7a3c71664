"""
`doctor`: what is set up right, what is not, and what to do about it.

Each check is a function that gives findings and changes nothing. None prints a value that may be a secret.
"""
