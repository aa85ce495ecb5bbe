"""The service of ``calotype serve``: models, runs and what was made of them, over HTTP, beside a web page.

Nothing here imports torch when it is imported: the service answers before its models are looked at.
"""
