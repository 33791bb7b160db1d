cimport cython
from shardserve.native cimport monotonic_ns

cdef int _BEYOND, _NEWEST, _THREADS, _MOVED, _LAST, _SLOT_SIZE, _SLOT_WORDS, _START, _METHOD_MAX, _PATH_MAX
cdef bint COMPILED
cdef dict _OCTETS

cdef class BlackBox:
    cdef public object _lock
    cdef public Py_ssize_t _beyond
    cdef public list _free
    cdef public object _newest
    cdef unsigned char[::1] _octets
    cdef unsigned long long[::1] _words

    @cython.locals(slot=int)
    cpdef int began(self, owner, str method, bytes path, unsigned long long now=*) except -1
    @cython.locals(octets="unsigned char[::1]", at=int, count=Py_ssize_t, index=Py_ssize_t)
    cdef _note(self, int slot, str method, bytes path, unsigned long long now)
    cdef _began_beyond(self, owner, str method, bytes path, unsigned long long now)
    cdef _add_beyond(self, owner, str method, bytes path, unsigned long long now)
    cdef _take_beyond(self, owner)
    cpdef ended(self, owner, int slot)
    cpdef moved(self)
