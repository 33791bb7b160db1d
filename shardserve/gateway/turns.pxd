cdef class Turns:
    cdef public Py_ssize_t size
    cdef public double patience
    cdef public bint cut_off
    cdef object _wake
    cdef public Py_ssize_t _calls
    cdef public object _waiting
    cdef double _standing
    cdef object _taking
    cdef object _timer

    cpdef Py_ssize_t count_waiting(self) except? -1
    cpdef take(self, exchange)
    cpdef next(self)
    cpdef ended(self, exchange)
    cpdef bint drop(self, exchange) except? True
    cpdef look_for_work(self, service)
    cpdef _ask_for_work(self, service)
    cpdef _count(self, exchange, int change)
    cpdef _note(self, service)
