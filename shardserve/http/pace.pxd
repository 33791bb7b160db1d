# Types of the pace of bodies for the compiled build (docs/building.md).
cimport cython

cdef double _GRACE

cdef class BodyPace:
    cdef readonly long long octets
    cdef double _seconds, _silent, _looked
    cdef bint _heard

    cpdef took(self, Py_ssize_t octets)
    @cython.locals(passed=double, rate=double)
    cpdef str fault(self, double now, bint reading, timeouts)
