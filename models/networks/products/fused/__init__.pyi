from .operator import couple

__all__ = ["couple"]
