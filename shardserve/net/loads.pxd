cdef int _CONNECTIONS, _TAKEN, _PENALTY, _BUSY, _FREE, _WAITING, _FULL

cpdef note_taken(unsigned long long[::1] line, unsigned long long connections)
