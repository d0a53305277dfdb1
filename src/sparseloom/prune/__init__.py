"""Pruning of PyTorch models by the patterns of :mod:`sparseloom.fibertree`. PyTorch is imported here alone."""
