"""What examples can be."""

import pytest

from llm_optimize.errors import UsageError
from llm_optimize.evaluate import (
    Examples,
)

# What examples can be.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((None,), "train is None"),
        (([],), "train is empty"),
        (("text",), "train is a str"),
        (({"a": 1},), "train is a dict"),
        ((iter([1]),), "train is a list_iterator"),
        (([1], []), "val is empty"),
        (([1], None, 3), "test is a int"),
        (([1], None, None, 0), "minibatch is 0"),
        (([1], None, None, True), "minibatch is True"),
    ],
)
def test_what_is_no_example_is_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        Examples(*arguments)
