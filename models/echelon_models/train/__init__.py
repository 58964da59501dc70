"""Training: data sets, the teacher, the networks in PyTorch, their loop, evaluation and export.

Needs the extra `train`. PyTorch is imported by the modules that train, never by `echelon_models` itself.
"""
