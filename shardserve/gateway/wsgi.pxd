from shardserve.http.exchange cimport Exchange
from shardserve.http.head cimport CheckedHead

cdef dict _NAMES, _STATUSES

cdef class WsgiGateway:
    cdef public object app
    cdef public object proxies
    cdef public str root_path
    cdef public object room
    cdef public dict base

cdef class WsgiExchange(Exchange):
    cdef public object _body
    cdef public bint _ended
    cdef public object _gateway
    cdef public CheckedHead _head
    cdef public bint _sent
    cdef public bint _started
    cdef public int _status

    cpdef _ready(self)
    cpdef start(self)
    cpdef end(self)
    cpdef _forget_body(self)
    cpdef _require_status(self)

cpdef list _encode(headers)
