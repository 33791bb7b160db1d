cimport cython
from shardserve.gateway.spool cimport Body, Room, Spool
from shardserve.http.exchange cimport Exchange, Gateway, Wire
from shardserve.http.head cimport CheckedHead, encode_text
from shardserve.http.request cimport Request
from shardserve.native cimport method

cdef dict _STATUSES

cdef class WsgiGateway(Gateway):
    cdef public object app
    cdef public object proxies
    cdef public str root_path
    cdef public Room room
    cdef public dict base
    cdef public tuple here

cdef class EarlyHints

cdef class WsgiExchange(Exchange):
    cdef public Body _body
    cdef public bint _ended
    cdef public WsgiGateway _gateway
    cdef public CheckedHead _head
    cdef public EarlyHints _hints
    cdef public bint _sent
    cdef public bint _started
    cdef public int _status

    cdef open(self, Wire wire, Request request, WsgiGateway gateway)
    cpdef _ready(self)
    cpdef start(self)
    @cython.locals(body=Spool)
    cpdef feed(self, data)
    cpdef end(self)
    cpdef _let_go(self)
    cpdef _require_status(self)

cdef class EarlyHints:
    cdef WsgiExchange exchange
