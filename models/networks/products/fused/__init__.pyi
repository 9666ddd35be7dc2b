from .autograd import couple

__all__ = ["couple"]
