"""Files of other programs: extended XYZ with labels, the public water trimers, cube files.

Begin with `frame_labels.py`, which turns labels of an extended XYZ file into columns of reference data by a mapping.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
