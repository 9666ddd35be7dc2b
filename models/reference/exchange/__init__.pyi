from .cube import Cube, write_cube
from .extended_xyz import Frame, read_frames
from .frame_labels import Imported, import_frames
from .tensor_pickle import load_tensors
from .trimer_pickle import import_trimers

__all__ = [
    "Cube",
    "Frame",
    "Imported",
    "import_frames",
    "import_trimers",
    "load_tensors",
    "read_frames",
    "write_cube",
]
