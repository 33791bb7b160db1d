from shardserve.http.service cimport Service
from shardserve.net.transport cimport SocketTransport

cdef class Opening:
    cdef Service _service
    cdef dict _waiting

    cpdef open(self, int descriptor, make_connection, peer_name, bint taken)
