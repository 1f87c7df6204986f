"""A reproducible study of knee osteoarthritis grading on X-rays.

Importing the package registers the ConvWGCNet family with timm; ``koalib.setup`` opens a notebook.
"""

from koalib import model as model
from koalib.profiles import setup

__all__ = ["model", "setup"]
