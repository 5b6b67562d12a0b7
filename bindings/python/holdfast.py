"""Sealed files of a Holdfast filesystem and their blocks, by libholdfast.so (see libholdfast(3)).

    import holdfast
    with holdfast.layout("/mnt/data", write=True) as layout:
        with layout.map(write=True) as memory:
            memory[0:5] = b"hello"

Everything raises OSError, its errno the library's and its text what, why and what to do; OverflowError where a number
is negative or has more bits than it may.
"""

import ctypes
import mmap
import os
from contextlib import contextmanager

BREAKABLE, FILL, AS_IS, PERSISTENT, CREATE, NAMED = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_WRITE, _LAYOUT_BREAKABLE, _SHARED, _LAYOUT_AS_IS, _UNCACHED = 0x01, 0x02, 0x04, 0x08, 0x80000000
_SET_SIZE, _SET_TIMES = 0x1, 0x2
_POPULATE, _SYNC, _DIRECT = 0x1, 0x2, 0x4
_UNSIGNED = (ctypes.c_uint, ctypes.c_uint64, ctypes.c_size_t)
_EXTENTS_AT_FIRST = 256  # room for the first answer; a longer map is asked for again


class Extent(ctypes.Structure):
    """Bytes of the file (logical) and where they lie on the image (physical). flags: 1 unwritten, 2 shared."""

    _fields_ = [
        ("logical", ctypes.c_uint64),
        ("physical", ctypes.c_uint64),
        ("length", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class _Request(ctypes.Structure):
    _fields_ = [
        ("flags", ctypes.c_uint32),
        ("grace_seconds", ctypes.c_uint32),
        ("ttl_seconds", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("length", ctypes.c_uint64),
        ("image", ctypes.c_char_p),
    ]


def _open_library():
    """Beside this module's prefix, else where the system looks."""
    prefix = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
    beside = os.path.join(prefix, "lib", "libholdfast.so.1")
    library = ctypes.CDLL(beside if os.path.exists(beside) else "libholdfast.so.1", use_errno=True)
    c_int, c_uint, u64, size, ssize = ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_ssize_t
    text, pointer = ctypes.c_char_p, ctypes.c_void_p
    for name, result, *arguments in (
        ("last_error", text),
        ("seal", c_int, c_int, c_uint, text),
        ("unseal", c_int, c_int, c_uint, text),
        ("pin", c_int, c_int, u64, u64, c_uint, text),
        ("unpin", c_int, c_int, u64, u64, c_uint, text),
        ("prepare", c_int, c_int, u64, u64),
        ("extents", ssize, c_int, pointer, size, pointer),
        ("recall_fd", c_int, c_int),
        ("recall_status", c_int, c_int, pointer),
        ("layout_get", pointer, c_int, pointer),
        ("layout_return", c_int, pointer, c_uint, u64),
        ("layout_size", u64, pointer),
        ("layout_generation", u64, pointer),
        ("layout_extents", size, pointer, pointer, size),
        ("layout_recall_fd", c_int, pointer),
        ("layout_recall_status", c_int, pointer, pointer),
        ("layout_sync", c_int, pointer),
        ("pread", ssize, pointer, pointer, size, u64),
        ("pwrite", ssize, pointer, pointer, size, u64),
        ("map", pointer, pointer, u64, size, c_int, c_uint),
        ("unmap", c_int, pointer, size),
    ):
        function = getattr(library, "holdfast_" + name)
        function.restype, function.argtypes = result, arguments
    return library


_library = _open_library()


def _unsigned(value, kind=ctypes.c_uint64):
    """ctypes would cut it to so many bits, without a word."""
    bits = 8 * ctypes.sizeof(kind)
    if not 0 <= value < 1 << bits:
        raise OverflowError(f"{value} is not within 0 and 2**{bits} - 1")
    return value


def _call(name, *arguments):
    function = getattr(_library, "holdfast_" + name)
    for value, kind in zip(arguments, function.argtypes):
        if kind in _UNSIGNED and isinstance(value, int):
            _unsigned(value, kind)
    result = function(*arguments)
    if result is None or (isinstance(result, int) and result == -1):
        raise OSError(ctypes.get_errno(), _library.holdfast_last_error().decode(errors="replace"))
    return result


def _name(name):
    return name.encode() if name else None


def _all_extents(ask):
    capacity = _EXTENTS_AT_FIRST
    while True:
        extents = (Extent * capacity)()
        count = ask(extents, capacity)
        if count <= capacity:
            return list(extents[:count])
        capacity = count


@contextmanager
def _opened(file, flags):
    """A path is opened, a descriptor or file object used as it is."""
    if isinstance(file, (str, bytes, os.PathLike)):
        fd = os.open(file, flags | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
    else:
        yield file if isinstance(file, int) else file.fileno()


def _with_name(flags):
    """What survives a remount has no handle to be released by."""
    return flags | NAMED if flags & PERSISTENT else flags


@contextmanager
def sealed(file, flags=0, name=None):
    """The whole file is sealed within the with statement. `file`: path, descriptor or file object.

    A PERSISTENT seal is NAMED, too, told or not. Should the process die, it stays: `holdfast unseal` releases it.
    """
    flags = _with_name(flags)
    with _opened(file, os.O_RDONLY) as fd:
        _call("seal", fd, flags, _name(name))
        try:
            yield fd
        finally:
            _call("unseal", fd, flags & NAMED, _name(name))


@contextmanager
def pinned(file, offset, length, flags=0, name=None):
    """Bytes [offset, offset + length) are pinned within the with statement. flags as of `sealed`."""
    flags = _with_name(flags)
    with _opened(file, os.O_RDONLY) as fd:
        _call("pin", fd, offset, length, flags, _name(name))
        try:
            yield fd
        finally:
            _call("unpin", fd, offset, length, flags & NAMED, _name(name))


def prepare(file, offset=0, length=0):
    """Gives a range (length 0: to the end of the file) blocks, so that it can be sealed."""
    with _opened(file, os.O_RDWR) as fd:
        _call("prepare", fd, offset, length)


def extents(file):
    """The file's map: a list of Extent."""
    with _opened(file, os.O_RDONLY) as fd:
        return _all_extents(lambda space, capacity: _call("extents", fd, space, capacity, None))


def layout(file, **options):
    """Layout(file, **options), for a with statement."""
    return Layout(file, **options)


class Layout:
    """A file's blocks, held and used on the image itself, until close() or the end of the with statement.

    write: stores, too. shared: beside handles that use the page cache. breakable: gives way to who needs the map changed, within
    grace seconds. as_is: holes are no error. uncached: O_DIRECT. offset, length: bytes; length 0: the whole file. image: the
    path of the mounted image, if not the one the mount names.
    """

    def __init__(
        self, file, write=False, shared=False, breakable=False, grace=0, ttl=0, as_is=False, uncached=False,
        offset=0, length=0, image=None,
    ):
        self._pointer = None
        flags = (
            (_WRITE if write else 0) | (_SHARED if shared else 0) | (_LAYOUT_BREAKABLE if breakable else 0)
            | (_LAYOUT_AS_IS if as_is else 0) | (_UNCACHED if uncached else 0)
        )
        for seconds in (grace, ttl):
            _unsigned(seconds, ctypes.c_uint32)
        name = os.fsencode(image) if image else None
        request = _Request(flags, grace, ttl, 0, _unsigned(offset), _unsigned(length), name)
        with _opened(file, os.O_RDWR if write else os.O_RDONLY) as fd:
            self._pointer = _call("layout_get", fd, ctypes.byref(request))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self._pointer is not None:
            self.close()

    def __del__(self):
        if getattr(self, "_pointer", None) is not None:
            _library.holdfast_layout_return(self._pointer, 0, 0)

    def close(self, size=None, set_times=False):
        """Returns the layout; the file is `size` bytes long then, or what write() made of it. Mappings stay."""
        size_or_zero = _unsigned(size or 0)
        pointer, self._pointer = self._handle(), None
        flags = (_SET_SIZE if size is not None else 0) | (_SET_TIMES if set_times else 0)
        _call("layout_return", pointer, flags, size_or_zero)

    def _handle(self):
        if self._pointer is None:
            raise ValueError("the layout has been returned")
        return self._pointer

    @property
    def size(self):
        """Bytes of the file."""
        return _library.holdfast_layout_size(self._handle())

    @property
    def generation(self):
        """Of the map, at the grant."""
        return _library.holdfast_layout_generation(self._handle())

    @property
    def extents(self):
        """Of the layout: a list of Extent."""
        handle = self._handle()
        return _all_extents(lambda space, capacity: _library.holdfast_layout_extents(handle, space, capacity))

    def recall_fd(self):
        """A descriptor, the caller's, that is readable while the layout is asked for, and once it was taken away."""
        return _call("layout_recall_fd", self._handle())

    def recalled(self):
        """None, or the milliseconds left. OSError (ESTALE) once it was taken away."""
        remaining = ctypes.c_uint64()
        asked = _call("layout_recall_status", self._handle(), ctypes.byref(remaining))
        return remaining.value if asked else None

    def read(self, count, offset):
        """bytes, at most so many: as os.pread, on the image."""
        buffer = bytearray(count)
        return bytes(buffer[: self.read_into(buffer, offset)])

    def read_into(self, buffer, offset):
        """Into a writable buffer; how many bytes."""
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        space = (ctypes.c_char * len(view)).from_buffer(view)
        return _call("pread", self._handle(), ctypes.addressof(space), len(view), offset)

    def write(self, data, offset):
        """As os.pwrite, on the image; refused as a whole where not all of it is in blocks that may be stored into."""
        data = bytes(data)
        return _call("pwrite", self._handle(), data, len(data), offset)

    def sync(self):
        """What was stored, through mappings too, is on the image's device."""
        _call("layout_sync", self._handle())

    @contextmanager
    def map(self, offset=0, length=None, write=False, populate=False, sync=False, direct=True):
        """A memoryview of the bytes on the image, as long as the with statement: not to be kept."""
        count = self.size - offset if length is None else length
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
        flags = (_POPULATE if populate else 0) | (_SYNC if sync else 0) | (_DIRECT if direct else 0)
        start = _call("map", self._handle(), offset, max(count, 0), protection, flags)
        view = memoryview((ctypes.c_char * count).from_address(start)).cast("B")
        view = view if write else view.toreadonly()
        try:
            yield view
        finally:
            view.release()
            _call("unmap", start, count)
