cimport cython
from shardserve.http.service cimport Service
from shardserve.native cimport accept, close_socket
from shardserve.worker.opening cimport Opening

cdef int _BATCH, _SHARED_BATCH

cdef class Acceptor:
    cdef Service _service
    cdef Opening _opening
    cdef object _socket
    cdef int _batch
    cdef object _gate
    cdef object _handover
    cdef object _accepted
    cdef object _make_connection
    cdef object _resume
    cdef bint _accepting
    cdef bint _held_back
    cdef bint _waits
    cdef double _say_full_after
    cdef bint _gone
    cdef bint _shut
    cdef public bint sharded
    cdef bint _own

    @cython.locals(descriptor=int)
    cpdef _take(self, int most)
    cpdef _open(self, int descriptor, peer_name)
