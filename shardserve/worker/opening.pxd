from shardserve.http.service cimport Service
from shardserve.net.poller cimport Poller
from shardserve.net.transport cimport SocketTransport

cdef class Opening:
    cdef Service _service
    cdef public Poller poller
    cdef dict _waiting

    cpdef open(self, int descriptor, make_connection, peer_name, bint taken)
