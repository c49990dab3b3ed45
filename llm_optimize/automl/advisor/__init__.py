"""The advisor: models and hyperparameters for a table of data, recommended in one call.

describe        a data set as metadata
support         the past tasks that are like it; those of your own runs, too
recommend       configurations, by a model or by past tasks alone
space           the space of all configurations, for `optimize.run(space=...)`

grids, library, similar             what can be chosen, and what is known of past tasks
prompts, answer, recommend          what a model is asked, and how its answer is read
portfolio                           recommendations without a model
generate                            the command `generate-models`
flags, ledger, asking               options of commands; replies on disk; calls in a budget
synthetic/                          the ridge experiment
"""
