"""The ridge experiment: does a predictor that sees k solved tasks choose a good ridge penalty?

    grid            the seven penalties, distances between them, the k-grid of the command line
    tasks           a task: two Gaussian classes; how it is drawn and described
    closed_form     the test error of each penalty, from random matrix theory
    predictors      baselines that need no model
    prompts         what a model is asked, and how its answer is read
    experiment      the same tasks for all predictors and all k; replies are stored as they come
    summary         means, bands, a paired bootstrap, the chart

A task is its parameters: no data are drawn. The setting is that of El Hili et al., "LLMs as
In-Context Meta-Learners for Model and Hyperparameter Selection" (arXiv 2510.26510).
"""
