cdef int _LAST, _SLOT_SIZE, _SLOT_WORDS, _START

cdef class BlackBox:
    cdef public Py_ssize_t _beyond
    cdef public list _free
    cdef public object _lock
    cdef public object _newest
    cdef public object _words

    cpdef int began(self, owner, str method, bytes path) except -1
    cpdef ended(self, owner, int slot)
