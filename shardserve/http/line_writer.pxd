# Types of the writer of log lines for the compiled build (docs/building.md).

cdef class LineWriter:
    cdef public list lines
    cdef readonly object dropped
    cdef object _loop, _sink, _context, _retry
    cdef bytearray _kept
    cdef object _missing, _unsaid, _say_after

    cpdef schedule(self)
    cpdef flush(self)
