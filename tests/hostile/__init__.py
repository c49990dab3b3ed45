"""Programs that somebody else wrote to break sandboxes, run in a jail and watched from outside.

`programs` says what each may come to, `jail` and `inside` build the scene that their heads ask for,
`watch` looks at it before and after, `optimizer` runs them in one of three ways, `matrix` puts it
together, and `table` writes it down.
"""
