from .library import NoLibraryError, open_library

__all__ = ["NoLibraryError", "open_library"]
