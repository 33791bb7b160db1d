cimport cython
from shardserve.native cimport control, poll_ready
from shardserve.net.transport cimport SocketTransport

cdef int _ADD, _DELETE, _MODIFY, _DESCRIPTOR
cdef Py_ssize_t _TOGETHER

cdef class Poller:
    cdef public object loop
    cdef public object context
    cdef public bint patient
    cdef list _watched
    cdef list _new
    cdef list _written
    cdef list _lost
    cdef bint _ends
    cdef bint _gathers
    cdef object _epoll
    cdef list _left
    cdef bint _resting

    cpdef watch(self, SocketTransport transport, int before, int events)
    cpdef begin(self, SocketTransport transport)
    cpdef gather(self)
    @cython.locals(transport=SocketTransport, new=list, busy=list)
    cpdef look_at_new(self)
    @cython.locals(transport=SocketTransport)
    cpdef _watch_new(self, list new)
    cpdef _look(self)
    @cython.locals(watched=list, events=list, event=long, seen=Py_ssize_t, transport=SocketTransport)
    cdef _see_to_ready(self)
    cpdef rest(self)
    cpdef go_on(self)
    @cython.locals(transport=SocketTransport, lost=list)
    cpdef _end_turn(self)
    cpdef wrote(self, SocketTransport transport)
    cpdef lost(self, SocketTransport transport)
    cpdef _see_to_end(self)
    @cython.locals(transport=SocketTransport, written=list)
    cpdef send_written(self)
