cimport cython
from shardserve.http.exchange cimport Wire
from shardserve.http.service cimport Service
from shardserve.net.transport cimport SocketTransport

cdef class Connection(Wire):
    cdef public object transport
    cdef public SocketTransport ours
    cdef public double deadline
    cdef public double answer_by
    cdef public bint lingering
    cdef public bint copied
    cdef public double _put_off
    cdef public bint _reading
    cdef public Py_ssize_t _waiting_octets
    cdef public double _waiting_since

    cpdef set_up(self, Service service)
    @cython.locals(service=Service, ours=SocketTransport)
    cpdef connection_made(self, transport)
    cpdef connection_lost(self, exc)
    cpdef resume_writing(self)
    cpdef int fileno(self) except? -1
    cpdef close(self)
    cpdef linger(self)
    cpdef watch_writing(self)
    cpdef bint _is_copied(self) except -1
    cpdef Py_ssize_t count_waiting(self) except? -1
    cpdef expire(self)
    cpdef bint _catches_up(self) except -1
    cpdef expire_reading(self)
    cpdef bint _waits_for_client(self) except -1

cdef _host_port(name)
cdef _path(name)
