"""Refusals of one option each, as endpoints were reported to write them."""


def body(message, **more):
    return {"error": {"message": message, **more}}


EVERYTHING = {
    "temperature": 0.7,
    "top_p": 0.9,
    "max_tokens": 500,
    "reasoning_effort": "minimal",
    "seed": 1,
    "stop": ["END"],
}
LEFT_OUT = object()
WORDINGS = [  # status, body, option, what it is afterwards
    (
        400,
        body("Unrecognized request argument supplied: reasoning_effort"),
        "reasoning_effort",
        LEFT_OUT,
    ),
    (400, body("Unsupported parameter: 'seed'", param="seed"), "seed", LEFT_OUT),
    (400, body("property 'seed' is unsupported"), "seed", LEFT_OUT),
    (400, body("seed: Extra inputs are not permitted"), "seed", LEFT_OUT),
    (
        422,
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "seed"],
                    "msg": "Extra inputs are not permitted",
                }
            ]
        },
        "seed",
        LEFT_OUT,
    ),
    (
        400,
        body('Extra inputs are not permitted, field: "stop", value: ["END"]'),
        "stop",
        LEFT_OUT,
    ),
    (
        400,
        {"code": "invalid", "error": "Argument not supported on this model: stop"},
        "stop",
        LEFT_OUT,
    ),
    (
        400,
        {
            "code": "invalid",
            "error": "Argument not supported on this model: reasoningEffort",
        },
        "reasoning_effort",
        LEFT_OUT,
    ),
    (400, body("`temperature` is deprecated for this model."), "temperature", LEFT_OUT),
    (
        400,
        body(
            "litellm.UnsupportedParamsError: m doesn't support temperature=0.7 while "
            "reasoning is active"
        ),
        "temperature",
        LEFT_OUT,
    ),
    (
        400,
        body("temperature: range: 0..0.5", type="invalid_request_error"),
        "temperature",
        0.5,
    ),
    (
        400,
        body(
            "Invalid 'temperature': decimal above maximum value. "
            "Expected a value <= 0.5, but got 0.7.",
            param="temperature",
        ),
        "temperature",
        0.5,
    ),
    (400, body("top_p and temperature cannot both be set"), "top_p", LEFT_OUT),
    (
        400,
        body("temperature and top_p cannot both be specified for this model"),
        "top_p",
        LEFT_OUT,
    ),
    (
        400,
        body(
            "Unsupported value: 'reasoning_effort' does not support 'minimal'. "
            "Supported values are: 'low', 'medium', and 'high'."
        ),
        "reasoning_effort",
        "low",
    ),
    (
        400,
        body("`reasoning_effort` must be one of `none` or `default`"),
        "reasoning_effort",
        "default",
    ),
    (
        400,
        body('think value "minimal" is not supported for this model'),
        "reasoning_effort",
        LEFT_OUT,
    ),
    (
        400,
        body(
            "max_tokens is too large: 500. This model supports at most 100 completion tokens"
        ),
        "max_tokens",
        100,
    ),
    (
        400,
        {"error": "max_tokens must be less than or equal to `400`"},
        "max_tokens",
        400,
    ),
    (
        400,
        [
            body(
                'Invalid JSON payload received. Unknown name "top_p": Cannot find field.'
            )
        ],
        "top_p",
        LEFT_OUT,
    ),
    (
        400,
        body(
            "Provider returned error",
            metadata={"raw": '{"error":{"message":"Unknown parameter: \'top_p\'."}}'},
        ),
        "top_p",
        LEFT_OUT,
    ),
]
